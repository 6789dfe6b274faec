"""Attackers who have more than the vectors: earlier releases of the same users, and the users' activity.

A defense whose movement does not depend on a user's own label tells no more, together with the old vectors, than the
old vectors alone (data processing). A movement that depends on the label writes the label into the difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import compress
from typing import Any

import numpy as np
from scipy.stats import rankdata

from recbole_aia.config.types import FloatArray, IntArray
from recbole_aia.errors import AttributeDataError
from recbole_aia.evaluator.evaluator import AttributeInferenceEvaluator, checked_embeddings
from recbole_aia.evaluator.fits import task_seed
from recbole_aia.evaluator.informed_views import (
    ACTIVITY,
    ACTIVITY_ALONE,
    DIFFERENCE,
    OLD,
    SIDE_BY_SIDE,
    UNEXPLAINED,
    informed_views,
)
from recbole_aia.evaluator.metrics import advantage, one_vs_rest_auc
from recbole_aia.evaluator.protocol import HeldOut
from recbole_aia.evaluator.report import AttackReport
from recbole_aia.evaluator.statistics import floor95, permuted_advantages


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
        attribute, with earlier releases: ``old``, ``difference``, ``unexplained``, ``old_and_new`` and ``component``
        (the best component of a difference, or residual of one, found without labels), each with ``view``,
        ``attacker``, ``advantage``, ``auc`` and ``floor``; ``beyond_old``, the advantage of the best of these less that
        of ``old``; ``floor``, the advantage that chance gives to the best of as many; and ``verdict``, ``above`` if
        ``beyond_old`` exceeds the floor, else ``within``. With activity: ``activity`` with its case; ``alone``, what
        activity tells without the vectors; ``beyond``, the largest advantage of answers from which all that goes along
        with activity was taken out, with its ``beyond_floor``; and ``verdict``.

    Raises:
        AttributeDataError: as the evaluator raises it, or other users than those of the vectors.
    """
    points, releases = checked_embeddings(vectors), [checked_embeddings(each) for each in earlier]
    for what in ([activity] if activity is not None else []) + releases:
        if len(what) != len(points):
            raise AttributeDataError(
                f"there are {len(points)} users, and an earlier release or the activity has {len(what)}. Give it for "
                "the same users in the same order."
            )
    arrays, notes = informed_views(points, releases, activity)
    known = old if old is not None and old.rows else None
    left_out = {*([OLD] if known else []), *([] if side_by_side else [SIDE_BY_SIDE])}
    seen = [(state, view, array) for view, array in arrays.items() if view not in left_out]
    attacks = [evaluator.evaluate_views(seen, labels, class_names=class_names)]
    if known:
        rows = [{**row, "state": state, "view": OLD} for row in known.rows]
        attacks.insert(0, AttackReport(rows, known.evidence))
    report = AttackReport.concat(attacks)
    notes += [f"{name}: not attacked. {reason}" for name, reason in report.skipped.items()]
    axes = {view: each for view, each in arrays.items() if view.startswith(UNEXPLAINED)}
    names = dict.fromkeys(row["attribute"] for row in report.rows)
    found = {name: _with_old(report.where(attribute=name), axes, evaluator) if axes else {} for name in names}
    if activity is not None:
        for name, cases in found.items():
            level = arrays[ACTIVITY_ALONE][:, 0]
            cases[ACTIVITY] = _with_activity(report.where(attribute=name), level, evaluator)
    return {"state": state, "releases": len(releases), "notes": notes, "rows": report.rows, "attributes": found}


def _with_old(
    report: AttackReport, axes: Mapping[str, FloatArray], evaluator: AttributeInferenceEvaluator
) -> dict[str, Any]:
    """What earlier releases add about one attribute; see :func:`informed_attack`."""
    moved = [view for view in dict.fromkeys(row["view"] for row in report.rows) if view.startswith(DIFFERENCE)]
    together = _among(report, [*moved, *axes, SIDE_BY_SIDE])
    old, (component, chance) = _case(_among(report, [OLD])), _best_component(report, axes, evaluator)
    named = {
        DIFFERENCE: _among(report, moved),
        UNEXPLAINED: _among(report, [*axes]),
        SIDE_BY_SIDE: _among(report, [SIDE_BY_SIDE]),
    }
    added = {**{name: _case(part) for name, part in named.items() if part.rows}, "component": component}
    beyond = max(case["advantage"] for case in added.values()) - old["advantage"]
    floor = floor95([*(each.null for each in together.evidence), *chance])
    return {OLD: old, **added, "beyond_old": beyond, "floor": floor, "verdict": _verdict(beyond, floor)}


def _with_activity(report: AttackReport, level: FloatArray, evaluator: AttributeInferenceEvaluator) -> dict[str, Any]:
    """What activity adds about one attribute; see :func:`informed_attack`."""
    known, settings = _among(report, [ACTIVITY]), evaluator.settings
    gains, chance = [], []
    for each in known.evidence:
        held_out, codes = each.held_out, each.held_out.attribute.codes
        left = _without_activity(held_out, level[held_out.attribute.users])
        seed = task_seed(settings.seed, held_out.attribute.name, "floor")
        chance.append(permuted_advantages(codes, left, held_out.fold_of, settings.attack_permutations, seed))
        auc = [
            one_vs_rest_auc(codes[folds == fold], scores[folds == fold])
            for scores, folds in zip(left, held_out.fold_of, strict=True)
            for fold in range(settings.attack_folds)
        ]
        gains.append(float(advantage(np.mean(auc, axis=0))))
    beyond, floor = max(gains), floor95(chance)
    judged = {"beyond": beyond, "beyond_floor": floor, "verdict": _verdict(beyond, floor)}
    return {**_case(known), "alone": _case(_among(report, [ACTIVITY_ALONE])), **judged}


def _without_activity(held_out: HeldOut, level: FloatArray) -> FloatArray:
    """An attacker's answers, ``[R, n, K]``, without what of them goes along with the users' ``level [n]`` of activity.

    In each fold a cubic curve in the level is fitted to the ranks of the answers, and the residuals are kept. Where
    classes differ in activity alone, these residuals tell nothing.
    """
    left = np.empty_like(held_out.scores)
    curve = np.vander(level, 4)
    for scores, folds, kept in zip(held_out.scores, held_out.fold_of, left, strict=True):
        for fold in range(int(folds.max()) + 1):
            inside = folds == fold
            ranks = rankdata(scores[inside], axis=0)
            kept[inside] = ranks - curve[inside] @ np.linalg.lstsq(curve[inside], ranks, rcond=None)[0]
    return left


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
    """The component, or residual of one, that tells most alone; and the chance advantages of each of them.

    Nothing is learned, so all users count at once, and an AUC below 1/2 is as good as one above it.
    """
    attribute, settings = report.evidence[0].held_out.attribute, evaluator.settings
    codes, classes = attribute.codes, len(attribute.class_names)
    seed, one_fold = task_seed(settings.seed, attribute.name, "floor"), np.zeros((1, len(codes)), dtype=np.int64)
    tried, chance = [], []
    for view, positions in axes.items():
        count = positions.shape[1] // 2
        for number, position in enumerate(positions[attribute.users].T):
            name = f"{'rest of ' if number >= count else ''}component {number % count + 1}"
            scores = np.repeat(position[:, None], classes, axis=1)
            auc = one_vs_rest_auc(codes, scores)
            tried.append((float(advantage(auc)), view, name, auc))
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
