import copy

import pytest
import torch
from recbole.config import Config
from recbole.utils import init_seed

from recbole_aia import AttrCloakUnlearner
from recbole_aia.data import LabelTable, load_labels, prepare_loaders
from recbole_aia.errors import AttributeDataError, ConfigValueError
from recbole_aia.losses import ClassDiscrepancy, ClassDivergence
from recbole_aia.model import build_model
from recbole_aia.testing import split_once

QUICK = {
    "defense": "attrcloak",
    "unlearn_max_steps": 20,
    "unlearn_learning_rate": 0.01,
    "init_std": 0.1,
    "embedding_size": 16,
}


def prepared(make_config, ml100k, model="BPR", apart=0.2, **values):
    """An unlearner of a model whose genders stand apart, its loaders, and the labels."""
    small = {"n_layers": 1, "hidden_size_list": [16], "mf_embedding_size": 8, "mlp_embedding_size": 8}
    config = make_config(model, **{**QUICK, **small, **values})
    loaders = prepare_loaders(config, split_once(ml100k))
    torch.manual_seed(0)
    trainer = AttrCloakUnlearner(config, build_model(config, loaders[0].dataset))
    labels = load_labels(config, ml100k)
    if trainer.view.tables():
        with torch.no_grad():
            for table in trainer.view.tables():
                table[1:] += apart * labels.column("gender")[1:, None]
    return trainer, loaders, labels


def served(trainer):
    with torch.no_grad():
        return trainer.view.served().clone()


def served_items(trainer):
    """What of the items scores; nothing of NeuMF's and MultiVAE's, of which a state dict tells all."""
    trainer.model.eval()
    by_network = type(trainer.model).__name__ in ("NeuMF", "MultiVAE")
    with torch.no_grad():
        return torch.empty(0) if by_network else trainer.view.items().clone()


def divergence(trainer, labels, name="gender"):
    """The divergence of the classes as they are, by the same shrinkage for every state."""
    return float(ClassDivergence(served(trainer), labels.column(name)[1:, None], "ridge")(served(trainer)))


def guarded(dataset):
    """The same dataset, whose users have names and whose interactions nobody may touch."""

    def refuse(self, *_):
        raise AssertionError("data-free unlearning has touched an interaction")

    names = ("inter_feat", "inter_num", "inter_matrix", "history_item_matrix", "build", "copy")
    twin = copy.copy(dataset)
    del twin.inter_feat
    twin.__class__ = type("Guarded", (type(dataset),), {name: property(refuse) for name in names})
    return twin


@pytest.mark.parametrize("mode", ["data_dependent", "data_free"])
@pytest.mark.parametrize("weighting", ["mgda", "mgda_normalised", "fixed"])
def test_classes_come_closer_and_nothing_else_moves(make_config, ml100k, mode, weighting):
    trainer, (train_data, _, _), labels = prepared(make_config, ml100k, attrcloak_weighting=weighting)
    before, state = divergence(trainer, labels), copy.deepcopy(trainer.model.state_dict())
    record = trainer.unlearn(train_data if mode == "data_dependent" else None, labels=labels)
    assert divergence(trainer, labels) < before
    assert record["mode"] == mode
    assert all(after < start for start, after in record["divergence"].values())
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(value, state[name]) == (name != "user_embedding.weight")
    assert torch.equal(trainer.model.user_embedding.weight[0], state["user_embedding.weight"][0])
    assert all(parameter.requires_grad for parameter in trainer.model.parameters())


@pytest.mark.parametrize(
    ("model", "target"),
    [
        ("NeuMF", "table"),
        ("LightGCN", "table"),
        ("LightGCN", "released"),
        ("NGCF", "table"),
        ("NGCF", "released"),
        ("DMF", "tower"),
        ("DMF", "released"),
        ("MultiVAE", "tower"),
        ("MultiVAE", "released"),
    ],
)
@pytest.mark.parametrize("mode", ["data_dependent", "data_free"])
def test_every_model_and_target_can_be_unlearnt(make_config, ml100k, model, target, mode):
    values = {"target": target, "attributes": ["gender"], "unlearn_max_steps": 10, "train_batch_size": 8192}
    trainer, (train_data, valid_data, _), labels = prepared(make_config, ml100k, model, **values)
    kept = copy.deepcopy(trainer.model.state_dict())
    items = served_items(trainer)
    record = trainer.unlearn(train_data if mode == "data_dependent" else None, labels=labels)
    propagated = target == "table" and model != "NeuMF"
    assert torch.equal(served_items(trainer), items) != propagated, "only a graph's table moves items"
    before, after = record["divergence"]["gender"]
    assert after < before
    moving = {"table": ("user_",), "tower": ("user_linear", "user_fc_layers", "encoder")}.get(target)
    changed = {name for name, value in trainer.model.state_dict().items() if not torch.equal(value, kept[name])}
    if target == "released":
        towers = model in ("DMF", "MultiVAE")
        assert changed == (set() if towers else {"user_embedding.weight", "item_embedding.weight"})
    else:
        assert all(name.startswith(moving) for name in changed)
    assert (trainer.view.released is not None) == (target == "released")
    trainer._save_checkpoint(0, verbose=False)
    scores = trainer.evaluate(valid_data, load_best_model=False)
    assert trainer.evaluate(valid_data) == scores


def test_users_who_did_not_ask_are_bit_identical(make_config, ml100k):
    for target in ("table", "released"):
        trainer, (train_data, _, _), labels = prepared(make_config, ml100k, "LightGCN", target=target)
        asked = torch.arange(1, 400, 2)
        holder = trainer.view.tables()[0] if target == "table" else trainer.view.release()
        before = holder.detach().clone()
        record = trainer.unlearn(train_data, labels=labels, users=asked)
        after = trainer.view.tables()[0] if target == "table" else trainer.view.released
        same = (after == before).all(dim=1)
        assert not same[asked].any()
        same[asked] = True
        assert same.all()
        assert record["users"] == asked.tolist()


@pytest.mark.parametrize("model", ["BPR", "NeuMF", "LightGCN", "DMF"])
def test_data_free_unlearning_touches_no_interaction(make_config, ml100k, monkeypatch, model):
    trainer, _, labels = prepared(make_config, ml100k, model)
    if "released" in trainer.view.targets:
        # What a graph or a tower makes of the interactions it holds is computed once, and then frozen.
        trainer.view.release()
        for held in ("norm_adj_matrix", "user_rows"):
            monkeypatch.setattr(trainer.model, held, None, raising=False)
    data = guarded(ml100k)
    with pytest.raises(AssertionError, match="touched"):
        data.inter_feat  # noqa: B018
    monkeypatch.setattr("recbole_aia.trainer.post.create_dataset", lambda _: data)
    monkeypatch.setattr(trainer.model, "calculate_loss", lambda _: pytest.fail("the recommendation loss was computed"))
    before = divergence(trainer, labels)
    trainer.unlearn()
    assert divergence(trainer, labels) < before


def test_the_first_data_free_step_does_not_stand_still(make_config, ml100k):
    trainer, _, labels = prepared(make_config, ml100k, unlearn_max_steps=1)
    before = served(trainer)
    record = trainer.unlearn(labels=labels)
    assert record["weights"] == pytest.approx([0.1] * 3)
    assert not torch.equal(served(trainer), before)


def test_the_weight_with_data_follows_how_far_each_loss_has_come(make_config, ml100k):
    trainer, (train_data, _, _), labels = prepared(make_config, ml100k)
    first, mean, last = trainer.unlearn(train_data, labels=labels)["weights"]
    assert first == pytest.approx(0.5, abs=0.05), "the gradients start as equals"
    assert last > mean > first, "unlearning comes far, and its gradient grows short"


def test_retention_takes_the_interactions_of_those_who_asked(make_config, ml100k, monkeypatch):
    trainer, (train_data, _, _), labels = prepared(make_config, ml100k, unlearn_max_steps=3, train_batch_size=64)
    asked, seen = torch.arange(1, 31), []
    loss = trainer.model.calculate_loss
    monkeypatch.setattr(trainer.model, "calculate_loss", lambda batch: seen.append(batch["user_id"]) or loss(batch))
    trainer.unlearn(train_data, labels=labels, users=asked)
    assert len(seen) == 3
    assert all(len(users) and torch.isin(users, asked).all() for users in seen)


def test_later_attributes_keep_what_was_unlearnt_before(make_config, ml100k):
    values = {"unlearn_max_steps": 150, "attributes": ["gender"]}
    trainer, _, labels = prepared(make_config, ml100k, **values)
    both = load_labels(make_config(attributes=["gender", "age"]), ml100k)
    start = divergence(trainer, labels)
    trainer.unlearn()
    after_gender = divergence(trainer, labels)
    age = divergence(trainer, both, "age")
    trainer.config["attributes"] = ["age"]
    record = trainer.unlearn()
    assert set(record["divergence"]) == {"gender", "age"}
    assert record["attributes"] == ["age"]
    assert divergence(trainer, both, "age") < age
    assert divergence(trainer, labels) < after_gender + 0.1 * (start - after_gender)
    trainer._save_checkpoint(0, verbose=False)
    saved = torch.load(trainer.saved_model_file, weights_only=True)
    assert [r["attributes"] for r in saved["unlearned"]] == [["gender"], ["age"]]
    assert all(r["when"].startswith("20") and r["users"] is None for r in saved["unlearned"])


def test_it_converges_when_the_loss_stands_still_and_stops_at_the_last_step(make_config, ml100k):
    trainer, _, labels = prepared(make_config, ml100k, unlearn_tolerance=0.5, unlearn_patience=2, unlearn_max_steps=500)
    record = trainer.unlearn(labels=labels)
    assert record["converged"]
    assert record["steps"] < 500
    trainer, _, labels = prepared(make_config, ml100k, unlearn_max_steps=7)
    record = trainer.unlearn(labels=labels)
    assert (record["steps"], record["converged"]) == (7, False)


@pytest.mark.parametrize("mode", ["data_dependent", "data_free"])
def test_calibrated_it_ends_at_chance_where_it_would_go_on_below(make_config, ml100k, mode):
    values = {
        "unlearn_learning_rate": 0.005,
        "attrcloak_weighting": "fixed",
        "attrcloak_alpha": 0.9,
        "unlearn_max_steps": 80,
        "apart": 0.03,
    }
    means, steps = [], []
    for calibrate in (False, True):
        trainer, (train_data, _, _), labels = prepared(
            make_config, ml100k, attributes=["gender"], calibrate=calibrate, **values
        )
        start = served(trainer)
        record = trainer.unlearn(train_data if mode == "data_dependent" else None, labels=labels)
        settings = {"seed": trainer.config["seed"], "exact_users": 0}
        statistics = ClassDiscrepancy(start, labels.column("gender")[1:, None], **settings)
        means.append(float(statistics(served(trainer)).mean()))
        steps.append(record["steps"])
    assert steps[1] < steps[0]
    assert means[0] < means[1] - 0.5
    assert -2 < means[1] <= 0
    assert record["stopped_at_chance"]
    before, after = record["discrepancy"]["gender"]
    assert before > 5
    assert after == pytest.approx(means[1], abs=0.01)


def test_calibrated_users_who_are_at_chance_are_left_as_they_are(make_config, ml100k):
    trainer, _, labels = prepared(make_config, ml100k, calibrate=True, attributes=["gender"])
    women, men = ((labels.column("gender") == k).nonzero().squeeze(1) for k in (0, 1))
    with torch.no_grad():
        # Women are more like men than random groups are like each other.
        table = trainer.view.tables()[0]
        table[women] = table[men[: len(women)]]
    before = served(trainer)
    record = trainer.unlearn(labels=labels)
    assert (record["steps"], record["weights"], record["stopped_at_chance"]) == (0, [], True)
    assert torch.equal(served(trainer), before)


def test_the_same_unlearning_twice_is_the_same_bit_by_bit(make_config, ml100k):
    results = []
    for _ in range(2):
        init_seed(3, True)
        trainer, (train_data, _, _), labels = prepared(make_config, ml100k)
        trainer.unlearn(train_data, labels=labels, users=range(1, 300))
        results.append(served(trainer))
    assert torch.equal(*results)


def test_a_single_user_of_a_class_is_named_and_stays_out(make_config, ml100k, caplog):
    trainer, _, labels = prepared(make_config, ml100k, attributes=["gender"])
    column = labels.column("gender")
    men, woman = (column == 1).nonzero().squeeze(1)[:40], (column == 0).nonzero().squeeze(1)[:1]
    trainer.unlearn(labels=labels, users=torch.cat([men, woman]))
    assert "too few users are left out: gender F" in caplog.text


@pytest.mark.parametrize(
    ("values", "arguments", "error", "message"),
    [
        ({}, {"users": []}, ConfigValueError, "at least one"),
        ({}, {"users": [0]}, ConfigValueError, "ids from 1 to 943"),
        ({}, {"users": [1, 944]}, ConfigValueError, "ids from 1 to 943"),
        ({}, {"users": [5]}, AttributeDataError, "Ask for more users"),
        ({"target": "tower"}, {}, ConfigValueError, "BPR has no target 'tower'"),
        ({"attrcloak_covariance": "full"}, {"users": range(1, 16)}, ConfigValueError, "ledoit_wolf"),
    ],
)
def test_what_cannot_work_is_said_in_a_line(make_config, ml100k, values, arguments, error, message):
    trainer, _, labels = prepared(make_config, ml100k, **values)
    before = served(trainer)
    with pytest.raises(error, match=message):
        trainer.unlearn(labels=labels, **arguments)
    assert torch.equal(served(trainer), before)


def test_a_tower_moves_for_all_or_nobody(make_config, ml100k):
    trainer, _, labels = prepared(make_config, ml100k, "DMF", target="tower")
    with pytest.raises(ConfigValueError, match="--target=released"):
        trainer.unlearn(labels=labels, users=range(1, 100))


def test_nobody_with_a_label_is_an_error(make_config, ml100k):
    trainer, _, labels = prepared(make_config, ml100k, attributes=["gender"])
    nobody = LabelTable(torch.full_like(labels.labels, -1), labels.names, labels.classes)
    with pytest.raises(AttributeDataError, match="none of the 943 users has a label of 'gender'"):
        trainer.unlearn(labels=nobody)


def test_it_works_in_a_plain_recbole_project(tmp_path):
    from recbole.data import create_dataset, data_preparation
    from recbole.model.general_recommender import BPR

    config = Config("BPR", "ml-100k", config_dict={"checkpoint_dir": str(tmp_path), "epochs": 1})
    train_data, valid_data, test_data = data_preparation(config, create_dataset(config))
    model = BPR(config, train_data.dataset).to(config["device"])
    trainer = AttrCloakUnlearner(config, model)
    trainer.config["unlearn_max_steps"] = 5
    trainer.unlearn(train_data)
    assert trainer.evaluate(test_data, load_best_model=False)["recall@10"] > 0
    trainer.fit(train_data, valid_data)
    assert trainer.evaluate(test_data)["recall@10"] > 0
    assert len(trainer.history) == 2
