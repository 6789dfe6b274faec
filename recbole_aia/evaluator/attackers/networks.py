"""Logistic regressions and networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recbole_aia.evaluator.attackers.base import EstimatorAttacker, register_attacker
from recbole_aia.evaluator.attackers.perceptron import Perceptron


class NetworkAttacker(EstimatorAttacker):
    """Base of attackers made of a :class:`~recbole_aia.evaluator.attackers.perceptron.Perceptron`.

    Networks of several folds, or of several settings and inner folds, are trained side by side. Five or ten
    take about two thirds of the time that they take one by one.
    """

    fits_together = True
    uses_device = True


@register_attacker
class LogisticAttacker(EstimatorAttacker):
    """Multinomial logistic regression on standardised embeddings, classes weighted equally.

    The penalty (``C = 0.1``) is mild: on MovieLens-100K factors the AUC is flat from 0.01 to 1.
    """

    name = "logistic"
    most_users = None
    uses_device = True
    _standardized = True
    _balance = "weights"

    def _estimator(self, n_users: int, seed: int) -> Any:
        if self.device != "cpu":
            from recbole_aia.evaluator.attackers.regressions import DeviceLogistic

            return DeviceLogistic(C=0.1, device=self.device)
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(C=0.1, max_iter=300, random_state=seed)


@register_attacker
class MlpAttacker(NetworkAttacker):
    """A network on standardised embeddings, classes weighted equally. Rescaled embeddings do not blind it.

    Sixty epochs with a large step and a strong penalty replace a validation split, for which a thousand users are
    too few. scikit-learn divides ``alpha`` by the batch, not by all users, so ``alpha`` falls with the number of
    users here: 8 for a training set of 750.
    """

    name = "mlp"
    _standardized = True
    _balance = "weights"

    def _estimator(self, n_users: int, seed: int) -> Any:
        return Perceptron(
            hidden_layer_sizes=(64,),
            alpha=min(8.0, 6000 / n_users),
            learning_rate_init=1e-2,
            max_iter=60,
            random_state=seed,
            device=self.device,
            even_penalty=True,
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
