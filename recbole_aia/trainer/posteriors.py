"""What vectors say of classes: posteriors of all attributes, learned from known labels, and how good they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from torch import Tensor

from recbole_aia.config.keys import Choice
from recbole_aia.errors import AttributeDataError, ConfigValueError
from recbole_aia.losses import Features, Posterior, Readout, cross_fitted_posterior, explained, learn_readout

_Learned = TypeVar("_Learned")

LABELS = Choice(
    "posterior",
    "posterior: all users, with a label or without, move by one map of their vectors. own: users with a label move by "
    "their own label; whoever has the old vectors too reads the labels.",
    choices=("posterior", "own"),
)
OWN_LABELS = (
    "calibrated_labels: own moves users by their own labels. Whoever has the old vectors too reads the labels off the "
    "difference (AUC 1.000 on ml-1m), and users without a label are not protected."
)


def learn_posteriors(embeddings: Tensor, labels: Tensor, names: Sequence[str], seed: int) -> list[Posterior]:
    """The posterior of every attribute, see :func:`~recbole_aia.losses.cross_fitted_posterior`.

    Args:
        embeddings: of all users, ``[n, d]``.
        labels: ``[n, A]``; negative where a label is not known.
        names: the attributes, in column order.
        seed: of folds and features.

    Raises:
        AttributeDataError: an attribute has too few labels to learn from.
        ConfigValueError: training has put all users at the same place.
    """
    features = _features(embeddings, seed)
    return [
        _learned(name, lambda labels: cross_fitted_posterior(embeddings, labels, features, seed=seed), column)
        for name, column in zip(names, labels.t(), strict=True)
    ]


def learn_readouts(embeddings: Tensor, labels: Tensor, names: Sequence[str], seed: int) -> list[Readout]:
    """The readouts of :func:`learn_posteriors` alone, in a fraction of its time; same arguments, same errors."""
    features = _features(embeddings, seed)
    return [
        _learned(name, lambda labels: learn_readout(embeddings, labels, features, seed=seed), column)
        for name, column in zip(names, labels.t(), strict=True)
    ]


def _features(embeddings: Tensor, seed: int) -> Features:
    if not embeddings.std(0).max() > 0:  # not so for vectors that are not finite either
        raise ConfigValueError("calibrated: all users are at the same place. Lower the learning_rate.")
    return Features.of(embeddings, seed)


def _learned(name: str, learn: Callable[[Tensor], _Learned], labels: Tensor) -> _Learned:
    try:
        return learn(labels)
    except ValueError as error:
        raise AttributeDataError(f"'{name}': {error}. Give more labels, or leave it out.") from error


def reliability(posteriors: Sequence[Posterior], labels: Tensor, names: Sequence[str]) -> dict[str, Any]:
    """How many labels each posterior was learned from, and what share of the classes' variance it explains.

    A share of 0 means that the vectors say nothing of the attribute, 1 that they say everything.
    """
    return {
        name: {
            "labelled": int((column >= 0).sum()),
            "explained": float(explained(posterior.probabilities, column).mean()),
        }
        for name, posterior, column in zip(names, posteriors, labels.t(), strict=True)
    }
