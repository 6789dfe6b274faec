"""What is particular to single defenses after training; test_contracts.py has what all promise."""

import copy

import pytest
import torch
from recbole.config import Config

from recbole_aia.config.registry import defenses
from recbole_aia.data import load_labels, prepare_loaders, unseen_users
from recbole_aia.errors import AttributeDataError, ConfigValueError
from recbole_aia.losses import analytic_gaussian_scale, rank_margin, user_to_user
from recbole_aia.model import build_model
from recbole_aia.testing import split_once
from recbole_aia.trainer import trainer_class
from recbole_aia.trainer.noise import NoisePerturbation
from recbole_aia.trainer.post import Plateau

TWO_STAGES = sorted(name for name, stages in defenses().items() if {"in", "post"} <= stages.keys())


def prepared(make_config, ml100k, defense, model="BPR", **values):
    quick = {"unlearn_max_steps": 10, "init_std": 0.1, "embedding_size": 8, "attributes": ["gender", "age"]}
    config = make_config(model, **{"defense": defense, "stage": "post", **quick, **values})
    loaders = prepare_loaders(config, split_once(ml100k))
    torch.manual_seed(0)
    return trainer_class(config)(config, build_model(config, loaders[0].dataset)), loaders, load_labels(config, ml100k)


@pytest.mark.parametrize("defense", TWO_STAGES)
def test_a_defense_with_two_stages_trains_in_both(make_config, ml100k, defense):
    values = {"raid_atoms": 16, "train_batch_size": 8192}
    config = make_config(defense=defense, stage="in", epochs=2, attributes=["gender"], **values)
    loaders = prepare_loaders(config, split_once(ml100k))
    trainer = trainer_class(config)(config, build_model(config, loaders[0].dataset))
    assert trainer.stage == "in"
    trainer.fit(loaders[0], saved=False)
    # Calibrated aligns between epochs, without a term.
    assert defense == "calibrated" or any(f"{defense} gender" == term.name for term in trainer.terms)
    post, (train_data, _, _), _ = prepared(make_config, ml100k, defense, epochs=5, **values)
    assert post.stage == "post"
    post.fit(train_data, saved=False)


def test_u2u_draws_classes_together_in_training(make_config, ml100k):
    distances = []
    for weight in (0.0, 10.0):
        config = make_config(defense="u2u", stage="in", epochs=2, u2u_weight=weight, attributes=["gender"])
        loaders = prepare_loaders(config, split_once(ml100k))
        torch.manual_seed(0)
        trainer = trainer_class(config)(config, build_model(config, loaders[0].dataset))
        trainer.fit(loaders[0], saved=False)
        with torch.no_grad():
            distances.append(float(user_to_user(trainer.view.served(), trainer.labels.column("gender")[1:])))
    assert distances[1] < distances[0]


@pytest.mark.parametrize("defense", ["u2u", "d2d"])
def test_the_regularizer_keeps_the_order_of_the_best_items(make_config, ml100k, defense):
    costs = []
    for weight in (0.0, 1e3):
        values = {f"{defense}_regularization": weight, "unlearn_max_steps": 20, "unlearn_learning_rate": 0.01}
        trainer, _, labels = prepared(make_config, ml100k, defense, **values)
        users, items = trainer._ranked(trainer.view.users)
        trainer.unlearn(labels=labels)
        assert len(users) == len(items) == 943 * 20
        with torch.no_grad():
            costs.append(float(rank_margin(trainer.view.logits(users, items).view(943, 20))))
    assert costs[1] < costs[0]


@pytest.mark.parametrize("stage", ["in", "post"])
def test_a_defense_is_not_given_labels_that_are_held_out(make_config, ml100k, stage):
    values = {"calibrated_steps": 1, "calibrated_labels": "own"}
    config = make_config(defense="calibrated", stage=stage, holdout_users=0.2, **values)
    loaders = prepare_loaders(config, split_once(ml100k))
    trainer = trainer_class(config)(config, build_model(config, loaders[0].dataset))
    with torch.no_grad():
        before = trainer.view.served()
    trainer.fit(loaders[0], saved=False)
    labels = load_labels(config, ml100k)
    unseen = unseen_users(labels, 0.2, config["seed"])
    assert (trainer.labels.labels[unseen] == -1).all()
    assert torch.equal(trainer.labels.labels[~unseen], labels.labels[~unseen])
    if stage == "post":
        moved = (trainer.view.served().detach() != before).any(1)
        assert torch.equal(moved, ~unseen[1:])


def test_raid_after_training_is_its_second_phase(make_config):
    config = make_config(defense="raid", stage="post", epochs=30, raid_phase1_epochs=20)
    assert trainer_class(config).schedule(config, ["a", "b"]) == [(10, ["a", "b"])]
    config = make_config(defense="raid", stage="post", epochs=20)
    assert trainer_class(config).schedule(config, ["a"]) == [(4, ["a"])]


class TestDifferentialPrivacy:
    def test_noise_has_the_calibrated_scale_about_clipped_rows(self, make_config, ml100k):
        trainer, _, labels = prepared(make_config, ml100k, "dp", dp_clip=0.5, dp_epsilon=3.0, embedding_size=64)
        before = trainer.view.served().detach().clone()
        record = trainer.unlearn(labels=labels)
        clipped = before * (0.5 / before.norm(dim=1, keepdim=True).clamp_min(0.5))
        noise = trainer.view.served().detach() - clipped
        assert record["scale"] == analytic_gaussian_scale(3.0, 1e-5, 1.0)
        assert float(noise.std()) == pytest.approx(record["scale"], rel=0.02)
        assert abs(float(noise.mean())) < 0.05 * record["scale"]

    def test_laplace_noise_has_a_mean_size_of_its_scale(self, make_config, ml100k):
        values = {"dp_mechanism": "laplace", "dp_epsilon": 2.0, "dp_clip": 1e-6, "embedding_size": 64}
        trainer, _, labels = prepared(make_config, ml100k, "dp", **values)
        record = trainer.unlearn(labels=labels)
        assert record["scale"] == pytest.approx(1e-6)
        assert float(trainer.view.served().detach().abs().mean()) == pytest.approx(1e-6, rel=0.05)
        assert "delta" not in record

    def test_noise_cannot_be_subtracted_by_who_knows_the_seed(self, make_config, ml100k):
        results = []
        for _ in range(2):
            trainer, _, labels = prepared(make_config, ml100k, "dp")
            trainer.unlearn(labels=labels)
            results.append(trainer.view.served().detach())
        assert not torch.equal(*results)

    def test_the_guarantee_is_printed_and_noise_alone_says_it_has_none(self, make_config, ml100k, caplog):
        with caplog.at_level("INFO"):
            for defense in ("dp", "noise"):
                trainer, _, labels = prepared(make_config, ml100k, defense)
                trainer.unlearn(labels=labels)
        assert "differentially private (epsilon 8, delta 1e-05)" in caplog.text
        assert "noise gives no guarantee" in caplog.text

    def test_a_tower_takes_no_noise(self, make_config, ml100k):
        trainer, _, labels = prepared(make_config, ml100k, "dp", "DMF", target="tower")
        with pytest.raises(ConfigValueError, match="--target=released"):
            trainer.unlearn(labels=labels)

    @pytest.mark.parametrize("values", [{"dp_delta": 0}, {"dp_delta": 1.0}, {"dp_epsilon": 0}, {"dp_clip": -1}])
    def test_what_is_no_budget_is_refused(self, make_config, values):
        with pytest.raises(ConfigValueError, match=next(iter(values))):
            make_config(defense="dp", **values)


def test_a_loss_stands_still_after_looks_without_a_fall():
    plateau = Plateau(tolerance=0.1, patience=2)
    assert [plateau.reached(loss) for loss in (1.0, 0.95, 0.8, 0.79, 0.78)] == [False, False, False, False, True]


@pytest.mark.parametrize("defense", ["u2u", "d2d"])
def test_askers_of_one_class_have_nobody_to_be_brought_to(make_config, ml100k, defense):
    trainer, _, labels = prepared(make_config, ml100k, defense)
    women = (labels.column("gender") == 0).nonzero().squeeze(1)[:30]
    before = trainer.model.user_embedding.weight.detach().clone()
    with pytest.raises(AttributeDataError, match="are of one class of 'gender'"):
        trainer.unlearn(labels=labels, users=women)
    assert torch.equal(trainer.model.user_embedding.weight, before)


def test_an_edit_that_fails_leaves_the_model_as_it_was(make_config, ml100k):
    trainer, _, labels = prepared(make_config, ml100k, "d2d", "LightGCN", n_layers=1)
    trainer.config["unlearn_learning_rate"] = 1e38  # no configuration would take it
    with torch.no_grad():
        before, parameters = trainer.view.served().clone(), copy.deepcopy(trainer.model.state_dict())
    with pytest.raises(ConfigValueError, match="no longer finite"):
        trainer.unlearn(labels=labels)
    assert trainer.view.released is None
    assert torch.equal(trainer.view.served(), before)
    assert all(torch.equal(v, parameters[k]) for k, v in trainer.model.state_dict().items())
    assert not trainer.history


def test_a_checkpoint_of_a_project_with_a_plain_config_names_its_defense(split_ml100k, tmp_path):
    plain = Config("BPR", "ml-100k", config_dict={"embedding_size": 8, "attributes": ["gender"]})
    plain["checkpoint_dir"] = str(tmp_path)
    trainer = NoisePerturbation(plain, build_model(plain, split_ml100k[0].dataset))
    trainer.fit(split_ml100k[0])
    saved = torch.load(trainer.saved_model_file, weights_only=True)
    assert (saved["config"]["defense"], saved["config"]["stage"], saved["defense"]) == ("noise", "post", "noise")
