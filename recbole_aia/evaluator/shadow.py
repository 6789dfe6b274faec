"""Attackers that know the defense and rehearse it on users of their own, whom they defend in the same way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from recbole_aia.config.types import BoolArray, FloatArray, IntArray
from recbole_aia.evaluator.attackers import Attacker, registered_attackers
from recbole_aia.evaluator.attackers.combined import invert
from recbole_aia.evaluator.attackers.inner import inner_folds
from recbole_aia.evaluator.fits import task_seed
from recbole_aia.evaluator.labels import AttackedAttribute, encode_labels
from recbole_aia.evaluator.metrics import advantage, one_vs_rest_auc
from recbole_aia.evaluator.protocol import assign_folds
from recbole_aia.evaluator.statistics import floor95, permuted_advantages

#: A defense: undefended embeddings ``[m, d]`` and labels ``[m, A]`` (-1: not known) to defended embeddings ``[m, d]``.
Protect = Callable[[FloatArray, IntArray], FloatArray]

ATTACKERS = ("logistic", "random_forest", "svm")
#: What an attacker learns from: shadow users as it defended them itself, or the same users as they were released.
SOURCES = ("shadow", "release")
_HALVES = 2  # shadow users and target users, in turns
_REHEARSALS = 2  # splits of the shadow users into known and unknown
_FEWEST = 4  # members of a class: two among the shadow users, of whom one is held out


class ShadowReport(NamedTuple):
    """The results of attackers that know the defense.

    Attributes:
        rows: one for each attribute, attacker and source: ``attribute``, ``attacker``, ``learned_from``, ``n_users``;
            ``inverted``, the share of answers that it has reversed, as rehearsed; ``auc``, the mean over classes, and
            ``auc_per_class``, both below 1/2 where it has learned to read them the wrong way; ``advantage`` and its
            ``floor``, as everywhere.
        worst_case: of each attribute the row that gains most, with the floor of the best of as many.
    """

    rows: list[dict[str, Any]]
    worst_case: dict[str, dict[str, Any]]


def shadow_attack(
    embeddings: FloatArray,
    defended: FloatArray,
    labels: Mapping[str, IntArray],
    protect: Protect,
    *,
    attackers: Sequence[str] = ATTACKERS,
    repeats: int = 2,
    permutations: int = 200,
    seed: int = 0,
) -> ShadowReport:
    """Attacks defended users with an attacker that learned on shadow users, which it has defended itself.

    Half of the users are shadow users. The attacker has their labels and their undefended vectors, for example from a
    recommender of its own, and defends them as the defender does. The other half are the target users, of whom the
    attacker has the defended vectors only.

    First the attacker rehearses on the shadow users. It learns from one half of them, defended apart or together with
    the rest, and checks class by class whether its answers about the other half come out reversed. They do where a
    defense matches classes more closely than chance would. Then the attacker learns from all shadow users, as it
    defended them or as they were released, and answers for the target users, reversed where the rehearsal says so.

    Args:
        embeddings: undefended, ``[n, d]``.
        defended: what was released of the same users, in the same order, ``[n, d']``.
        labels: of each attribute, ``[n]``, integers; -1 where not known.
        protect: the defense, of all attributes at once; d' numbers a user.
        attackers: names of registered attackers.
        repeats: random halvings, >= 1; in each, both halves are shadow users in turn.
        permutations: of the labels, behind the floors, >= 20.
        seed: of halvings, rehearsals and attackers, >= 0.

    Returns:
        Rows and worst cases, averaged over all halvings.

    Raises:
        AttributeDataError: fewer than two classes of an attribute have four members.

    Source:
        Shokri et al. (2017), Membership inference attacks, for shadow models; attribute inference on defended
        embeddings is ours.
    """
    columns = np.stack([*labels.values()], axis=1)
    rows, worst = [], {}
    for name, column in labels.items():
        attribute = encode_labels(name, column, len(embeddings), _FEWEST, advice="Merge classes, or add labels.")
        fold_of = assign_folds(attribute, _HALVES, repeats, task_seed(seed, "shadow"))
        said = _attack(embeddings, defended, columns, attribute, fold_of, protect, attackers, seed)
        own_rows, draws = [], []
        for (attacker, source), answers in said.items():
            null_seed = task_seed(seed, name, "floor")
            null = permuted_advantages(attribute.codes, answers.scores, fold_of, permutations, null_seed)
            keys = {"attribute": name, "attacker": attacker, "learned_from": source}
            own_rows.append({**keys, **_judged(attribute, answers, fold_of), "floor": floor95([null])})
            draws.append(null)
        strongest = max(own_rows, key=lambda row: row["advantage"])
        kept = {key: strongest[key] for key in ("attacker", "learned_from", "advantage")}
        worst[name] = {**kept, "floor": floor95(draws)}
        rows += own_rows
    return ShadowReport(rows, worst)


class _Said(NamedTuple):
    """Answers about target users, ``[repeats, n, K]``, and the share of them that was reversed in each half."""

    scores: FloatArray
    inverted: list[float]


def _attack(
    embeddings: FloatArray,
    defended: FloatArray,
    columns: IntArray,
    attribute: AttackedAttribute,
    fold_of: IntArray,
    protect: Protect,
    attackers: Sequence[str],
    seed: int,
) -> dict[tuple[str, str], _Said]:
    """The answers by attacker and source about all users: each half is the target in turn."""
    offered, repeats = registered_attackers(), len(fold_of)
    shape = (repeats, len(attribute.codes), len(attribute.class_names))
    said = {(attacker, source): _Said(np.empty(shape), []) for attacker in attackers for source in SOURCES}
    for repeat, fold in np.ndindex(repeats, _HALVES):
        known = fold_of[repeat] != fold
        users, others = attribute.users[known], attribute.users[~known]
        shadow, codes = protect(embeddings[users], columns[users]), attribute.codes[known]
        rehearsals = _rehearsals(embeddings[users], columns[users], shadow, codes, protect, task_seed(seed, repeat))
        for attacker in attackers:
            own_seed = task_seed(seed, attribute.name, attacker, repeat, fold)
            for source, learned in zip(SOURCES, (shadow, defended[users]), strict=True):
                reverse = _reversed(offered[attacker], rehearsals, source, own_seed)
                fitted = offered[attacker]().fit(learned, codes, own_seed)
                scores, inverted = said[attacker, source]
                scores[repeat, ~known] = invert(fitted.predict_proba(defended[others]), reverse)
                inverted.append(float(reverse.mean()))
    return said


class _Rehearsal(NamedTuple):
    """The attack in small: what is learned from ``[m, d']`` by source, with its classes; who is answered for."""

    learned: dict[str, FloatArray]
    codes: IntArray
    others: FloatArray
    other_codes: IntArray


def _rehearsals(
    embeddings: FloatArray, columns: IntArray, shadow: FloatArray, codes: IntArray, protect: Protect, seed: int
) -> list[_Rehearsal]:
    """Halvings of the shadow users: ``shadow``, where all were defended together, is what is released of them."""
    halves = [half for r in range(_REHEARSALS) for half in inner_folds(codes, _HALVES, task_seed(seed, "rehearsal", r))]
    return [
        _Rehearsal(
            dict(zip(SOURCES, (protect(embeddings[known], columns[known]), shadow[known]), strict=True)),
            codes[known],
            shadow[others],
            codes[others],
        )
        for known, others in halves
    ]


def _reversed(attacker: type[Attacker], rehearsals: Sequence[_Rehearsal], source: str, seed: int) -> BoolArray:
    """Which classes' answers come out reversed in rehearsals, ``[K]``."""
    aucs = []
    for learned, codes, others, other_codes in rehearsals:
        fitted = attacker().fit(learned[source], codes, seed)
        aucs.append(one_vs_rest_auc(other_codes, fitted.predict_proba(others)))
    below: BoolArray = np.mean(aucs, axis=0) < 0.5
    return below


def _judged(attribute: AttackedAttribute, answers: _Said, fold_of: IntArray) -> dict[str, Any]:
    auc = np.mean(
        [
            one_vs_rest_auc(attribute.codes[halves == half], scores[halves == half])
            for scores, halves in zip(answers.scores, fold_of, strict=True)
            for half in range(_HALVES)
        ],
        axis=0,
    )
    return {
        "n_users": len(attribute.codes),
        "inverted": float(np.mean(answers.inverted)),
        "auc": float(auc.mean()),
        "auc_per_class": dict(zip(attribute.class_names, auc.tolist(), strict=True)),
        "advantage": float(advantage(auc)),
    }
