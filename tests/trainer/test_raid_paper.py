"""``--defense=raid --preset=paper`` beside algorithm 1 of the paper, written out here by itself in double precision."""

import numpy as np
import pytest
from recbole.utils import init_seed
from scipy.special import expit, logsumexp, softmax

from recbole_aia.config.aia_config import AIAConfig
from recbole_aia.data import create_dataset, load_labels, prepare_loaders
from recbole_aia.data.synthetic import generate, write
from recbole_aia.errors import ConfigValueError
from recbole_aia.model import build_model
from recbole_aia.trainer import trainer_class

ETA = TAU = 1.0
E1, XI, RATE = 2, 2, 0.05  # at the paper's rate of 1e-4 any two algorithms agree to 1e-5
SMALL = {
    "show_progress": False,
    "preset": "paper",
    "epochs": 7,
    "raid_phase1_epochs": E1,
    "raid_refresh_epochs": XI,
    "learning_rate": RATE,
    "init_std": 0.1,
    "embedding_size": 4,
    "train_batch_size": 512,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("data")
    write(generate(40, 30, 400, leak=3.0), place)
    return place


@pytest.fixture
def trained(folder, tmp_path):
    """Trains; returns the labels, each step as (epoch, batch, tables before it), and the tables at the end."""

    def train(**values):
        config = AIAConfig(
            "BPR", "synthetic", argv=[],
            config_dict={
                **SMALL, "defense": "raid", "data_path": str(folder), "checkpoint_dir": str(tmp_path), **values
            },
        )  # fmt: skip
        init_seed(config["seed"], True)
        train_data = prepare_loaders(config, create_dataset(config))[0]
        trainer = trainer_class(config)(config, build_model(config, train_data.dataset))
        tables = [trainer.model.user_embedding.weight, trainer.model.item_embedding.weight]
        steps, step_losses = [], trainer.step_losses

        def recorded(batch):
            columns = [batch[name].cpu().numpy() for name in ("user_id", "item_id", "neg_item_id")]
            steps.append((len(trainer.train_loss_dict), columns, copies(tables)))
            return step_losses(batch)

        trainer.step_losses = recorded
        trainer.fit(train_data, saved=False)
        return load_labels(config, train_data.dataset).labels[:, 0].numpy(), steps, copies(tables), trainer

    return train


def copies(tables):
    return [table.detach().double().cpu().numpy().copy() for table in tables]


def recommendation_gradient(users, items, batch):
    """The gradient of eq. (5): four negatives stand beside each positive."""
    who, liked, other = batch
    n = len(who) // 4
    pairs = [(who[:n], liked[:n], 1.0), (who, other, 0.0)]
    of_users, of_items = np.zeros_like(users), np.zeros_like(items)
    for u, v, r in pairs:
        error = (expit((users[u] * items[v]).sum(1)) - r)[:, None] / (n + len(who))
        np.add.at(of_users, u, error * items[v])
        np.add.at(of_items, v, error * users[u])
    return of_users, of_items


def costs(users, atoms):
    return np.square(users[:, None] - atoms).sum(2)


def barycenter(classes, atoms):
    """The weights of eq. (21) at the maximum of eq. (18), by super-gradient ascent (A.2), on a fixed support (A.1)."""
    shares = np.array([len(users) for users in classes], dtype=float)
    shares /= shares.sum()
    cost = [costs(users, atoms) for users in classes]
    g, total, count, steps = np.zeros((len(classes), len(atoms))), 0.0, 0, 2000
    for t in range(steps):
        weights = softmax(-(shares @ g) / TAU)
        for k, c in enumerate(cost):
            chosen = (c - g[k]).argmin(1)
            excess = weights - np.bincount(chosen, minlength=len(atoms)) / len(c)
            g[k] += shares[k] * excess / (1 + t / 50) ** 0.75
        if 2 * t >= steps:
            total, count = total + g, count + 1
    return softmax(-(shares @ (total / count)) / TAU)


def coupling(users, atoms, weights):
    """Iterative KL projections onto the two marginals of eq. (23)."""
    cost = costs(users, atoms)
    kernel = -cost / (0.05 * cost.mean())
    row, column = np.full(len(users), -np.log(len(users))), np.log(weights)
    u, v = np.zeros(len(users)), np.zeros(len(atoms))
    for _ in range(1000):
        u = row - logsumexp(kernel + v, axis=1)
        v = column - logsumexp(kernel + u[:, None], axis=0)
    u = row - logsumexp(kernel + v, axis=1)
    return np.exp(kernel + u[:, None] + v)


def defensive_gradient(users, members, atoms, weights):
    """Lemma 2."""
    gradient = np.zeros_like(users)
    for rows in members:
        plan = coupling(users[rows], atoms, weights)
        gradient[rows] = 2 * (users[rows] / len(rows) - plan @ atoms)
    return gradient


def algorithm_1(labels, steps, recommendation=True):
    """The tables before each step, and the defensive gradients' lengths."""
    users, items = (table.copy() for table in steps[0][2])
    members = [np.flatnonzero(labels == k) for k in range(labels.max() + 1)]
    center, rounds, trace, pulls = None, 0, [], []
    for epoch, batch, _ in steps:
        i = epoch + 1
        if i > rounds:
            rounds = i
            if i > E1 and (i - E1) % XI == 0:
                atoms = np.concatenate([users[rows] for rows in members])
                center = atoms, barycenter([users[rows] for rows in members], atoms)
        trace.append((users, items))
        of_users, of_items = recommendation_gradient(users, items, batch)
        if i > E1 and not recommendation:
            of_users, of_items = 0 * of_users, 0 * of_items
        pull = np.zeros_like(users) if center is None else defensive_gradient(users, members, *center)
        pulls.append(np.abs(pull).max())
        users, items = users - RATE * (of_users + ETA * pull), items - RATE * of_items
    return [*trace, (users, items)], pulls


@pytest.mark.parametrize("recommendation", [True, False])
def test_the_preset_is_algorithm_1_step_by_step(trained, recommendation):
    labels, steps, last, _ = trained(raid_recommendation=recommendation)
    expected, pulls = algorithm_1(labels, steps, recommendation)
    ours = [*(step[2] for step in steps), last]
    for computed, transcribed in zip(ours, expected, strict=True):
        np.testing.assert_allclose(computed[0], transcribed[0], rtol=0, atol=1e-5)
        np.testing.assert_allclose(computed[1], transcribed[1], rtol=0, atol=1e-5)
    defended = [pull > 0 for pull in pulls]
    assert defended == [epoch + 1 - E1 >= XI for epoch, _, _ in steps]
    assert RATE * sum(pulls) > 500e-5, "the defensive loss moves users by far more than the tolerance"


@pytest.mark.parametrize(
    "departure",
    [{"raid_couplings": "refresh"}, {"raid_support": "moving"}, {"raid_first_refresh": "start"},
     {"raid_coupling": "exact"}, {"raid_recommendation": False}],
    ids=str,
)  # fmt: skip
def test_each_departure_is_a_key_that_changes_the_training(trained, departure):
    assert np.abs(trained()[2][0] - trained(**departure)[2][0]).max() > 5e-5


@pytest.mark.parametrize(("first", "refreshes"), [("start", 3), ("interval", 2)])
def test_fixed_atoms_are_users_as_they_were_at_the_refresh(trained, first, refreshes):
    _, steps, _, trainer = trained(raid_first_refresh=first, raid_atoms=5)
    term = trainer.terms[0]
    assert term.refreshes == refreshes
    last = E1 + 4 if first == "start" else E1 + 3  # the epoch of the last refresh, counted from 0
    users = next(tables[0] for epoch, _, tables in steps if epoch == last)
    assert costs(term.barycenter.atoms.double().cpu().numpy(), users).min(1).max() == 0


def test_the_epochs_of_appendix_b_depend_on_the_model(tmp_path):
    def plan(model, preset):
        config = AIAConfig(model, "ml-100k", argv=[], config_dict={"defense": "raid", "preset": preset})
        return [epochs for epochs, _ in trainer_class(config).schedule(config, ["gender"])]

    found = {model: plan(model, "paper") for model in ("NeuMF", "DMF", "LightGCN")}
    assert found == {"NeuMF": [5, 15], "DMF": [5, 5], "LightGCN": [5, 195]}
    assert plan("DMF", "paper-adam") == [5, 5]


@pytest.mark.parametrize(
    ("values", "message"),
    [({"raid_coupling": "semi_dual"}, "raid_coupling=kl_projection"), ({"epochs": 8}, "raid_first_refresh=start")],
)
def test_what_has_no_barycenter_or_no_coupling_is_refused(make_config, values, message):
    config = make_config(defense="raid", preset="paper", **{"epochs": 20, **values})
    with pytest.raises(ConfigValueError, match=message):
        trainer_class(config).check(config, ["gender"])
