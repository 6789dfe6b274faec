"""Attackers that are linear in the embeddings or networks on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from recbole_aia.evaluator.attackers.base import EstimatorAttacker, register_attacker


@register_attacker
class LogisticAttacker(EstimatorAttacker):
    """Multinomial logistic regression on standardised embeddings, classes weighted equally.

    The penalty (``C = 0.1``) is mild: on MovieLens-100K factors the AUC is flat from 0.01 to 1.
    """

    name = "logistic"
    _standardized = True
    _balance = "weights"

    def _estimator(self, n_users: int, seed: int) -> Any:
        return LogisticRegression(C=0.1, max_iter=300, random_state=seed)


@register_attacker
class MlpAttacker(EstimatorAttacker):
    """A network that no rescaling of the embeddings can blind: standardised, classes equal.

    Sixty epochs with a large step and a strong penalty take the place of a validation split, which
    a thousand users cannot spare. scikit-learn divides ``alpha`` by the batch and not by the data,
    so it falls with the number of users here: 8 for a training set of 750.
    """

    name = "mlp"
    _standardized = True
    _balance = "weights"

    def _estimator(self, n_users: int, seed: int) -> Any:
        return MLPClassifier(
            hidden_layer_sizes=(64,),
            alpha=min(8.0, 6000 / n_users),
            learning_rate_init=1e-2,
            max_iter=60,
            random_state=seed,
        )


@register_attacker
class TunedLogisticAttacker(LogisticAttacker):
    """Logistic regression with its penalty chosen among the training users: C of 0.1, 0.001 or 10."""

    name = "logistic_tuned"

    def _grid(self, n_users: int) -> Sequence[dict[str, Any]]:
        return ({"C": 0.1}, {"C": 0.001}, {"C": 10.0})


@register_attacker
class TunedMlpAttacker(MlpAttacker):
    """The scaled network with its penalty chosen among the training users: as it is, a tenth or a hundredth."""

    name = "mlp_tuned"

    def _grid(self, n_users: int) -> Sequence[dict[str, Any]]:
        strongest = min(8.0, 6000 / n_users)
        return tuple({"alpha": strongest * share} for share in (1.0, 0.1, 0.01))
