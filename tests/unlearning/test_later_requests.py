"""What was hidden earlier must not block those who ask today, of whom all may be of one class."""

import pytest
import torch

from recbole_aia.config.registry import defense_class
from recbole_aia.data import load_labels, prepare_loaders
from recbole_aia.model import build_model
from recbole_aia.testing import split_once
from recbole_aia.trainer import unlearners


@pytest.mark.parametrize("defense", unlearners())
def test_after_gender_of_everybody_thirty_women_can_ask_for_age(make_config, ml100k, defense, caplog):
    values = {"attributes": ["gender", "age"], "embedding_size": 8, "init_std": 0.1}
    if defense == "calibrated":
        values["calibrated_steps"] = 3
    elif defense not in ("dp", "noise"):
        values["unlearn_max_steps"] = 3
    config = make_config(defense=defense, stage="post", **values)
    train_data = prepare_loaders(config, split_once(ml100k))[0]
    trainer = defense_class(defense, "post")(config, build_model(config, train_data.dataset))
    interactions = train_data if trainer.uses_interactions else None
    labels = load_labels(config, ml100k)
    everybody = labels.column("gender").tolist()
    women = (labels.column("gender") == labels.classes["gender"].index("F")).nonzero().flatten()[:30]
    trainer.unlearn(interactions, labels=labels, attributes=["gender"])
    before = trainer.view.served().detach().clone()
    caplog.clear()

    record = trainer.unlearn(interactions, labels=labels, attributes=["age"], users=women)

    assert (record["attributes"], record["users"]) == (["age"], women.tolist())
    moved = (trainer.view.served().detach() != before).any(dim=1).nonzero().flatten() + 1
    assert moved.tolist() == women.tolist()
    others = torch.tensor([everybody.count(0), everybody.count(1)])
    asked = others.new_zeros(2)
    asked[labels.classes["gender"].index("F")] = len(women)
    warned = "gender, hidden earlier, may come back for the users who ask now" in caplog.text
    assert warned == (not trainer.can_hide(asked, others - asked))


@pytest.mark.parametrize("defense", ["u2u", "d2d"])
def test_defenses_that_bring_classes_together_need_two(defense):
    trainer = defense_class(defense, "post")
    assert not trainer.can_hide(torch.tensor([30, 0]), torch.tensor([243, 670]))
    assert trainer.can_hide(torch.tensor([1, 1]), torch.tensor([0, 0]))


def test_alignment_needs_two_of_a_class_who_move_and_two_others():
    calibrated = defense_class("calibrated", "post")
    assert calibrated.can_hide(torch.tensor([2, 0]), torch.tensor([0, 2]))
    assert not calibrated.can_hide(torch.tensor([1, 1]), torch.tensor([50, 50]))
    assert not calibrated.can_hide(torch.tensor([30, 0]), torch.tensor([1, 0]))


def test_a_covariance_needs_a_class_of_two():
    attrcloak = defense_class("attrcloak", "post")
    assert attrcloak.can_hide(torch.tensor([2, 0]), torch.tensor([0, 0]))
    assert not attrcloak.can_hide(torch.tensor([1, 1]), torch.tensor([9, 9]))
