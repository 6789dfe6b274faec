import pytest
import torch

from recbole_aia import AttrCloakUnlearner, load_run
from recbole_aia.data import LabelTable, prepare_loaders
from recbole_aia.errors import ConfigValueError
from recbole_aia.model import build_model
from recbole_aia.testing import split_once
from recbole_aia.trainer import unlearners
from recbole_aia.unlearning.requests import Request, make_task, specifications

LABELS = LabelTable(
    torch.tensor([[-1, -1], [0, 1], [1, -1], [0, 0], [1, 1]]),
    ("gender", "age"),
    {"gender": ["F", "M"], "age": ["young", "old"]},
)


def test_who_moves_for_one_attribute_is_still_known_by_the_others():
    request = make_task(
        [Request(["gender"], torch.tensor([1, 2])), Request(["age"], torch.tensor([3]))],
        [],
        LABELS,
        "cpu",
        AttrCloakUnlearner.can_hide,
    )
    assert request.users.tolist() == [1, 2, 3]
    assert request.labels.tolist() == [[0, -1], [1, -1], [-1, 0]]
    assert request.known.tolist() == [[0, 1], [1, -1], [0, 0]]
    assert (request.others.tolist(), request.other_labels.tolist()) == ([4], [[1, 1]])


def test_what_was_hidden_earlier_is_hidden_with_what_is_asked_now():
    history = [{"attributes": ["gender"], "users": [1, 2, 3]}]
    request = make_task(
        [Request(["age"], torch.tensor([1, 3, 4]))], history, LABELS, "cpu", AttrCloakUnlearner.can_hide
    )
    assert request.names == ("gender", "age")
    assert request.labels.tolist() == [[0, 1], [0, 0], [-1, 1]]


def test_what_was_hidden_earlier_does_not_block_a_request_for_something_else(caplog):
    labels = LabelTable(
        torch.tensor([[-1, -1], [0, 0], [1, 1], [1, 0], [0, 1]]), ("a", "b"), {"a": ["x", "y"], "b": ["x", "y"]}
    )
    history = [{"attributes": ["b"], "users": [1, 2]}]
    request = make_task(
        [Request(["a"], torch.tensor([1, 2, 3, 4]))], history, labels, "cpu", AttrCloakUnlearner.can_hide
    )
    assert request.names == ("a",)
    assert "b, hidden earlier, may come back" in caplog.text
    for again in ([{"attributes": ["b"], "users": [1, 3]}], [{"attributes": ["b"], "users": None}]):
        assert make_task([Request(["a"])], again, labels, "cpu", AttrCloakUnlearner.can_hide).names == ("a", "b")
    assert make_task([Request(["b"], torch.tensor([1, 2]))], [], labels, "cpu", AttrCloakUnlearner.can_hide).names == (
        "b",
    )


@pytest.mark.parametrize("defense", ["calibrated", "u2u", "d2d", "attrcloak"])
def test_an_earlier_attribute_that_cannot_be_hidden_of_those_who_ask_today_is_left_out(defense, caplog):
    labels = LabelTable(torch.tensor([[-1, -1], [0, 0], [0, 1], [1, -1], [1, -1]]), LABELS.names, LABELS.classes)
    history = [{"attributes": ["age"], "users": [1, 3]}]
    asked = Request(["gender"], torch.tensor([1, 3]))
    task = make_task([asked], history, labels, "cpu", unlearners()[defense].can_hide)
    assert task.names == ("gender",)
    assert "age, hidden earlier, may come back" in caplog.text


def test_specifications_join_and_do_not_contradict_each_other():
    history = [{"attributes": ["old"], "users": None, "specs": {"old": {"field": "age", "bins": [30]}}}]
    assert specifications(["gender"], history) == {"gender": None, "old": {"field": "age", "bins": [30]}}
    with pytest.raises(ConfigValueError, match="another specification"):
        specifications({"old": {"field": "age", "bins": [50]}}, history)


def test_earlier_unlearning_stays_by_every_way_back(make_config, ml100k):
    """Fitting, resuming, and loading a run: each later unlearning hides gender again."""
    quick = {"defense": "attrcloak", "attrcloak_mode": "data_free", "unlearn_max_steps": 2, "embedding_size": 8}
    old = {"old": {"field": "age", "bins": [30]}}
    first, second = (make_config(**quick, attributes=value) for value in (old, ["gender"]))
    train_data = prepare_loaders(first, split_once(ml100k))[0]
    trainer = AttrCloakUnlearner(first, build_model(first, train_data.dataset))
    trainer.fit(train_data)
    resumed = AttrCloakUnlearner(second, build_model(second, train_data.dataset))
    resumed.resume_checkpoint(trainer.saved_model_file)
    resumed.fit(train_data)
    assert [set(record["divergence"]) for record in resumed.history] == [{"old"}, {"gender", "old"}]
    assert [record["attributes"] for record in resumed.history] == [["old"], ["gender"]]
    run = load_run(resumed.saved_model_file, argv=["--attributes=[occupation]"])
    record = AttrCloakUnlearner(run.config, run.model).unlearn()
    assert set(record["divergence"]) == {"old", "gender", "occupation"}
    assert len(run.model.unlearned) == 3
