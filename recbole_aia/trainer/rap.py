"""RAP: a recommender trained against attackers who see the items of a user and those recommended to the user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from recbole_aia.config.keys import Count, Key, Number
from recbole_aia.data.edits import profiles_of
from recbole_aia.errors import UnsupportedModelError
from recbole_aia.losses import Adversaries, reverse_gradient
from recbole_aia.model import UserEmbeddingView, view_class
from recbole_aia.trainer.base import DefenseTrainer
from recbole_aia.trainer.chance import CALIBRATE
from recbole_aia.trainer.phases import Phase
from recbole_aia.trainer.terms import AttributeTerm

_TINY = 1e-8  # keeps a standard deviation from being zero


class RAPTrainer(DefenseTrainer):
    r"""RAP (Beigi et al. 2020): training against attackers who see a user's items and recommendations.

    .. math:: \min_\theta \max_\phi \; L_{rec}(\theta) - \alpha \sum_a L_a(\phi_a; x(\theta)), \qquad
        x_u = \Bigl[\, \tfrac{1}{|I_u|} \sum_{i \in I_u} v_i \,,\; \sum_{i \in R_u} \pi_{ui} v_i \Bigr]

    :math:`I_u` are the user's items, :math:`R_u` the best items that the user has not had, and :math:`\pi_{ui}` the
    softmax of their scores, through which the gradient reaches users. Items move too. The attacker does not see the
    vector of the user, and nothing in this loss is about it: what the vector gives away is measured, not trained on.

    The game is written as other papers describe it. The authors' settings are not known here, so there is no
    ``preset: paper``.
    """

    defense = "rap"
    resumable = True
    search: ClassVar[Mapping[str, Any]] = {"rap_weight": {"low": 0.01, "high": 10, "log": True}}
    keys: ClassVar[Mapping[str, Key]] = {
        "calibrate": CALIBRATE,
        "rap_weight": Number(0.1, "Weight of the attackers' reversed gradient (the paper's alpha).", low=0),
        "rap_items": Count(20, "Recommended items that the attackers see of a user.", low=1),
        "rap_count": Count(3, "Attackers of each attribute, side by side.", low=1),
        "rap_hidden": Count(16, "Units of an attacker's hidden layer.", low=1),
        "rap_dropout": Number(
            0.5, "Share of its inputs that an attacker does not see while it learns.", low=0, high=0.95
        ),
        "rap_learning_rate": Number(0.01, "Adam's step of the attackers.", low=0, above=True),
        "rap_batch_users": Count(256, "Most users in a step; drawn at random if there are more.", low=2),
    }

    @classmethod
    def check(cls, config: Any, attributes: Sequence[str]) -> None:
        """See :meth:`DefenseTrainer.check`.

        Raises:
            UnsupportedModelError: the model has no vectors of items whose inner products score.
        """
        _refuse_other_scores(config.model_class)

    def fit(self, train_data: Any, *args: Any, **kwargs: Any) -> tuple[float, dict[str, float] | None]:
        """See :meth:`DefenseTrainer.fit`."""
        _refuse_other_scores(type(self.model))
        self.profiles = profiles_of(train_data.dataset)
        return super().fit(train_data, *args, **kwargs)

    def phases(self) -> list[Phase]:
        """One phase for the whole training, with a term for each attribute."""
        return [Phase(self.config["epochs"], tuple(RAPTerm(self, name) for name in self.labels.names))]


class RAPTerm(AttributeTerm):
    """The attackers of one attribute, and the reversed gradient of their loss."""

    def __init__(self, trainer: RAPTrainer, attribute: str) -> None:
        config, self.profiles = trainer.config, trainer.profiles
        super().__init__(trainer, attribute, config["rap_batch_users"])
        self.attackers = Adversaries(
            2 * trainer.view.items().shape[1],
            len(self.sizes),
            count=config["rap_count"],
            hidden=config["rap_hidden"],
            dropout=config["rap_dropout"],
            learning_rate=config["rap_learning_rate"],
            weight_decay=1e-4,
            class_weights=(1 / self.sizes).float().to(trainer.device),
            generator=torch.Generator(trainer.device).manual_seed(int(config["seed"])),
        )

    def __call__(self) -> Tensor:
        """The attackers learn from this step's users, and their mean loss comes back with its gradient reversed.

        With ``calibrate`` the gradient is 0 while the attribute is at chance in the users' vectors.
        """
        rows = self.draw()
        seen, classes = self.seen(self.users[rows]), self.classes[rows]
        seen = (seen - seen.detach().mean(0)) / seen.detach().std(0).clamp_min(_TINY)
        self.attackers.learn(seen, classes)
        weight = 0.0 if self.at_chance() else float(self.trainer.config["rap_weight"])
        return self.attackers.loss(reverse_gradient(seen, weight), classes)

    def state(self) -> dict[str, Any]:
        """See :meth:`AttributeTerm.state`; with the attackers."""
        return {**super().state(), "attackers": self.attackers.state()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """See :meth:`AttributeTerm.load_state`."""
        super().load_state(state)
        self.attackers.load_state(state["attackers"])

    def seen(self, users: Tensor) -> Tensor:
        """What the attackers see of users ``[n]``: mean vectors of their items and of their lists, ``[n, 2 d]``."""
        view, own = self.trainer.view, self.profiles[users.cpu().numpy()]
        items = view.items()
        lengths = np.maximum(np.diff(own.indptr), 1)
        history = _sparse(sp.diags(1 / lengths) @ own, users.device) @ items
        scores = view.scores(view.served(users))
        taken = own.tocoo()
        hidden = torch.zeros_like(scores, dtype=torch.bool)
        hidden[torch.from_numpy(taken.row).long(), torch.from_numpy(taken.col).long()] = True
        hidden[:, 0] = True  # the padding item
        best = scores.masked_fill(hidden, -torch.inf).topk(min(self.trainer.config["rap_items"], len(items) - 1), dim=1)
        # An item that the user has had already is only there where nothing else is left, and weighs nothing.
        listed = torch.einsum("nk,nkd->nd", best.values.softmax(dim=1), items[best.indices])
        return torch.cat([history, listed], dim=1)


def _sparse(matrix: Any, device: torch.device) -> Tensor:
    coo = sp.coo_matrix(matrix)
    places = torch.from_numpy(np.stack([coo.row, coo.col]).astype(np.int64))
    values = torch.from_numpy(coo.data.astype(np.float32))
    return torch.sparse_coo_tensor(places, values, coo.shape).to(device)


def _refuse_other_scores(model: type[Any]) -> None:
    if view_class(model).scores is not UserEmbeddingView.scores:
        raise UnsupportedModelError(
            f"rap needs vectors of items whose inner products with users score, and {model.__name__} scores by a "
            "network. Use BPR, LightGCN, NGCF or DMF, or --defense=adversarial."
        )
