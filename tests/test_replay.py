"""Work that repeats, and on CUDA is recorded."""

import logging

import pytest
import torch

from recbole_aia.replay import Replayed

ON_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")


def test_every_call_does_the_work_once(device):
    total, one = torch.zeros(3, device=device), torch.ones(3, device=device)
    add = Replayed(lambda: total.add_(one), total, calls=20)
    for _ in range(20):
        add()
    assert total.tolist() == [20.0] * 3


def test_few_calls_are_not_recorded(device):
    seen = []
    call = Replayed(lambda: seen.append(1), torch.zeros(1, device=device), calls=3)
    for _ in range(8):
        call()
    assert len(seen) == 8


@ON_CUDA
def test_on_cuda_later_calls_are_replays():
    total, seen = torch.zeros(3, device="cuda"), []

    def add():
        seen.append(1)
        total.add_(1)

    call = Replayed(add, total, calls=20)
    for _ in range(20):
        call()
    assert total.tolist() == [20.0] * 3
    assert len(seen) == 3


@ON_CUDA
def test_what_cannot_be_recorded_goes_on_with_a_line_in_the_log(caplog):
    total = torch.zeros(1, device="cuda")

    def look():
        total.add_(1)
        float(total)  # waits for the device, which a recording cannot

    call = Replayed(look, total, calls=20)
    with caplog.at_level(logging.WARNING):
        for _ in range(6):
            call()
    assert float(total) == 6
    assert [record.message.startswith("recbole-aia: no CUDA graph") for record in caplog.records] == [True]
