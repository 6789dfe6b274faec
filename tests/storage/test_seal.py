"""A checkpoint with a changed byte is never taken for the one that was written."""

import os
import random
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from recbole_aia.errors import CheckpointError
from recbole_aia.storage.checkpoints import load_checkpoint, save_checkpoint
from recbole_aia.storage.seal import seal_of, sealed

CONFIG = {"model": "BPR", "dataset": "mine", "epochs": 3}
NUMBERING = {"users": torch.arange(9, dtype=torch.uint8), "order": torch.arange(7, dtype=torch.int32)}


def small():
    generator = torch.Generator().manual_seed(1)
    weights = {"user": torch.randn(5, 2, generator=generator), "item": torch.randn(4, 2, generator=generator)}
    state = {"config": CONFIG, "state_dict": weights, "other_parameter": None, "numbering": NUMBERING}
    return {**state, "best_valid_score": 0.5, "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}}}


def flips(path, n, seed=0):
    """The bytes of a file with one bit flipped, ``n`` times."""
    content, draw = path.read_bytes(), random.Random(seed)
    for place in draw.sample(range(8 * len(content)), n):
        changed = bytearray(content)
        changed[place // 8] ^= 1 << place % 8
        yield bytes(changed)


@pytest.mark.parametrize("ours", [True, False])
def test_a_flipped_bit_never_changes_what_is_accepted(ours):
    path, state = Path("small.pth"), small()
    if ours:
        save_checkpoint(state, path)
    else:  # RecBole and 0.1.0 write no seal; torch's own checksums then count
        state = {key: value for key, value in state.items() if key != "numbering"}
        torch.save(state, path)
    intact, accepted = seal_of(state), 0
    assert seal_of(load_checkpoint(path)) == intact
    for changed in flips(path, 600):
        Path("changed.pth").write_bytes(changed)
        with suppress(CheckpointError):
            assert seal_of(load_checkpoint("changed.pth")) == intact
            accepted += 1
    assert accepted  # flips in the padding between parts change nothing


def test_a_truncated_file_is_refused():
    save_checkpoint(small(), Path("small.pth"))
    content = Path("small.pth").read_bytes()
    for length in range(0, len(content), 97):
        Path("short.pth").write_bytes(content[:length])
        with pytest.raises(CheckpointError, match="damaged"):
            load_checkpoint("short.pth")


@pytest.mark.parametrize(
    "change",
    [
        {"state_dict": {"user": torch.zeros(5, 2), "item": torch.zeros(4, 2)}},
        {"config": {**CONFIG, "epochs": 4}},
        {"numbering": {**NUMBERING, "users": torch.arange(9, 0, -1, dtype=torch.uint8)}},
        {"numbering": {**NUMBERING, "order": torch.arange(7)}},
        {"best_valid_score": 0.25},
        {"sha256": "0" * 64},
        {"more": 1},
    ],
)
def test_everything_in_it_counts(change):
    torch.save({**sealed(small()), **change}, "changed.pth")
    with pytest.raises(CheckpointError, match="its checksum does not agree"):
        load_checkpoint("changed.pth")


def test_a_checkpoint_that_names_its_users_cannot_lose_its_seal():
    torch.save(small(), "bare.pth")
    with pytest.raises(CheckpointError, match="its checksum does not agree"):
        load_checkpoint("bare.pth")


def test_type_and_shape_count_beside_the_bytes():
    table = torch.zeros(4, 2)
    seals = {seal_of({"x": each}) for each in (table, table.view(2, 4), table.int(), table.view(4, 2, 1))}
    assert len(seals) == 4
    assert seal_of({"x": table.t().contiguous().t()}) == seal_of({"x": table})


def test_every_kind_of_tensor_has_a_seal():
    each = [torch.tensor(1.5), torch.zeros(0, 3), torch.ones(2, dtype=torch.bfloat16), torch.ones(2, dtype=torch.bool)]
    each += [torch.eye(3).to_sparse(), torch.eye(3).to_sparse_csr(), torch.nn.Parameter(torch.ones(2))]
    assert seal_of({"x": each}) == seal_of({"x": [value.clone() for value in each]})


def test_a_seal_takes_less_time_than_writing():
    state = {"state_dict": {str(i): torch.randn(1_000_000, 8) for i in range(3)}}
    start = time.perf_counter()
    torch.save(state, "large.pth")
    written = time.perf_counter() - start
    start = time.perf_counter()
    seal_of(state)
    assert time.perf_counter() - start < max(written, 0.5)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"state_dict": {"user": torch.tensor([1.0, float("nan")])}}, "'user' in .* are not finite"),
        ({"state_dict": {"user": torch.tensor([float("inf")], dtype=torch.float16)}}, "are not finite"),
        ({"state_dict": {"user": torch.ones(2, dtype=torch.complex64)}}, "complex"),
        ({"state_dict": {"user": [1.0]}}, "something else than tensors"),
        ({"state_dict": {5: torch.ones(2)}}, "have no names"),
        ({"state_dict": [torch.ones(2)]}, "have no names"),
        ({"other_parameter": "junk"}, "have no names"),
        ({"other_parameter": {5: None}}, "have no names"),
        ({"other_parameter": {"released_users": torch.tensor([float("nan")])}}, "not finite"),
    ],
)
@pytest.mark.parametrize("ours", [True, False])
def test_weights_that_cannot_be_are_refused_whoever_wrote_them(part, message, ours):
    state = {**small(), **part}
    if ours:
        save_checkpoint(state, Path("odd.pth"))
    else:
        del state["numbering"]
        torch.save(state, "odd.pth")
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint("odd.pth")
    assert "\n" not in str(caught.value)


def test_a_pipe_is_refused():
    os.mkfifo("pipe.pth")
    with pytest.raises(CheckpointError, match="a pipe or a device"):
        load_checkpoint("pipe.pth")
