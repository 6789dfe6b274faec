"""How much of an attribute can be read from user embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbole_aia.errors import AttributeDataError
from recbole_aia.evaluator.attackers import registered_attackers
from recbole_aia.evaluator.labels import Target, encode_labels, label_columns
from recbole_aia.evaluator.metrics import (
    accuracy,
    advantage,
    balanced_accuracy,
    confusion_counts,
    f1_macro,
    one_vs_rest_auc,
)
from recbole_aia.evaluator.protocol import HeldOut, cross_validate, task_seed
from recbole_aia.evaluator.report import AttackReport
from recbole_aia.evaluator.settings import AttackSettings
from recbole_aia.evaluator.statistics import (
    corrected_interval,
    floor95,
    majority_floor,
    permuted_advantages,
)

FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.integer[Any]]

_COUNT_METRICS = {
    "balanced_accuracy": balanced_accuracy,
    "f1_macro": f1_macro,
    "f1_micro": accuracy,
}


class AttributeInferenceEvaluator:
    """Attacks embeddings with every configured attacker in repeated stratified cross-validation.

    Example:
        >>> evaluator = AttributeInferenceEvaluator(attackers=["logistic", "mlp"])
        >>> report = evaluator.evaluate(embeddings, {"gender": gender})
        >>> print(report)

    Args:
        config: a dict or RecBole's ``Config``; see :class:`~recbole_aia.evaluator.AttackSettings`.
        overrides: settings that win over it, by key.

    Raises:
        ConfigValueError: a value that is not allowed.
    """

    def __init__(self, config: Any = None, **overrides: Any) -> None:
        self.settings = AttackSettings.from_config(config, overrides)

    def targets(
        self, labels: Any, n_users: int, class_names: Mapping[str, Sequence[str]] | None = None
    ) -> list[Target]:
        """What can be attacked in these labels; called before a long training, it finds mistakes early.

        Raises:
            AttributeDataError: labels that cannot be attacked with this many folds.
        """
        names = class_names or {}
        targets = [
            encode_labels(name, column, n_users, self.settings.attack_folds, names.get(name))
            for name, column in label_columns(labels).items()
        ]
        if not targets:
            raise AttributeDataError("there are no labels. Give at least one attribute to attack.")
        return targets

    def evaluate(
        self,
        embeddings: Any,
        labels: Any,
        *,
        class_names: Mapping[str, Sequence[str]] | None = None,
        state: str = "undefended",
        view: str = "served",
    ) -> AttackReport:
        """Attacks one or several attributes.

        Args:
            embeddings: ``[n_users, d]``, finite numbers, without RecBole's padding user.
            labels: one value a user: an array, list or Series (then called ``attribute``), a
                mapping from attribute to such, or a DataFrame. -1, None, NaN and "" mean not known.
            class_names: for an attribute, the names of its classes ``0..K-1``.
            state: what the embeddings are: ``undefended`` or ``defended``.
            view: which of the model's vectors they are.

        Returns:
            One row for each attribute, leak ratio and attacker.

        Raises:
            AttributeDataError: embeddings or labels that cannot be attacked.
        """
        settings = self.settings
        points = _checked(embeddings)
        targets = self.targets(labels, len(points), class_names)
        offered = registered_attackers()
        results = cross_validate(
            points,
            targets,
            [offered[name] for name in settings.attackers],
            folds=settings.attack_folds,
            repeats=settings.attack_repeats,
            seed=settings.seed,
            n_jobs=settings.n_jobs,
            leak_ratios=settings.attack_leak_ratios,
            device=settings.device,
            show_progress=settings.show_progress,
        )
        draws = [_null_draws(result, settings) for result in results]
        rows = [
            {"state": state, "view": view, **_row(result, null, settings)}
            for result, null in zip(results, draws, strict=True)
        ]
        return AttackReport(rows, draws)


def _checked(embeddings: Any) -> FloatArray:
    try:
        points = np.ascontiguousarray(embeddings, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise AttributeDataError(f"the embeddings are not an array of numbers: {error}.") from error
    if points.ndim != 2 or 0 in points.shape:
        raise AttributeDataError(
            f"the embeddings have shape {points.shape}. They must be [n_users, d], both at least 1."
        )
    bad = np.flatnonzero(~np.isfinite(points).all(axis=1))
    if len(bad):
        raise AttributeDataError(
            f"the embeddings of {len(bad)} of {len(points)} users are not finite (first: row "
            f"{bad[0]}). Training has probably diverged: lower the learning rate, or drop them."
        )
    return points


def _null_draws(result: HeldOut, settings: AttackSettings) -> FloatArray:
    """Chance advantages ``[P]``, from permutations that all attackers of an attribute share."""
    seed = task_seed(settings.seed, result.target.name, "floor")
    return permuted_advantages(result.target.codes, result.scores, result.fold_of, settings.attack_permutations, seed)


def _row(result: HeldOut, null: FloatArray, settings: AttackSettings) -> dict[str, Any]:
    target, folds = result.target, settings.attack_folds
    counts, auc = _per_fold(result, folds)
    return {
        "attribute": target.name,
        "attacker": result.attacker,
        "leak_ratio": result.leak_ratio,
        "n_users": len(target.users),
        "training_users": result.training_users,
        "metrics": _metrics(counts, auc, 1 / folds / result.leak_ratio),
        "auc_per_class": dict(zip(target.class_names, _means(auc).tolist(), strict=True)),
        "floor": {
            "majority": majority_floor(target.codes),
            "permuted_advantage95": floor95([null]),
        },
        "seconds": result.seconds,
        "missing": target.missing,
        "left_out": target.left_out,
    }


def _per_fold(result: HeldOut, folds: int) -> tuple[IntArray, FloatArray]:
    """Confusion counts ``[R, F, K, K]`` and one-vs-rest AUC ``[R, F, K]`` of every fold."""
    codes, n_classes = result.target.codes, result.scores.shape[-1]
    cells = [
        [(codes[fold_of == fold], scores[fold_of == fold]) for fold in range(folds)]
        for scores, fold_of in zip(result.scores, result.fold_of, strict=True)
    ]
    counts = [[confusion_counts(y, s.argmax(axis=1), n_classes) for y, s in row] for row in cells]
    auc = [[one_vs_rest_auc(y, s) for y, s in row] for row in cells]
    return np.array(counts), np.array(auc)


def _means(auc: FloatArray) -> FloatArray:
    means: FloatArray = auc.mean(axis=(0, 1))
    return means


def _metrics(counts: IntArray, auc: FloatArray, ratio: float) -> dict[str, dict[str, Any]]:
    """Estimates and intervals for held-out users ``ratio`` times as many as those learned from.

    The advantage is linear in the AUCs once its signs are fixed.
    """
    means = _means(auc)
    signs = np.where(means < 0.5, -1.0, 1.0)
    gains = 2 * (signs * (auc - 0.5)).mean(axis=-1)
    metrics = {"auc": _estimate(auc.mean(axis=-1), ratio, float(means.mean()))}
    for name, metric in _COUNT_METRICS.items():
        pooled = float(metric(counts.sum(axis=1)).mean())
        metrics[name] = _estimate(metric(counts), ratio, pooled)
    metrics["advantage"] = _estimate(gains, ratio, float(advantage(means)))
    return metrics


def _estimate(fold_wise: FloatArray, ratio: float, center: float) -> dict[str, Any]:
    mean, low, high = corrected_interval(fold_wise.ravel(), ratio, center)
    return {"mean": mean, "ci95": [low, high]}
