import pickle
from pathlib import Path

import pytest
import torch

from recbole_aia.errors import CheckpointError
from recbole_aia.storage.checkpoints import checkpoint_file, load_checkpoint, plain_state, read_state, saved_values

TABLE = torch.arange(6.0).view(3, 2)
STATE = {
    "config": {"model": "BPR", "dataset": "mine", "epochs": 3},
    "state_dict": {"table": TABLE},
    "other_parameter": None,
}


class Bomb:
    """Something that makes a file when it is loaded."""

    def __reduce__(self):
        return Path.touch, (Path("exploded"),)


class Settings:
    """A configuration as RecBole pickles it."""

    def __init__(self, **values):
        self.final_config_dict = values


def saved(**more):
    torch.save({**STATE, **more}, "saved.pth")
    return Path("saved.pth")


def test_plain_data_come_back():
    state = load_checkpoint(saved())
    assert state["config"] == STATE["config"]
    assert torch.equal(state["state_dict"]["table"], TABLE)


def test_objects_are_refused_in_one_line_and_never_run():
    path = saved(config=Bomb())
    for read, message in ((load_checkpoint, "could run code"), (read_state, "--trust_checkpoint")):
        with pytest.raises(CheckpointError, match=message) as caught:
            read(path)
        assert "\n" not in str(caught.value)
    assert not Path("exploded").exists()


def test_objects_are_read_where_the_file_is_trusted():
    state = read_state(saved(config=Settings(model="BPR", dataset="mine")), trust_checkpoint=True)
    assert saved_values(state, Path("saved.pth")) == {"model": "BPR", "dataset": "mine"}


@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "'saved.pth' cannot be read: No such file"),
        (b"", "'saved.pth' is damaged"),
        (b"hello", "'saved.pth' is damaged"),
        (pickle.dumps({"state_dict": {}})[:-5], "'saved.pth' is damaged"),
    ],
)
def test_a_file_that_is_damaged_or_not_there_is_one_line(content, message, trust):
    if content is not None:
        Path("saved.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_state(Path("saved.pth"), trust)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [TABLE, {"weights": TABLE}, [1, 2]])
@pytest.mark.parametrize("trust", [False, True])
def test_something_else_than_a_checkpoint_is_refused(content, trust):
    torch.save(content, "saved.pth")
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        read_state(Path("saved.pth"), trust)


def test_a_folder_means_the_checkpoint_in_it(tmp_path):
    assert checkpoint_file(tmp_path) == tmp_path / "checkpoint.pth"
    assert checkpoint_file(tmp_path / "other.pth") == tmp_path / "other.pth"


@pytest.mark.parametrize("config", [None, {}, {"epochs": 3}, "BPR"])
def test_a_checkpoint_that_does_not_name_its_model_is_refused(config):
    with pytest.raises(CheckpointError, match="does not say which configuration"):
        saved_values({"config": config}, Path("saved.pth"))


def test_the_plain_state_of_a_trusted_checkpoint_can_be_loaded_without_trust():
    config = Settings(model="BPR", dataset="mine", device=torch.device("cpu"))
    path = saved(config=config, optimizer=Bomb(), other_parameter={"released_users": TABLE, "cache": Settings()})
    torch.save(plain_state(read_state(path, trust_checkpoint=True), path), "plain.pth")
    state = load_checkpoint("plain.pth")
    assert state["config"] == {"model": "BPR", "dataset": "mine", "device": "cpu"}
    assert set(state["other_parameter"]) == {"released_users"}
    assert state["unlearned"] == []
    assert "optimizer" not in state
