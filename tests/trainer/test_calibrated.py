import pytest
import torch

from recbole_aia import CalibratedTrainer, CalibratedUnlearner
from recbole_aia.data import load_labels, prepare_loaders
from recbole_aia.errors import AttributeDataError, ConfigValueError
from recbole_aia.losses import Alignment, ClassDiscrepancy
from recbole_aia.model import build_model
from recbole_aia.testing import split_once
from recbole_aia.trainer import calibrated, calibrated_post
from recbole_aia.trainer.averaging import WeightAverage
from recbole_aia.trainer.undefended import UndefendedTrainer
from recbole_aia.unlearning.requests import Request

SMALL = {"n_layers": 1, "hidden_size_list": [16], "mf_embedding_size": 8, "mlp_embedding_size": 8}
QUICK = {
    "defense": "calibrated",
    "init_std": 0.1,
    "embedding_size": 16,
    "calibrated_steps": 20,
    "calibrated_exact_users": 0,
    **SMALL,
}
TOWER = {
    "user_embedding_size": 16,
    "item_embedding_size": 16,
    "user_hidden_size_list": [16],
    "item_hidden_size_list": [16],
}


def prepared(kind, make_config, ml100k, model="BPR", **values):
    """A trainer of a model whose genders stand apart where users have tables, its loaders, and the labels."""
    config = make_config(model, **{**QUICK, **values})
    loaders = prepare_loaders(config, split_once(ml100k))
    torch.manual_seed(0)
    trainer = kind(config, build_model(config, loaders[0].dataset))
    labels = load_labels(config, ml100k)
    with torch.no_grad():
        for table in trainer.view.tables():
            table[1:] += 0.2 * labels.column("gender")[1:, None]
    return trainer, loaders, labels


@torch.no_grad()
def served(trainer):
    trainer.view.clear_caches()
    return trainer.view.served().clone()


def statistics(trainer, labels):
    here = served(trainer)
    return ClassDiscrepancy(here, labels.labels[1:], exact_users=0)(here).abs()


class TestAfterTraining:
    @pytest.mark.parametrize("model", ["BPR", "NeuMF", "LightGCN"])
    def test_users_come_to_chance_without_interactions(self, model, make_config, ml100k):
        trainer, _, labels = prepared(CalibratedUnlearner, make_config, ml100k, model)
        before = statistics(trainer, labels).max()
        record = trainer.unlearn(labels=labels)
        assert before > 10
        assert statistics(trainer, labels).max() < 0.2 * before
        assert record["mode"] == "data_free"
        assert record["statistics"][1] < record["statistics"][0]

    @pytest.mark.parametrize("target", [None, "tower", "own"])
    def test_a_tower_moves_and_not_its_users_one_by_one(self, make_config, ml100k, target):
        values = {**TOWER, "calibrated_steps": 1, "target": target}
        trainer, _, labels = prepared(CalibratedUnlearner, make_config, ml100k, "DMF", **values)
        before = [parameter.detach().clone() for parameter in trainer.view.tower()]
        trainer.unlearn(labels=labels)
        assert any(not torch.equal(a, b) for a, b in zip(before, trainer.view.tower(), strict=True))
        assert trainer.view.released is None

    def test_a_tower_is_at_chance_by_statistics_taken_anew(self, make_config, ml100k, monkeypatch):
        values = {"calibrated_steps": 60, "calibrated_labels": "own", **TOWER}
        left, steps = [], []
        for anew in (float("inf"), calibrated_post._CHANCE):
            monkeypatch.setattr(calibrated_post, "_CHANCE", anew)
            trainer, _, labels = prepared(CalibratedUnlearner, make_config, ml100k, "DMF", **values)
            record = trainer.unlearn(labels=labels)
            left.append(statistics(trainer, labels).max())
            steps.append(record["steps"])
            assert record["statistics"][0] > 10 > 1 > record["statistics"][1]
        assert left[1] < 0.9 * left[0]
        assert steps[0] < steps[1] < 300

    def test_a_tower_is_aligned_again_after_each_epoch_with_interactions(self, make_config, ml100k):
        values = {"calibrated_steps": 20, "calibrated_mode": "data_dependent", "calibrated_post_epochs": 1, **TOWER}
        trainer, loaders, labels = prepared(
            CalibratedUnlearner, make_config, ml100k, "DMF", train_batch_size=16384, **values
        )
        before = statistics(trainer, labels).max()
        trainer.unlearn(loaders[0], labels=labels)
        assert statistics(trainer, labels).max() < 0.5 * before

    @pytest.mark.parametrize("model", ["BPR", "LightGCN"])
    def test_with_interactions_users_end_aligned_and_items_stay(self, model, make_config, ml100k):
        values = {"calibrated_mode": "data_dependent", "calibrated_post_epochs": 1, "train_batch_size": 16384}
        trainer, loaders, labels = prepared(CalibratedUnlearner, make_config, ml100k, model, **values)
        items, before = trainer.view.items().clone(), statistics(trainer, labels).max()
        record = trainer.unlearn(loaders[0], labels=labels)
        assert record["mode"] == "data_dependent"
        assert statistics(trainer, labels).max() < 0.2 * before
        assert torch.equal(items, trainer.view.items())

    def test_who_did_not_ask_comes_out_bit_identical(self, make_config, ml100k):
        trainer, _, labels = prepared(CalibratedUnlearner, make_config, ml100k)
        before = served(trainer)
        trainer.unlearn(labels=labels, users=torch.arange(1, 400))
        after = served(trainer)
        assert torch.equal(before[399:], after[399:])
        assert not torch.equal(before[:399], after[:399])

    def test_users_of_whom_no_class_can_be_told_from_a_rest_are_refused(self, make_config, ml100k):
        trainer, _, labels = prepared(CalibratedUnlearner, make_config, ml100k, calibrated_labels="own")
        with pytest.raises(AttributeDataError, match="can be aligned"):
            trainer.unlearn(labels=labels, users=[1])


class TestLabelFree:
    """Users move by one map of their vectors, and by no label of their own."""

    def test_a_single_user_can_ask_and_needs_no_label(self, make_config, ml100k):
        trainer, _, labels = prepared(CalibratedUnlearner, make_config, ml100k)
        labels.labels[7] = -1
        before = served(trainer)
        record = trainer.unlearn(labels=labels, users=[7])
        moved = (served(trainer) != before).any(1).nonzero().squeeze(1)
        assert moved.tolist() == [6]
        assert record["learned_from"]["gender"]["labelled"] == 942
        assert 0 < record["learned_from"]["gender"]["explained"] < 1

    def test_who_asks_moves_where_the_map_of_all_users_takes_them(self, make_config, ml100k):
        trainer, _, labels = prepared(CalibratedUnlearner, make_config, ml100k)
        before = served(trainer)
        trainer.unlearn(labels=labels, users=torch.arange(1, 400))
        torch.testing.assert_close(served(trainer)[:399], trainer.map(before)[:399])

    def test_who_asks_for_one_attribute_is_moved_for_no_other(self, make_config, ml100k):
        alone, _, labels = prepared(CalibratedUnlearner, make_config, ml100k, attributes=["gender", "age"])
        both, _, _ = prepared(CalibratedUnlearner, make_config, ml100k, attributes=["gender", "age"])
        alone.unlearn(labels=labels, attributes=["gender"], users=[1, 2])
        both.serve([Request(["gender"], torch.tensor([1, 2])), Request(["age"], torch.tensor([2, 3]))], labels)
        assert torch.equal(served(alone)[0], served(both)[0])
        assert not torch.equal(served(alone)[1], served(both)[1])

    def test_too_few_labels_are_refused_in_one_line(self, make_config, ml100k):
        trainer, _, labels = prepared(CalibratedUnlearner, make_config, ml100k)
        labels.labels[20:] = -1
        with pytest.raises(AttributeDataError, match="19 users have a label, and at least 20 are needed"):
            trainer.unlearn(labels=labels)

    def test_own_labels_come_with_a_warning(self, make_config, ml100k, caplog):
        trainer, _, labels = prepared(CalibratedUnlearner, make_config, ml100k, calibrated_labels="own")
        trainer.unlearn(labels=labels)
        assert "reads the labels off the difference" in caplog.text

    def test_users_without_a_label_move_in_training_too(self, make_config, ml100k):
        values = {"epochs": 1, "calibrated_epochs": 1, "train_batch_size": 65536, "holdout_users": 0.3}
        trainer, loaders, _ = prepared(CalibratedTrainer, make_config, ml100k, **values)
        trainer.fit(loaders[0], saved=False)
        unknown = (trainer.labels.labels[1:] < 0).all(1)
        shift = trainer.map(served(trainer)) - served(trainer)
        assert unknown.any()
        assert (shift[unknown].abs().sum(1) > 0).all()


class TestInTraining:
    @pytest.mark.parametrize("model", ["BPR", "LightGCN"])
    def test_the_kept_state_is_at_chance(self, model, make_config, ml100k):
        values = {"epochs": 2, "calibrated_epochs": 1, "train_batch_size": 16384, "attributes": ["gender", "age"]}
        trainer, loaders, labels = prepared(CalibratedTrainer, make_config, ml100k, model, **values)
        before = statistics(trainer, labels).max()
        trainer.fit(loaders[0], saved=False)
        assert statistics(trainer, labels).max() < 0.2 * before

    def test_only_the_last_epochs_are_defended(self, make_config, ml100k):
        values = {"epochs": 3, "calibrated_epochs": 2, "train_batch_size": 65536}
        trainer, loaders, _ = prepared(CalibratedTrainer, make_config, ml100k, **values)
        calls = []
        trainer.align_users = calls.append
        trainer.fit(loaders[0], saved=False)
        assert calls == [False, True]

    def test_items_end_where_they_were_on_average_in_the_last_two_epochs(self, make_config, ml100k, monkeypatch):
        values = {"epochs": 3, "calibrated_epochs": 3, "train_batch_size": 16384}
        trainer, loaders, _ = prepared(CalibratedTrainer, make_config, ml100k, **values)
        items, places, place = trainer.view.items(), [], WeightAverage.place
        losses = trainer.step_losses
        trainer.step_losses = lambda batch: (places.append(items.detach().clone()), losses(batch))[1]
        monkeypatch.setattr(WeightAverage, "place", lambda self: (places.append(items.detach().clone()), place(self)))
        trainer.fit(loaders[0], saved=False)
        last = places[len(loaders[0]) :]
        assert torch.allclose(items, torch.stack(last).mean(0), atol=1e-5)
        assert not torch.allclose(items, last[-1], atol=1e-5)
        assert not torch.allclose(items, torch.stack(places).mean(0), atol=1e-5)

    @pytest.mark.parametrize("model", ["BPR", "LightGCN"])
    def test_users_who_are_served_are_those_of_the_mean(self, model, make_config, ml100k, monkeypatch):
        values = {"epochs": 1, "calibrated_epochs": 1, "train_batch_size": 65536}
        trainer, loaders, _ = prepared(CalibratedTrainer, make_config, ml100k, model, **values)
        aligned = []
        monkeypatch.setattr(trainer, "align_users", lambda last: aligned.append(trainer.view.served().detach().clone()))
        trainer.fit(loaders[0], saved=False)
        assert torch.allclose(aligned[0], served(trainer))

    def test_a_tower_ends_where_it_is(self, make_config, ml100k, monkeypatch):
        values = {"epochs": 1, "train_batch_size": 65536, "calibrated_epochs": 1, **TOWER}
        trainer, loaders, _ = prepared(CalibratedTrainer, make_config, ml100k, "DMF", **values)
        averaged = []
        monkeypatch.setattr(calibrated, "WeightAverage", averaged.append)
        trainer.fit(loaders[0], saved=False)
        assert not averaged

    def test_wider_users_take_more_steps(self, make_config, ml100k, caplog):
        values = {"embedding_size": 96, "calibrated_steps": 3, "epochs": 1, "train_batch_size": 65536}
        trainer, loaders, _ = prepared(CalibratedTrainer, make_config, ml100k, **values)
        with caplog.at_level("INFO"):
            trainer.fit(loaders[0], saved=False)
        assert ", 5 steps" in caplog.text

    def test_a_tower_is_pulled_as_hard_as_recommendation_pulls(self, make_config, ml100k):
        values = {"epochs": 1, "train_batch_size": 16384, "calibrated_epochs": 1, **TOWER}
        trainer, loaders, _ = prepared(CalibratedTrainer, make_config, ml100k, "DMF", **values)
        trainer.fit(loaders[0], saved=False)
        assert trainer.pull.step == len(loaders[0])
        tower = trainer.view.tower()
        batch = next(iter(loaders[0])).to(trainer.device)
        trainer.pull.step = 0
        recommendation = trainer.model.calculate_loss(batch)
        size = trainer.pull(recommendation)
        own, pull = (torch.autograd.grad(loss, tower, retain_graph=True) for loss in (recommendation, size))
        lengths = [float(torch.cat([part.flatten() for part in g]).norm()) for g in (own, pull)]
        assert lengths[1] == pytest.approx(min(1, size.item()) * lengths[0], rel=1e-3)

    def test_statistics_are_taken_anew_when_a_tower_has_outgrown_them(self, make_config, ml100k):
        values = {"epochs": 1, "train_batch_size": 16384, "calibrated_epochs": 1, **TOWER}
        trainer, loaders, _ = prepared(CalibratedTrainer, make_config, ml100k, "DMF", **values)
        trainer.fit(loaders[0], saved=False)
        first, batch = trainer.pull.discrepancy, next(iter(loaders[0])).to(trainer.device)
        trainer.pull(trainer.model.calculate_loss(batch))
        assert trainer.pull.discrepancy is first
        with torch.no_grad():
            trainer.view.tower()[-2].mul_(20)
        trainer.pull(trainer.model.calculate_loss(batch))
        assert trainer.pull.discrepancy is not first

    def test_a_tower_that_is_no_longer_finite_is_refused(self, make_config, ml100k):
        values = {"epochs": 1, "train_batch_size": 16384, "calibrated_epochs": 1, **TOWER}
        trainer, loaders, _ = prepared(CalibratedTrainer, make_config, ml100k, "DMF", **values)
        trainer.fit(loaders[0], saved=False)
        recommendation = trainer.model.calculate_loss(next(iter(loaders[0])).to(trainer.device))
        with torch.no_grad():
            trainer.view.tower()[-2].fill_(torch.inf)
        with pytest.raises(ConfigValueError, match="not all embeddings are finite"):
            trainer.pull(recommendation)

    def test_more_defended_epochs_than_epochs_are_refused(self, make_config):
        config = make_config("BPR", defense="calibrated", epochs=3, calibrated_epochs=4)
        with pytest.raises(ConfigValueError, match="calibrated_epochs is 4"):
            CalibratedTrainer.check(config, ["gender"])


def test_a_finished_undefended_checkpoint_is_not_passed_off_as_defended(make_config, ml100k):
    values = {"epochs": 1, "train_batch_size": 16384, "attributes": ["gender"]}
    plain, loaders, _ = prepared(UndefendedTrainer, make_config, ml100k, **{**values, "defense": "none"})
    plain.fit(loaders[0], loaders[1])
    trainer, _, _ = prepared(CalibratedTrainer, make_config, ml100k, **values)
    trainer.resume_checkpoint(plain.saved_model_file)
    with pytest.raises(ConfigValueError, match="was trained for 1 epochs with defense none"):
        trainer.fit(loaders[0])


@pytest.mark.parametrize("kind", [CalibratedTrainer, CalibratedUnlearner])
def test_an_alignment_that_made_it_worse_is_said(kind, make_config, ml100k, monkeypatch, caplog):
    for module in (calibrated, calibrated_post):
        monkeypatch.setattr(module, "move", lambda *_: Alignment(3.6, 4.56, 20))
    values = {"epochs": 1, "calibrated_epochs": 1, "train_batch_size": 16384, "calibrated_labels": "own"}
    trainer, loaders, labels = prepared(kind, make_config, ml100k, **values)
    if kind is CalibratedTrainer:
        trainer.fit(loaders[0], saved=False)
    else:
        trainer.unlearn(labels=labels)
    assert "farther from chance than it began (largest statistic 3.60 -> 4.56)" in caplog.text
