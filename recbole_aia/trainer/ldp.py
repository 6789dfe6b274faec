"""LDP-SH: matrix factorization whose server learns items from one private bit of each user in a round."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp
import torch

from recbole_aia.config.keys import Count, Key, Number, Share
from recbole_aia.config.types import FloatArray
from recbole_aia.data import defense_labels
from recbole_aia.data.edits import profiles_of
from recbole_aia.errors import UnsupportedModelError
from recbole_aia.losses import random_responses
from recbole_aia.model import UserEmbeddingView, view_class
from recbole_aia.trainer.base import DefenseTrainer
from recbole_aia.trainer.defended_keys import DEFENDED_KEYS

_CHUNK = 512  # users that are solved for at a time, which bounds the memory


class LDPTrainer(DefenseTrainer):
    r"""LDP-SH (Shin et al. 2018): matrix factorization under local differential privacy of items and ratings.

    Users' vectors are computed on users' devices. In each round a user solves for the own vector u given the server's
    items V, and computes the gradient of the implicit loss

    .. math:: \sum_{j \in I} (1 - u^\top v_j)^2 + w \sum_{j \notin I} (u^\top v_j)^2

    for all items, :math:`G = c\,u^\top`. It is projected to few rows by a public random matrix, and one coordinate of
    the projection is sent as one bit (:func:`~recbole_aia.losses.random_responses`). The server averages bits over
    users, projects back, adds what it kept of earlier rounds, and moves the items.

    What is guaranteed: all that a user sends is ``ldp_epsilon``-differentially private, for any change of the user's
    items and ratings; rounds share the budget evenly. What is not: a user's vector, which is a function of the user's
    items and never sent, is attacked here as if it had leaked. No labels are used.

    The mechanism is the paper's. Its settings are not known here, so there is no ``preset: paper``. Reports are large:
    the fewer users and the more coordinates, the more noise is in the items.
    """

    defense = "ldp"
    repeatable = False
    shared_keys: ClassVar[Mapping[str, Key]] = DEFENDED_KEYS
    search: ClassVar[Mapping[str, Any]] = {"ldp_epsilon": {"low": 1, "high": 100, "log": True}}
    keys: ClassVar[Mapping[str, Key]] = {
        "ldp_epsilon": Number(8.0, "Privacy budget of all that a user sends; smaller hides more.", low=0, above=True),
        "ldp_rounds": Count(10, "Rounds; each has an equal share of the budget.", low=1),
        "ldp_rows": Count(16, "Rows to which items are projected.", low=1),
        "ldp_learning_rate": Number(
            1.0, "Step of the items against a gradient whose rows have a mean length of at most 1.", low=0, above=True
        ),
        "ldp_kept": Number(0.8, "Share of the earlier rounds' gradient that a round keeps.", low=0, high=0.99),
        "ldp_unseen": Share(0.05, "Weight of items that a user has not had."),
        "ldp_ridge": Number(0.1, "Penalty on the length of users' vectors.", low=0, above=True),
    }

    @classmethod
    def check(cls, config: Any, attributes: Sequence[str]) -> None:
        """See :meth:`DefenseTrainer.check`.

        Raises:
            UnsupportedModelError: the model is more than tables of users and items.
        """
        _refuse_other_models(config.model_class)

    def fit(
        self,
        train_data: Any,
        valid_data: Any = None,
        verbose: bool = True,
        saved: bool = True,
        show_progress: bool = False,
        callback_fn: Callable[[int, float], None] | None = None,
    ) -> tuple[float, dict[str, float] | None]:
        """Runs all rounds, validates and saves; see :meth:`DefenseTrainer.fit`."""
        _refuse_other_models(type(self.model))
        self.labels = defense_labels(self.config, train_data.dataset)
        self.note_names(train_data.dataset)
        self.logger.info(
            f"guarantee: what a user sends is {self.config['ldp_epsilon']:g}-locally differentially private; the "
            "user's own vector is never sent, and is not covered."
        )
        # The seed is public, so bits are drawn from fresh entropy: of a known seed they could be taken back.
        factors = PrivateFactors(self.config, profiles_of(train_data.dataset), self.view.items().shape[1])
        factors.run(np.random.default_rng())
        self._place(factors)
        if valid_data:
            self.best_valid_score, self.best_valid_result = self._valid_epoch(valid_data, show_progress)
        if saved:
            self._save_checkpoint(0, verbose=verbose)
        return self.best_valid_score, self.best_valid_result

    @torch.no_grad()
    def _place(self, factors: PrivateFactors) -> None:
        (table,), items = self.view.tables(), self.view.items()
        table.copy_(torch.from_numpy(factors.users()))
        items.copy_(torch.from_numpy(factors.items))
        self.view.clear_caches()


class PrivateFactors:
    """The users' devices and the server.

    Args:
        config: the run's configuration.
        profiles: users and their items, ones, ``[n_users, n_items]`` with the padding ones.
        width: d, dimensions of vectors.

    Attributes:
        items: the server's vectors, ``[n_items, d]``, each of length at most 1.
    """

    def __init__(self, config: Any, profiles: sp.csr_matrix, width: int) -> None:
        self.config, self.profiles = config, profiles
        public = np.random.default_rng(int(config["seed"]))
        self.items: FloatArray = _clipped(public.normal(scale=1 / np.sqrt(width), size=(profiles.shape[1], width)))
        self.public = public

    def run(self, private: np.random.Generator) -> None:
        """All rounds; ``private`` draws what only the user's device may know."""
        config, momentum = self.config, np.zeros_like(self.items)
        for _ in range(config["ldp_rounds"]):
            rows = config["ldp_rows"]
            projection = self.public.choice([-1.0, 1.0], size=(rows, len(self.items))) / np.sqrt(rows)
            vectors = self.gradients(projection)
            reports = random_responses(vectors, config["ldp_epsilon"] / config["ldp_rounds"], private)
            mean = np.bincount(reports.coordinates, reports.values, minlength=vectors.shape[1]) / len(vectors)
            gradient = projection.T @ mean.reshape(rows, -1)
            momentum = config["ldp_kept"] * momentum + (1 - config["ldp_kept"]) * gradient
            length = np.linalg.norm(momentum, axis=1).mean()
            step = config["ldp_learning_rate"] / max(length, 1.0)
            self.items = _clipped(self.items - step * momentum)

    def users(self) -> FloatArray:
        """The vectors that users compute on their devices, ``[n_users, d]``."""
        unseen, ridge = self.config["ldp_unseen"], self.config["ldp_ridge"]
        whole = unseen * self.items.T @ self.items + ridge * np.eye(self.items.shape[1])
        solved = np.zeros((self.profiles.shape[0], self.items.shape[1]))
        for start in range(0, len(solved), _CHUNK):
            own = self.profiles[start : start + _CHUNK]
            for row in range(own.shape[0]):
                mine = self.items[own.indices[own.indptr[row] : own.indptr[row + 1]]]
                solved[start + row] = np.linalg.solve(whole + (1 - unseen) * mine.T @ mine, mine.sum(0))
        return solved

    def gradients(self, projection: FloatArray) -> FloatArray:
        """The projected gradients of all users but the padding user, ``[n_users - 1, rows * d]``, before clipping."""
        users, unseen = self.users()[1:], self.config["ldp_unseen"]
        projected = np.empty((len(users), len(projection)))
        for start in range(0, len(users), _CHUNK):
            part = users[start : start + _CHUNK]
            scores, own = part @ self.items.T, self.profiles[1 + start : 1 + start + len(part)].toarray()
            pulls = np.where(own > 0, scores - 1, unseen * scores)
            projected[start : start + _CHUNK] = pulls @ projection.T
        lengths: FloatArray = np.einsum("nr,nd->nrd", projected, users).reshape(len(users), -1)
        return lengths


def _clipped(vectors: FloatArray) -> FloatArray:
    """Rows shortened to a length of at most 1."""
    shortened: FloatArray = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1.0)
    return shortened


def _refuse_other_models(model: type[Any]) -> None:
    view = view_class(model)
    if view.scores is not UserEmbeddingView.scores or "released" in view.targets:
        raise UnsupportedModelError(
            f"ldp is matrix factorization, whose users and items are tables, and {model.__name__} is more than that. "
            "Use --model=BPR."
        )
