"""Every defense on every model: two epochs move what the defense is after, or it is refused before training.

Which pairs work is read from the manual, so that its table cannot rot. What a defense is after is its own objective
where it has one: distances of classes for those that draw classes together, the loss of the networks for those that
fool networks, and so on. A defense that is not in :data:`OBJECTIVES` has to bring the means of classes closer.
"""

import functools
import itertools
import re
from pathlib import Path
from types import SimpleNamespace

import ot
import pytest
import scipy.sparse as sp
import torch
from recbole.utils import init_seed

from recbole_aia.config.aia_config import AIAConfig
from recbole_aia.config.registry import defense_keys, defenses, keys_of, models
from recbole_aia.data import create_dataset, load_labels, prepare_loaders
from recbole_aia.data.edits import profiles_of
from recbole_aia.data.obfuscation import own_strengths
from recbole_aia.data.synthetic import GROUP, Planted, generate, write
from recbole_aia.errors import UnsupportedModelError
from recbole_aia.losses import (
    ClassDivergence,
    distribution_to_distribution,
    random_directions,
    sliced_wasserstein,
    user_to_user,
)
from recbole_aia.model import build_model
from recbole_aia.testing import split_once
from recbole_aia.trainer import UndefendedTrainer
from recbole_aia.trainer.chance import ChanceStop

MANUAL = Path(__file__).parents[2] / "docs" / "defenses.md"
ATTRIBUTES = (GROUP, Planted("age", ("young", "middle", "old"), (1, 1, 1)))
SMALL = {
    "epochs": 2,
    "learning_rate": 0.01,
    "train_batch_size": 64,
    "embedding_size": 8,
    "n_layers": 1,
    "hidden_size_list": [8],
    "mf_embedding_size": 8,
    "mlp_embedding_size": 8,
    "mlp_hidden_size": [8],
    "latent_dimension": 16,
    "user_embedding_size": 8,
    "item_embedding_size": 8,
    "user_hidden_size_list": [8],
    "item_hidden_size_list": [8],
    "raid_phase1_epochs": 1,
    "raid_refresh_epochs": 1,
    "unlearn_max_steps": 20,
    "attributes": [each.name for each in ATTRIBUTES],
    "attribute_specs": {each.name: {"field": each.name} for each in ATTRIBUTES},
}
#: Strong enough to show in two epochs.
STRONG = {
    "raid_eta": 10.0,
    "raid_atoms": 16,
    "calibrated_steps": 30,
    "calibrated_epochs": 2,
    "adversarial_weight": 1.0,
    "adversarial_learning_rate": 0.05,
    "adversarial_dropout": 0.3,
    "adversarial_post_epochs": 2,
    "rap_weight": 1.0,
    "rap_items": 5,
    "rap_learning_rate": 0.05,
    "swd_weight": 10.0,
    "u2u_weight": 10.0,
    "d2d_weight": 10.0,
    "blurme_folds": 2,
    "blurme_share": 0.3,
    "record_folds": 2,
    "ldp_rounds": 2,
}


def documented():
    """The table "Which models" of the manual: (defense, model) and whether the pair works."""
    section = MANUAL.read_text(encoding="utf-8").split("## Which models")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    head, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    found = {}
    for names, *cells in rows:
        for name, (heading, cell) in itertools.product(re.findall("`(.+?)`", names), zip(head[1:], cells, strict=True)):
            found |= {(name, model): cell == "yes" for model in heading.split(", ") if cell in ("yes", "no")}
    return found


DEFENSES = {name: stages for name, stages in defenses().items() if name != "none"}
#: RecBole's models with a view; other tests register models of guests in this process.
MODELS = [name for name, model in models().items() if model.__module__.startswith("recbole.")]
PAIRS = [
    pytest.param(subject, model, id=f"{subject.defense}-{subject.stage}-{model}")
    for stages in DEFENSES.values()
    for subject, model in itertools.product(stages.values(), MODELS)
]


def test_the_manual_says_of_every_pair_whether_it_works():
    assert set(documented()) == set(itertools.product(DEFENSES, MODELS))


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """Makes trainers on one small dataset, and keeps the undefended twin of each model."""
    folder = tmp_path_factory.mktemp("models")
    write(generate(90, 40, 1_200, leak=3.0, attributes=ATTRIBUTES), folder)

    def configured(subject, model, without=(), **values):
        own, every = keys_of(subject), defense_keys()
        strong = {name: value for name, value in STRONG.items() if name not in without}
        settings = {k: v for k, v in {**SMALL, **strong, **values}.items() if k in own or k not in every}
        which = {"defense": subject.defense, "stage": None if subject is UndefendedTrainer else subject.stage}
        places = {"data_path": str(folder), "checkpoint_dir": str(folder), "show_progress": False}
        return AIAConfig(model, "synthetic", config_dict={**settings, **which, **places}, argv=[])

    @functools.cache
    def dataset():
        return split_once(create_dataset(configured(UndefendedTrainer, "BPR")))

    def prepared(subject, model, **values):
        config = configured(subject, model, **values)
        init_seed(config["seed"], config["reproducibility"])
        loader = prepare_loaders(config, dataset())[0]
        trainer = subject(config, build_model(config, loader.dataset))
        trainer.saved_model_file = ""
        return SimpleNamespace(trainer=trainer, loader=loader, labels=load_labels(config, dataset()).labels)

    def trained(subject, model, **values):
        """A trained defense, and its users; after training it starts from the twin."""
        made = prepared(subject, model, **values)
        if subject.stage == "post":
            made.trainer.model.load_state_dict(twin(model).trainer.model.state_dict())
        made.trainer.fit(made.loader, saved=False)
        with torch.no_grad():
            made.users = made.trainer.view.served().clone()
        return made

    @functools.cache
    def twin(model):
        return trained(UndefendedTrainer, model)

    return SimpleNamespace(configured=configured, prepared=prepared, trained=trained, twin=twin)


def of_users(measure):
    """What a function of users ``[n, d]`` and labels ``[n, A]`` says of the defended and of the undefended ones."""
    return lambda _, defended, twin: [measure(each.users, twin.labels[1:]) for each in (defended, twin)]


def by_attribute(distance):
    return of_users(lambda users, labels: sum(float(distance(users, column)) for column in labels.t()))


def transported(users, labels):
    """What it costs to carry one class to another, in units of the users' variance, over pairs of classes."""
    classes = [users[labels == k].numpy() for k in labels.unique()]
    costs = [ot.emd2([], [], ot.dist(*pair)) for pair in itertools.combinations(classes, 2)]
    return sum(costs) / float(users.var(0).sum())


def mean_distance(users, labels):
    """Distances of class means from the mean of all, in units of the users' spread."""
    means = torch.stack([users[labels == k].mean(0) for k in labels.unique()])
    return (means - users.mean(0)).norm(dim=1).sum() / users.var(0).sum().sqrt()


def from_chance(users, labels):
    """How far the mean statistic of each attribute is above chance, in standard deviations under permuted labels."""
    return float(ChanceStop(lambda: users, labels).means().clamp_min(0).sum())


def adversaries_win(workshop, defended, _):
    """Minus the loss of the networks that users were trained against, and of networks that left users alone."""
    trainer = defended.trainer
    alone = workshop.trained(type(trainer), trainer.config["model"], **{f"{trainer.defense}_weight": 0.0})
    with torch.no_grad():
        return [-sum(float(term()) for term in each.trainer.terms) for each in (defended, alone)]


def profiles_tell(_, defended, __):
    """How strongly a user's items speak for the user's classes, per item, after the edit and before."""
    trainer, profiles, labels = defended.trainer, profiles_of(defended.loader.dataset), defended.labels.numpy()
    edits, tells = trainer.edits(profiles, labels), trainer.tells(profiles, labels, 2)
    edited = sp.lil_matrix(profiles)
    edited[edits.removed[:, 0], edits.removed[:, 1]] = 0
    edited[edits.added[:, 0], edits.added[:, 1]] = 1
    spoken = [0.0, 0.0]
    for user in range(1, len(labels)):
        strengths = own_strengths(tells, labels[user])
        for place, rows in enumerate((edited.tocsr(), profiles)):
            spoken[place] += (rows[user] @ strengths).item() / rows[user].nnz
    return spoken


def reconstruction_error(workshop, defended, _):
    """The error of profiles as users times items, trained and at the start; unseen items count as in the defense."""
    wanted = torch.from_numpy(profiles_of(defended.loader.dataset).toarray())[1:, 1:]
    weights = torch.where(wanted > 0, 1.0, defended.trainer.config["ldp_unseen"])

    @torch.no_grad()
    def error(made):
        return float((weights * (wanted - made.trainer.view.scores(made.trainer.view.served())[:, 1:]).square()).mean())

    return [error(defended), error(workshop.prepared(type(defended.trainer), "BPR"))]


#: What falls, by defense: (defended, undefended).
OBJECTIVES = {
    "raid": by_attribute(transported),
    "calibrated": of_users(from_chance),
    "u2u": by_attribute(user_to_user),
    "d2d": by_attribute(distribution_to_distribution),
    "swd": by_attribute(lambda u, y: sliced_wasserstein(u, y, random_directions(u.shape[1], 32, torch.Generator()))),
    "attrcloak": of_users(lambda users, labels: float(ClassDivergence(users, labels)(users).sum())),
    "leace": by_attribute(mean_distance),
    "noise": of_users(lambda users, _: -float(users.var(0).sum())),
    "dp": of_users(lambda users, _: -float(users.var(0).sum())),
    "adversarial": adversaries_win,
    "rap": adversaries_win,
    "blurme": profiles_tell,
    "record": profiles_tell,
    "ldp": reconstruction_error,
}


@pytest.mark.parametrize(("subject", "model"), PAIRS)
def test_a_pair_moves_its_objective_or_is_refused_with_the_models_name(workshop, subject, model):
    if not documented()[subject.defense, model]:
        with pytest.raises(UnsupportedModelError, match=model):
            subject.check(workshop.configured(subject, model), SMALL["attributes"])
        return
    subject.check(workshop.configured(subject, model), SMALL["attributes"])
    defended, twin = workshop.trained(subject, model), workshop.twin(model)
    assert defended.users.isfinite().all()
    assert not torch.equal(defended.users, twin.users)
    after, before = OBJECTIVES.get(subject.defense, by_attribute(mean_distance))(workshop, defended, twin)
    assert after < before - 0.01 * abs(before)


# RAID to the letter solves couplings in each step, which takes seconds; its presets have tests of their own.
PRESETS = [
    pytest.param(stages["in"], preset, model, id=f"{name}-{preset}-{model}")
    for name, stages in DEFENSES.items()
    for preset, model in itertools.product(stages["in"].presets if "in" in stages else (), MODELS)
    if name != "raid" and documented().get((name, model))
]


@pytest.mark.parametrize(("subject", "preset", "model"), PRESETS)
def test_published_settings_train_every_model(workshop, subject, preset, model):
    published = {**subject.presets[preset], **subject.presets_by_model.get(preset, {}).get(model, {})}
    defended = workshop.trained(subject, model, without=published, preset=preset)
    assert defended.users.isfinite().all()
    assert not torch.equal(defended.users, workshop.twin(model).users)
