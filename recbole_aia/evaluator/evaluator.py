"""How much of an attribute can be read from user embeddings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from recbole_aia.config.small import shown_count
from recbole_aia.config.types import FloatArray, IntArray
from recbole_aia.errors import AttributeDataError
from recbole_aia.evaluator.attackers import registered_attackers
from recbole_aia.evaluator.draws import equal_classes
from recbole_aia.evaluator.evidence import Evidence
from recbole_aia.evaluator.fits import task_seed
from recbole_aia.evaluator.labels import AttackedAttribute, TooFewUsersError, encode_labels, label_columns
from recbole_aia.evaluator.metrics import (
    accuracy,
    advantage,
    balanced_accuracy,
    confusion_counts,
    f1_binary,
    f1_macro,
    one_vs_rest_auc,
)
from recbole_aia.evaluator.protocol import HeldOut, Kept, cross_validate
from recbole_aia.evaluator.report import AttackReport
from recbole_aia.evaluator.settings import AttackSettings
from recbole_aia.evaluator.statistics import (
    corrected_interval,
    floor95,
    majority_floor,
    permuted_advantages,
)

_COUNT_METRICS = {
    "balanced_accuracy": balanced_accuracy,
    "f1_macro": f1_macro,
    "f1_micro": accuracy,
}


class AttributeInferenceEvaluator:
    """Attacks embeddings with every configured attacker in repeated stratified cross-validation.

    Example:
        >>> import numpy as np
        >>> from recbole_aia import AttributeInferenceEvaluator
        >>> rng = np.random.default_rng(0)
        >>> gender = rng.integers(0, 2, 100)
        >>> embeddings = rng.normal(size=(100, 8)) + gender[:, None]
        >>> evaluator = AttributeInferenceEvaluator(attackers=["logistic"], show_progress=False)
        >>> report = evaluator.evaluate(embeddings, {"gender": gender})
        >>> round(report.worst_case()["gender"]["advantage"]) == 1
        True

    Args:
        config: a dict or RecBole's ``Config``; see :class:`~recbole_aia.evaluator.AttackSettings`.
        overrides: settings by key, which win over ``config``.

    Raises:
        ConfigValueError: a value that is not allowed.
    """

    #: Fits that are done already, so that an interrupted evaluation goes on; ``None``: nothing is kept.
    kept: Kept | None = None

    def __init__(self, config: Any = None, **overrides: Any) -> None:
        self.settings = AttackSettings.from_config(config, overrides)

    def attacked_attributes(
        self, labels: Any, n_users: int, class_names: Mapping[str, Sequence[str]] | None = None
    ) -> tuple[list[AttackedAttribute], dict[str, str]]:
        """Finds the attributes that can be attacked. Call it before a long training to find mistakes early.

        Returns:
            The attributes to attack; and the others, which have no two classes of a usable size, with the reason.

        Raises:
            AttributeDataError: labels of another shape, or none that can be attacked with this many folds.
        """
        attributes, skipped, names = [], {}, class_names or {}
        for name, column in label_columns(labels).items():
            try:
                found = encode_labels(name, column, n_users, self.settings.attack_folds, names.get(name))
            except TooFewUsersError as error:
                skipped[name] = str(error)
            else:
                attributes.append(self._balanced(found))
        if not attributes:
            nothing = "there are no labels. Give at least one attribute to attack."
            raise AttributeDataError(next(iter(skipped.values()), nothing))
        self._check_shares(attributes)
        return attributes, skipped

    def _balanced(self, attribute: AttackedAttribute) -> AttackedAttribute:
        """The attribute with the users that are attacked; see ``attack_balance``."""
        if self.settings.attack_balance == "none":
            return attribute
        rows = equal_classes(attribute.codes, task_seed(self.settings.seed, attribute.name, "balance"))
        return replace(attribute, users=attribute.users[rows], codes=attribute.codes[rows])

    def _check_shares(self, attributes: Sequence[AttackedAttribute]) -> None:
        """Raises if a leak ratio leaves fewer users to learn from than an attribute has classes."""
        for attribute, share in product(attributes, self.settings.attack_leak_ratios or ()):
            known, classes = int(share * len(attribute.codes)), len(attribute.class_names)
            if known < classes:
                raise AttributeDataError(
                    f"attack_leak_ratios has {share:g}, which is {known} of {len(attribute.codes)} users, and there "
                    f"are {classes} classes of '{attribute.name}'. Give a larger share."
                )

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
                mapping from attribute to such, or a DataFrame. -1, None, NaN and "" mean not known. Classes are
                ordered by number, text by the numbers in it ("5-9" before "10-19") and then as Python orders text.
            class_names: for an attribute, the names of its classes ``0..K-1``, in an order of your own; labels are
                then these names or the numbers ``0..K-1``.
            state: what the embeddings are: ``undefended`` or ``defended``.
            view: which of the model's vectors they are.

        Returns:
            One row for each attribute, leak ratio and attacker. ``skipped`` names the attributes without two classes of
            a usable size, which are not attacked.

        Raises:
            AttributeDataError: embeddings or labels that cannot be attacked.
        """
        return self.evaluate_views([(state, view, embeddings)], labels, class_names=class_names)

    def evaluate_views(
        self,
        views: Iterable[tuple[str, str, Any]],
        labels: Any,
        *,
        class_names: Mapping[str, Sequence[str]] | None = None,
    ) -> AttackReport:
        """Attacks several views of the same users. All fits share the processes, so no view waits for another's last.

        Args:
            views: a state, the name of a view, and its embeddings, as :meth:`evaluate` takes them.
            labels: see :meth:`evaluate`.
            class_names: see :meth:`evaluate`.

        Returns:
            What the reports of :meth:`evaluate` of all views are together, in their order.

        Raises:
            AttributeDataError: see :meth:`evaluate`.
        """
        settings, offered = self.settings, registered_attackers()
        seen, attacked, skipped = list[tuple[str, str, FloatArray]](), list[AttackedAttribute](), dict[str, str]()
        for state, view, embeddings in views:
            points = checked_embeddings(embeddings)
            attributes, passed_over = self.attacked_attributes(labels, len(points), class_names)
            seen += [(state, view, points)] * len(attributes)
            attacked += attributes
            skipped |= passed_over
        results = cross_validate(
            [points for _, _, points in seen],
            attacked,
            [offered[name] for name in settings.attackers],
            folds=settings.attack_folds,
            repeats=settings.attack_repeats,
            seed=settings.seed,
            n_jobs=settings.attack_jobs,
            leak_ratios=settings.attack_leak_ratios,
            device=settings.device,
            show_progress=settings.show_progress,
            kept=self.kept,
        )
        rows, evidence, each = list[dict[str, Any]](), list[Evidence](), len(results) // max(1, len(seen))
        for number, result in enumerate(results):
            state, view, points = seen[number // each]
            row, found = _row(points, result, settings)
            rows.append({"state": state, "view": view, **row})
            evidence.append(found)
        return AttackReport(rows, evidence, skipped)


def checked_embeddings(embeddings: Any) -> FloatArray:
    """Embeddings as an array of float64, ``[n_users, d]``; raises :class:`AttributeDataError` where they are none."""
    try:
        points = np.ascontiguousarray(embeddings, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise AttributeDataError(f"the embeddings are not an array of numbers: {error}.") from error
    if points.ndim != 2 or 0 in points.shape:
        raise AttributeDataError(
            f"the embeddings have shape {points.shape}. They must be [n_users, d], both at least 1."
        )
    bad = np.flatnonzero(~np.isfinite(points).all(axis=1))
    if len(bad):
        raise AttributeDataError(
            f"the embeddings of {len(bad)} of {len(points)} users are not finite (first: row "
            f"{bad[0]}). Drop these users or mend their vectors; a training that has diverged gives such ones."
        )
    return points


def _null_draws(result: HeldOut, settings: AttackSettings) -> FloatArray:
    """Chance advantages ``[P]``, from permutations that all attackers of an attribute share."""
    attribute = result.attribute
    seed = task_seed(settings.seed, attribute.name, "floor")
    return permuted_advantages(attribute.codes, result.scores, result.fold_of, settings.attack_permutations, seed)


def _row(points: FloatArray, result: HeldOut, settings: AttackSettings) -> tuple[dict[str, Any], Evidence]:
    attribute, folds = result.attribute, settings.attack_folds
    counts, auc = _per_fold(result, folds)
    gains, null, ratio = _gains(auc), _null_draws(result, settings), 1 / folds / result.leak_ratio
    row = {
        "attribute": attribute.name,
        "attacker": result.attacker,
        "leak_ratio": result.leak_ratio,
        "n_users": len(attribute.users),
        "training_users": result.training_users,
        "metrics": _metrics(counts, auc, gains, ratio),
        "auc_per_class": dict(zip(attribute.class_names, _means(auc).tolist(), strict=True)),
        "floor": {
            "majority": majority_floor(attribute.codes),
            "permuted_advantage95": floor95([null]),
        },
        "seconds": result.seconds,
        "missing": attribute.missing,
        "left_out": {name: shown_count(count) for name, count in attribute.left_out.items()},
    }
    return row, Evidence(points, result, gains.ravel(), null, ratio)


def _per_fold(result: HeldOut, folds: int) -> tuple[IntArray, FloatArray]:
    """Confusion counts ``[R, F, K, K]`` and one-vs-rest AUC ``[R, F, K]`` of every fold."""
    codes, n_classes = result.attribute.codes, result.scores.shape[-1]
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


def _gains(auc: FloatArray) -> FloatArray:
    """Advantage of every fold ``[R, F]``: each class's AUC - 1/2 counts with the sign of its mean over all folds."""
    signs = np.where(_means(auc) < 0.5, -1.0, 1.0)
    gains: FloatArray = 2 * (signs * (auc - 0.5)).mean(axis=-1)
    return gains


def _metrics(counts: IntArray, auc: FloatArray, gains: FloatArray, ratio: float) -> dict[str, dict[str, Any]]:
    """Estimates and intervals; ``ratio`` is held-out users over users learned from."""
    means = _means(auc)
    metrics = {"auc": _estimate(auc.mean(axis=-1), ratio, float(means.mean()))}
    for name, metric in _COUNT_METRICS.items():
        pooled = float(metric(counts.sum(axis=1)).mean())
        metrics[name] = _estimate(metric(counts), ratio, pooled)
    if counts.shape[-1] == 2:
        fold_wise = f1_binary(counts)
        metrics["f1_binary"] = _estimate(fold_wise, ratio, float(fold_wise.mean()))
    metrics["advantage"] = _estimate(gains, ratio, float(advantage(means)))
    return metrics


def _estimate(fold_wise: FloatArray, ratio: float, center: float) -> dict[str, Any]:
    mean, low, high = corrected_interval(fold_wise.ravel(), ratio, center)
    return {"mean": mean, "ci95": [low, high]}
