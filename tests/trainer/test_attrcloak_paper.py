"""``--defense=attrcloak --preset=paper`` beside algorithm 1 of the slides, written out here by itself."""

import pytest
import torch
from recbole.utils import init_seed

from recbole_aia.config.aia_config import AIAConfig
from recbole_aia.config.properties import our_properties
from recbole_aia.data import LabelTable, create_dataset, load_labels, prepare_loaders
from recbole_aia.data.synthetic import generate, write
from recbole_aia.errors import ConfigValueError
from recbole_aia.model import UserEmbeddingView, build_model
from recbole_aia.testing import split_once
from recbole_aia.trainer import trainer_class
from recbole_aia.trainer.targets import target_name

STEPS, WIDTH = 25, 4
SMALL = {
    "show_progress": False,
    "defense": "attrcloak",
    "preset": "paper",
    "unlearn_max_steps": STEPS,
    "init_std": 0.1,
    "embedding_size": WIDTH,
    "train_batch_size": 64,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("data")
    write(generate(40, 30, 400, leak=3.0), place)
    return place


@pytest.fixture
def unlearned(folder, tmp_path):
    """Unlearns; returns labels ``[n, 2]``, batches, users' vectors before each step and at the end, and the record."""

    def unlearn(with_data, **values):
        places = {"data_path": str(folder), "checkpoint_dir": str(tmp_path)}
        config = AIAConfig("BPR", "synthetic", argv=[], config_dict={**SMALL, **places, **values})
        init_seed(config["seed"], True)
        train_data = prepare_loaders(config, create_dataset(config))[0]
        trainer = trainer_class(config)(config, build_model(config, train_data.dataset))
        labels = load_labels(config, train_data.dataset)
        # Three users are too few for a covariance of four dimensions.
        few = torch.where(torch.arange(len(labels.labels)) < 4, 1, 0)
        few[0] = -1
        labels = LabelTable(torch.stack([labels.labels[:, 0], few], 1), ("group", "few"), {"group": "ab", "few": "nf"})
        table, batches, states = trainer.model.user_embedding.weight, [], []
        with torch.no_grad():
            table[1:] += 0.1 * labels.labels[1:, :1]
        items, start = trainer.model.item_embedding.weight.detach().double(), table.detach().double().clone()
        loss, target, checked = trainer.recommendation_loss, trainer.target, trainer.checked
        trainer.recommendation_loss = lambda batch: batches.append(batch) or loss(batch)
        trainer.target = lambda task: states.append(target(task)) or states[0]

        def recorded(compute):
            states.append(states[0].parameters[0].detach().clone())
            return checked(compute)

        trainer.checked = recorded
        record = trainer.unlearn(train_data if with_data else None, labels=labels)
        return labels.labels[1:], batches, states[1:], start, items, record

    return unlearn


def covariance(users):
    """Eq. (14) and (16), full where there are enough users and with a hundredth of a sphere where not."""
    centered = users - users.mean(0)
    full = centered.T @ centered / len(users)
    if len(users) > WIDTH:
        return full
    return 0.99 * full + 0.01 * torch.trace(full) / WIDTH * torch.eye(WIDTH)


def unlearning_loss(users, labels):
    """Eq. (17) to (19)."""
    total = 0.0
    for column in labels.T:
        mean, sigma = users.mean(0), covariance(users)
        for k in column.unique():
            members = users[column == k]
            mean_k, sigma_k = members.mean(0), covariance(members)
            ratio = torch.det(sigma) / torch.det(sigma_k)
            gap, inverse = mean - mean_k, torch.linalg.inv(sigma)
            kl = (torch.log(ratio) - WIDTH + torch.trace(inverse @ sigma_k) + gap @ inverse @ gap) / 2
            total = total + len(members) / len(users) * kl
    return total / labels.shape[1]


def recommendation_loss(users, items, batch):
    """Eq. (20), with the loss by which BPR was trained."""
    rows, liked, other = batch["user_id"] - 1, items[batch["item_id"]], items[batch["neg_item_id"]]
    return -torch.log(torch.sigmoid((users[rows] * (liked - other)).sum(1))).mean()


def algorithm_1(labels, batches, start, items, rate, fixed):
    """The users' vectors before each step and at the end, and the weights."""
    original = start[1:]
    users, trace, weights = original.clone(), [], []
    for step in range(STEPS):
        trace.append(users.clone())
        users.requires_grad_()
        with_data = bool(batches)
        retention = recommendation_loss(users, items, batches[step]) if with_data else (original - users).pow(2).sum()
        (of_unlearning,) = torch.autograd.grad(unlearning_loss(users, labels), users)
        (of_retention,) = torch.autograd.grad(retention, users)
        difference = of_retention - of_unlearning
        weight = float((difference * of_retention).sum() / difference.pow(2).sum())  # eq. (26)
        weight = fixed if fixed is not None else max(min(weight, 1.0), 0.0 if with_data else 0.1)
        weights.append(weight)
        users = users.detach() - rate * (weight * of_unlearning + (1 - weight) * of_retention)
    return [*trace, users], weights


@pytest.mark.parametrize(
    ("with_data", "rate", "fixed"),
    [(True, 1.0, None), (False, 0.05, None), (True, 0.02, 0.3), (False, 0.02, 0.3)],
    ids=["with data", "data-free", "figure 5 with data", "figure 5 data-free"],
)
def test_the_preset_is_algorithm_1_step_by_step(unlearned, with_data, rate, fixed):
    figure_5 = {} if fixed is None else {"attrcloak_weighting": "fixed_raw", "attrcloak_alpha": fixed}
    labels, batches, states, start, items, record = unlearned(with_data, unlearn_learning_rate=rate, **figure_5)
    assert len(batches) == (STEPS if with_data else 0)
    expected, weights = algorithm_1(labels, batches, start, items, rate, fixed)
    assert float((expected[-1] - expected[0]).abs().max()) > 500e-5, "users move by far more than the tolerance"
    for ours, transcribed in zip(states, expected, strict=True):
        torch.testing.assert_close(ours.double(), transcribed, rtol=0, atol=1e-5)
    assert record["weights"] == pytest.approx([weights[0], sum(weights) / STEPS, weights[-1]], abs=1e-4)


def test_data_free_steps_that_would_diverge_are_refused(unlearned, make_config):
    with pytest.raises(ConfigValueError, match="preset=paper-data-free"):
        unlearned(False, unlearn_learning_rate=1.0)
    mixed = make_config(defense="attrcloak", preset="paper", attrcloak_mode="data_free")
    with pytest.raises(ConfigValueError, match="preset=paper-data-free"):
        trainer_class(mixed).check(mixed, ["gender"])
    data_free = make_config(defense="attrcloak", preset="paper-data-free")
    trainer_class(data_free).check(data_free, ["gender"])


def test_data_free_the_weight_is_a_constant_and_users_stop_at_an_eighteenth_of_the_gradient(unlearned):
    labels, _, states, start, _, record = unlearned(False, preset="paper-data-free", unlearn_max_steps=500)
    assert record["weights"] == pytest.approx([0.1, 0.1, 0.1], abs=1e-3)
    assert record["converged"]
    end = states[-1].double().requires_grad_()
    (slope,) = torch.autograd.grad(unlearning_loss(end, labels), end)
    torch.testing.assert_close(end.detach() - start[1:], -slope / 18, rtol=0.01, atol=1e-5)


@pytest.mark.parametrize(
    "departure",
    [{"attrcloak_covariance": "ledoit_wolf"}, {"attrcloak_covariance": "ridge"}, {"attrcloak_displacement": "relative"},
     {"attrcloak_weighting": "mgda_normalised"}, {"unlearn_optimizer": "adam"}, {"unlearn_relative": True}],
    ids=str,
)  # fmt: skip
def test_each_departure_is_a_key_that_changes_the_steps(unlearned, departure):
    with_data = "attrcloak_weighting" in departure  # data-free, one gradient has no first length
    letter, other = (unlearned(with_data, unlearn_learning_rate=0.05, **each)[2][-1] for each in ({}, departure))
    assert float((letter - other).abs().max()) > 1e-4


@pytest.mark.parametrize(
    ("model", "target"), [("BPR", "table"), ("NeuMF", "table"), ("LightGCN", "table"), ("DMF", "tower")]
)
def test_the_preset_moves_the_parameters_that_embed_users(make_config, ml100k, model, target):
    for defense in ("attrcloak", "u2u", "d2d"):
        config = make_config(model, defense=defense, preset="paper")
        dataset = prepare_loaders(config, split_once(ml100k))[0].dataset
        view = UserEmbeddingView(build_model(config, dataset))
        assert target_name(view, config["target"]) == target


@pytest.mark.parametrize("defense", ["u2u", "d2d"])
def test_u2u_and_d2d_take_their_authors_steps(unlearned, defense):
    defaults = our_properties("BPR", "synthetic", defense, "paper")
    assert (defaults[f"{defense}_regularization"], defaults["unlearn_max_steps"]) == (1e-6, 500)
    assert defaults["unlearn_patience"] * 10 >= 500, "nothing ends them earlier"
    rate = defaults["unlearn_learning_rate"]
    _, _, states, start, _, _ = unlearned(False, defense=defense, unlearn_learning_rate=rate, unlearn_max_steps=2)
    # Adam's first step has the rate as its length, whatever the gradient; relative rates would be a tenth of it.
    assert float((states[1] - start[1:]).abs().median()) == pytest.approx(1e-3, rel=0.01)
