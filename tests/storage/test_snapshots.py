import random

import numpy as np
import pytest
import torch

from recbole_aia.storage import snapshots
from recbole_aia.storage.snapshots import Answers, Snapshots, random_states, restore_random, tensors_digest


@pytest.fixture
def stage(tmp_path):
    return Snapshots(tmp_path / "stage")


def spoil(path, way):
    content = bytearray(path.read_bytes())
    if way == "cut":
        content = content[: len(content) // 2]
    elif way == "flipped":
        content[len(content) // 2] ^= 1
    else:
        content = b""
    path.write_bytes(content)


def test_the_last_state_comes_back_with_its_types(stage):
    state = {"step": 3, "name": None, "pair": (1, 2.5), "tensor": torch.arange(3.0), "inf": float("-inf")}
    stage.save(state)
    found = stage.last()
    assert torch.equal(found.pop("tensor"), torch.arange(3.0))
    assert found == {"step": 3, "name": None, "pair": (1, 2.5), "inf": float("-inf")}


def test_without_a_state_there_is_none(stage):
    assert stage.last() is None


def test_two_states_are_kept(stage):
    for step in range(5):
        stage.save({"step": step})
    assert sorted(file.name for file in stage.folder.iterdir()) == ["4", "5"]
    assert stage.last() == {"step": 4}


@pytest.mark.parametrize("way", ["cut", "flipped", "empty"])
def test_a_damaged_state_falls_back_to_the_one_before(stage, way):
    for step in range(3):
        stage.save({"step": step, "tensor": torch.ones(100)})
    spoil(stage.folder / "3", way)
    assert stage.last()["step"] == 1
    spoil(stage.folder / "2", way)
    assert stage.last() is None


def test_another_process_goes_on_counting(stage):
    stage.save({"step": 0})
    Snapshots(stage.folder).save({"step": 1})
    assert stage.last() == {"step": 1}


def test_a_full_disk_is_said_once_and_fails_nothing(stage, monkeypatch, caplog):
    stage.save({"step": 0})

    def full(path, _write):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(snapshots, "write_whole", full)
    stage.save({"step": 1})
    stage.save({"step": 2})
    assert len([record for record in caplog.records if "No space left" in record.message]) == 1
    assert stage.last() == {"step": 0}


def test_snapshots_are_due_again_when_they_have_cost_a_twentieth(stage, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(snapshots.time, "monotonic", lambda: now[0])

    def slow(path, write):
        now[0] += 1
        write(path)

    monkeypatch.setattr(snapshots, "write_whole", slow)
    assert stage.due
    stage.save({})
    assert not stage.due
    now[0] += 19
    assert not stage.due
    now[0] += 1
    assert stage.due


def test_answers_come_back_bit_for_bit_and_damaged_ones_are_missing(tmp_path):
    answers, scores = Answers(tmp_path / "attacks"), [np.random.default_rng(0).random((4, 2))]
    answers.put("a", {"scores": scores, "users": 4, "seconds": 0.5})
    found = Answers(tmp_path / "attacks").get("a")
    assert (found["users"], found["seconds"]) == (4, 0.5)
    np.testing.assert_array_equal(found["scores"][0], scores[0])
    spoil(tmp_path / "attacks" / "a", "flipped")
    assert answers.get("a") is None
    assert answers.get("b") is None


def test_all_random_numbers_come_back():
    own = torch.Generator().manual_seed(3)

    def draw():
        return random.random(), float(np.random.random()), float(torch.rand(())), float(torch.rand((), generator=own))

    draw()
    states = random_states(own, None)
    first = draw()
    restore_random(states, own, None)
    assert draw() == first


def test_the_digest_of_tensors_sees_names_and_values():
    states = [{"a": torch.zeros(2)}, {"b": torch.zeros(2)}, {"a": torch.tensor([0.0, -0.0])}]
    assert len({tensors_digest(state) for state in states}) == 3
    assert tensors_digest(states[0]) == tensors_digest({"a": torch.zeros(2)})
