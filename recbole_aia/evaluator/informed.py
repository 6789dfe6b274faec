"""Attackers who have more than the vectors: earlier releases of the same users, and the users' activity.

A defense whose movement does not depend on a user's own label tells no more, together with the old vectors, than the
old vectors alone (data processing). A movement that depends on the label writes the label into the difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import compress
from typing import Any, NamedTuple

import numpy as np

from recbole_aia.config.types import FloatArray, IntArray
from recbole_aia.errors import AttributeDataError
from recbole_aia.evaluator.evaluator import AttributeInferenceEvaluator, checked_embeddings
from recbole_aia.evaluator.metrics import advantage, one_vs_rest_auc
from recbole_aia.evaluator.protocol import task_seed
from recbole_aia.evaluator.report import AttackReport
from recbole_aia.evaluator.statistics import floor95, permuted_advantages

#: The old vectors alone, with which the views of the movement are compared.
OLD = "old"
#: What old and new vectors tell together.
DIFFERENCE, SIDE_BY_SIDE = "difference", "old_and_new"
#: Vectors together with activity, and the activity alone, with which they are compared.
ACTIVITY, ACTIVITY_ALONE = "activity", "activity_alone"

_COMPONENTS = 5  # longest axes of the difference that an attacker without labels looks at
_TURNED = 0.7  # spaces differ where a rotation and a scale leave less than this share of the distance
_NOTHING = 1e-6  # a difference below this share of the new vectors' length is rounding


class Views(NamedTuple):
    """What informed attackers see, ``[n, d]`` by name, and how it was made."""

    arrays: dict[str, FloatArray]
    notes: list[str]


def informed_views(vectors: FloatArray, earlier: Sequence[FloatArray] = (), activity: IntArray | None = None) -> Views:
    """The views of informed attackers.

    Args:
        vectors: the new vectors, ``[n, d]``.
        earlier: earlier releases of the same users in the same order, ``[n, d']`` each.
        activity: number of interactions of each user, ``[n]``, >= 0.

    Returns:
        With earlier releases: ``old``, these alone, side by side; ``difference``, and ``difference_2``, ... to further
        releases; ``old_and_new``, side by side. With activity: ``activity``, standardised vectors, their products with
        the standardised log-activity, and the log-activity; and ``activity_alone``. Notes say where a difference is no
        plain one, see :func:`movement`.
    """
    arrays, notes = {}, []
    if earlier:
        arrays[OLD] = np.hstack([*earlier])
        for number, old in enumerate(earlier, start=1):
            name = DIFFERENCE if number == 1 else f"{DIFFERENCE}_{number}"
            arrays[name], note = movement(old, vectors)
            notes += [f"{name}: {note}"] if note else []
        arrays[SIDE_BY_SIDE] = np.hstack([*earlier, vectors])
    if activity is not None:
        level = _standardized(np.log1p(np.asarray(activity, dtype=np.float64))[:, None])
        scaled = _standardized(vectors)
        arrays[ACTIVITY] = np.hstack([scaled, _standardized(scaled * level), level])
        arrays[ACTIVITY_ALONE] = level
    return Views(arrays, notes)


def movement(old: FloatArray, new: FloatArray) -> tuple[FloatArray, str]:
    """How each user has moved from one release to the next, up to a shift that all users share.

    Two releases of one model lie in one space, and the movement is their difference. A model that was trained again
    has another space of the same width: the old vectors are first turned and scaled towards the new ones (orthogonal
    Procrustes), if this leaves far less of the distance. Between widths that differ, the movement is the residual of
    the least-squares map from old to new.

    Args:
        old: ``[n, d']``.
        new: ``[n, d]``, the same users in the same order.

    Returns:
        The movement, ``[n, d]``, exactly 0 where it is no more than rounding; and what was done, "" for a plain
        difference.

    Source:
        Schönemann (1966), A generalized solution of the orthogonal Procrustes problem.
    """
    before, after = old - old.mean(axis=0), new - new.mean(axis=0)
    note = ""
    if before.shape[1] != after.shape[1]:
        moved = after - before @ np.linalg.lstsq(before, after, rcond=None)[0]
        note = "widths differ, so it is what a linear map of the old vectors leaves of the new ones"
    else:
        moved = after - before
        left, scales, right = np.linalg.svd(before.T @ after)
        turned = after - before @ (left @ right) * (scales.sum() / max(float((before**2).sum()), 1e-300))
        if np.linalg.norm(turned) < _TURNED * np.linalg.norm(moved):
            moved, note = turned, "the spaces differ, so the old vectors were turned and scaled towards the new ones"
    if np.linalg.norm(moved) <= _NOTHING * np.linalg.norm(after):
        moved = np.zeros_like(after)
    return moved, note


def principal_components(movement: FloatArray) -> FloatArray:
    """The users' positions on the longest axes of a movement, ``[n, min(5, n, d)]``: no label is needed for them."""
    left, lengths, _ = np.linalg.svd(movement - movement.mean(axis=0), full_matrices=False)
    positions: FloatArray = (left * lengths)[:, :_COMPONENTS]
    return positions


def informed_attack(
    evaluator: AttributeInferenceEvaluator,
    vectors: Any,
    labels: Any,
    *,
    earlier: Sequence[Any] = (),
    activity: IntArray | None = None,
    class_names: Mapping[str, Sequence[str]] | None = None,
    state: str = "defended",
    old: AttackReport | None = None,
    side_by_side: bool = True,
) -> dict[str, Any]:
    """Attacks with earlier releases and with activity, and judges what both add to what was known without them.

    Example:
        >>> import numpy as np
        >>> from recbole_aia import AttributeInferenceEvaluator
        >>> from recbole_aia.evaluator import informed_attack
        >>> rng = np.random.default_rng(0)
        >>> gender, old = rng.integers(0, 2, 100), rng.normal(size=(100, 8))
        >>> evaluator = AttributeInferenceEvaluator(attackers=["logistic"], show_progress=False)
        >>> new = old + gender[:, None]  # moves every user by their own label
        >>> informed_attack(evaluator, new, {"gender": gender}, earlier=[old])["attributes"]["gender"]["verdict"]
        'above'

    Args:
        evaluator: with the attackers and their cross-validation.
        vectors: the new vectors, ``[n, d]``.
        labels: as :meth:`~recbole_aia.evaluator.AttributeInferenceEvaluator.evaluate` takes them.
        earlier: earlier releases of the same users in the same order, ``[n, d']`` each.
        activity: number of interactions of each user, ``[n]``; ``None`` if it is not known to attackers.
        class_names: as the evaluator takes them.
        state: of the new vectors, ``undefended`` or ``defended``.
        old: attacks on the old vectors, if they were made already.
        side_by_side: whether old and new vectors are attacked side by side, too. The difference is where a label that
            was written down shows at once; side by side, attackers have more to learn and take longer.

    Returns:
        The content of ``informed`` in results.json. ``rows`` are as in ``attacks``. ``attributes`` has for each
        attribute, with earlier releases: ``old``, ``difference``, ``old_and_new`` and ``component`` (the best principal
        component of a difference, found without labels), each with ``view``, ``attacker``, ``advantage``, ``auc`` and
        ``floor``; ``beyond_old``, the advantage of the best of these less that of ``old``; ``floor``, the advantage
        that chance gives to the best of as many; and ``verdict``, ``above`` if ``beyond_old`` exceeds the floor, else
        ``within``. With activity: ``activity``, with its ``alone``, ``beyond`` and ``verdict``, where activity alone
        counts if it is above its own floor.

    Raises:
        AttributeDataError: as the evaluator raises it, or other users than those of the vectors.
    """
    points, releases = checked_embeddings(vectors), [checked_embeddings(each) for each in earlier]
    for what, known in (("earlier release", releases), ("activity", [] if activity is None else [activity])):
        if any(len(each) != len(points) for each in known):
            lengths = ", ".join(str(len(each)) for each in known)
            raise AttributeDataError(f"{what} of {lengths} users for vectors of {len(points)}. Give the same users.")
    arrays, notes = informed_views(points, releases, activity)
    known = old if old is not None and old.rows else None
    left_out = {*([OLD] if known else []), *([] if side_by_side else [SIDE_BY_SIDE])}
    attacks = [
        evaluator.evaluate(array, labels, class_names=class_names, state=state, view=view)
        for view, array in arrays.items()
        if view not in left_out
    ]
    if known:
        rows = [{**row, "state": state, "view": OLD} for row in known.rows]
        attacks.insert(0, AttackReport(rows, known.evidence))
    report = AttackReport.concat(attacks)
    notes += [f"{name}: not attacked. {reason}" for name, reason in report.skipped.items()]
    axes = {view: principal_components(each) for view, each in arrays.items() if view.startswith(DIFFERENCE)}
    names = dict.fromkeys(row["attribute"] for row in report.rows)
    found = {name: _judged(report.where(attribute=name), axes, evaluator) for name in names}
    return {"state": state, "releases": len(releases), "notes": notes, "rows": report.rows, "attributes": found}


def _judged(
    report: AttackReport, axes: Mapping[str, FloatArray], evaluator: AttributeInferenceEvaluator
) -> dict[str, Any]:
    """The findings about one attribute; see :func:`informed_attack`."""
    cases: dict[str, Any] = {}
    if axes:
        together = _among(report, [*axes, SIDE_BY_SIDE])
        old, component, chance = _case(_among(report, [OLD])), *_best_component(report, axes, evaluator)
        named = {DIFFERENCE: _among(report, list(axes)), SIDE_BY_SIDE: _among(report, [SIDE_BY_SIDE])}
        cases |= {OLD: old, **{name: _case(part) for name, part in named.items() if part.rows}, "component": component}
        strongest = max(case["advantage"] for name, case in cases.items() if name != OLD)
        beyond, floor = strongest - old["advantage"], floor95([*(e.null for e in together.evidence), *chance])
        cases |= {"beyond_old": beyond, "floor": floor, "verdict": _verdict(beyond, floor)}
    if (known := _among(report, [ACTIVITY])).rows:
        case, alone = _case(known), _case(_among(report, [ACTIVITY_ALONE]))
        beyond = case["advantage"] - (alone["advantage"] if alone["advantage"] > alone["floor"] else 0.0)
        cases[ACTIVITY] = {**case, "alone": alone, "beyond": beyond, "verdict": _verdict(beyond, case["floor"])}
    return cases


def _among(report: AttackReport, views: Sequence[str]) -> AttackReport:
    kept = [row["view"] in views for row in report.rows]
    return AttackReport(list(compress(report.rows, kept)), list(compress(report.evidence, kept)))


def _case(report: AttackReport) -> dict[str, Any]:
    """The strongest attack of a report on one attribute, with the floor of the best of as many."""
    row = max(report.rows, key=lambda row: row["metrics"]["advantage"]["mean"])
    metrics, floor = row["metrics"], floor95([each.null for each in report.evidence])
    gains = {"advantage": metrics["advantage"]["mean"], "auc": metrics["auc"]["mean"], "floor": floor}
    return {"view": row["view"], "attacker": row["attacker"], **gains}


def _best_component(
    report: AttackReport, axes: Mapping[str, FloatArray], evaluator: AttributeInferenceEvaluator
) -> tuple[dict[str, Any], list[FloatArray]]:
    """The principal component that tells most alone; and the chance advantages of each component.

    Nothing is learned, so all users count at once, and an AUC below 1/2 is as good as one above it.
    """
    attribute, settings = report.evidence[0].held_out.attribute, evaluator.settings
    codes, classes = attribute.codes, len(attribute.class_names)
    seed, one_fold = task_seed(settings.seed, attribute.name, "floor"), np.zeros((1, len(codes)), dtype=np.int64)
    tried, chance = [], []
    for view, positions in axes.items():
        for number, position in enumerate(positions[attribute.users].T, start=1):
            scores = np.repeat(position[:, None], classes, axis=1)
            auc = one_vs_rest_auc(codes, scores)
            tried.append((float(advantage(auc)), view, f"principal component {number}", auc))
            draws = permuted_advantages(
                codes, scores[None], one_fold, settings.attack_permutations, seed, learned=False
            )
            chance.append(draws)
    gain, view, name, auc = max(tried, key=lambda each: each[0])
    folded = dict(zip(attribute.class_names, np.maximum(auc, 1 - auc).tolist(), strict=True))
    auc_mean = float(np.mean([*folded.values()]))
    case = {"view": view, "attacker": name, "advantage": gain, "auc": auc_mean, "floor": floor95(chance)}
    return {**case, "auc_per_class": folded}, chance


def _verdict(beyond: float, floor: float) -> str:
    return "above" if beyond > floor else "within"


def _standardized(columns: FloatArray) -> FloatArray:
    """Columns with mean 0 and deviation 1; constant columns become 0."""
    spread = columns.std(axis=0)
    varies = spread > _NOTHING * np.abs(columns).max(axis=0)
    scaled: FloatArray = np.where(varies, (columns - columns.mean(axis=0)) / np.where(varies, spread, 1.0), 0.0)
    return scaled
