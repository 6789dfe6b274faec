"""A multilayer perceptron that follows scikit-learn's ``MLPClassifier`` to the letter."""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from typing_extensions import Self

from recbole_aia.config.types import FloatArray, IntArray
from recbole_aia.evaluator.attackers.network_users import NetworkJob
from recbole_aia.evaluator.attackers.together import fit_or_wait
from recbole_aia.evaluator.attackers.training import TrainedNetwork, train


class Perceptron(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    r"""scikit-learn's ``MLPClassifier`` with rectified units and Adam, in single precision.

    Initialisation, order of the users, batches, loss, Adam and the rule for stopping are scikit-learn's, random
    numbers included. An equal ``random_state`` gives scikit-learn's network up to rounding to 32 bits, a difference
    that grows with every epoch of Adam. The gradients are written out,

    .. math:: \delta_L = w \odot (p - y), \quad \delta_{l} = (\delta_{l+1} W_{l+1}^\top) \odot [a_l > 0], \quad
        g_l = \bigl(a_{l-1}^\top \delta_l + \alpha W_l\bigr) / \textstyle\sum w

    (sums over a batch of 200 users), so that networks of equal shape can be trained side by side
    (:func:`~recbole_aia.evaluator.attackers.together.trained_together`). Being trained beside others changes a network
    by rounding only.

    Args:
        hidden_layer_sizes: units of each hidden layer; none for a linear classifier.
        alpha: L2 penalty, >= 0; divided by the size of a batch.
        even_penalty: whether all batches are penalised alike, ``alpha`` divided by the size of a whole batch.
            scikit-learn divides by the batch's own size, so a strong penalty in a last batch of a few users undoes
            what the other batches taught.
        learning_rate_init: Adam's step, > 0.
        max_iter: epochs at most; fewer where the loss has not fallen by 1e-4 for more than ten in a row.
        random_state: seed of the initial weights and the order of the users.
        device: where torch computes.

    Source:
        Glorot & Bengio (2010) for the initial weights; Kingma & Ba (2015), Adam.
    """

    def __init__(
        self,
        hidden_layer_sizes: tuple[int, ...] = (100,),
        alpha: float = 1e-4,
        learning_rate_init: float = 1e-3,
        max_iter: int = 200,
        random_state: int = 0,
        device: str = "cpu",
        even_penalty: bool = False,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.alpha = alpha
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.random_state = random_state
        self.device = device
        self.even_penalty = even_penalty

    def fit(self, X: FloatArray, y: IntArray, sample_weight: FloatArray | None = None) -> Self:  # noqa: N803
        """Learns from ``[n, d]`` and classes ``[n]`` in ``0..K-1``, each present, users weighted by ``[n]``."""
        self.classes_ = np.arange(y.max() + 1)
        fit_or_wait(self, self._job(np.asarray(X, np.float32), y, sample_weight), train)
        return self

    def predict_proba(self, X: FloatArray) -> FloatArray:  # noqa: N803  scikit-learn's name
        """Class probabilities, ``[m, K]``."""
        values = torch.as_tensor(np.asarray(X, np.float32), device=self.device)
        with torch.inference_mode():
            for layer, (weights, bias) in enumerate(zip(self.coefs_, self.intercepts_, strict=True)):
                values = torch.addmm(bias, values.relu_() if layer else values, weights)
        logits = values.double().cpu().numpy()
        if len(self.classes_) == 2:
            second = expit(logits)
            return np.hstack([1 - second, second])
        probabilities: FloatArray = softmax(logits, axis=1)
        return probabilities

    def _job(self, embeddings: FloatArray, classes: IntArray, weights: FloatArray | None) -> NetworkJob:
        outputs = 1 if len(self.classes_) == 2 else len(self.classes_)
        return NetworkJob(
            embeddings,
            classes,
            weights,
            units=(embeddings.shape[1], *self.hidden_layer_sizes, outputs),
            alpha=self.alpha,
            even_penalty=self.even_penalty,
            learning_rate=self.learning_rate_init,
            max_epochs=self.max_iter,
            seed=self.random_state,
            device=self.device,
        )

    def take(self, found: TrainedNetwork) -> None:
        """See :class:`~recbole_aia.evaluator.attackers.together.Learner`."""
        self.coefs_, self.intercepts_, self.loss_curve_ = found
        self.n_iter_ = len(self.loss_curve_)
