"""A faster DMF with RecBole's numbers, whose users can be released."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from recbole.model.general_recommender import dmf
from torch import Tensor

from recbole_aia.model.sparse import SparseMatrix


class DMF(dmf.DMF):  # type: ignore[misc]
    """RecBole's DMF, whose towers start with one sparse product for all users or items.

    A step's loss and gradients are RecBole's to 1e-5. On small data training is so sensitive that these last bits
    can change its course, and metrics then differ as between two seeds. A repeated interaction counts once, as in
    RecBole's training; RecBole's evaluation counts it as often as it occurs.

    Its users can be *released*: frozen vectors that score in place of the user tower.
    """

    released_users: Tensor | None = None
    i_embedding: Tensor | None

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.user_rows = self._rows(self.history_item_id, self.history_item_value, self.n_items)
        self.item_rows = self._rows(self.history_user_id, self.history_user_value, self.n_users)
        #: The user tower's output for all users, kept for scoring as RecBole keeps that of the items.
        self.u_embedding: Tensor | None = None
        self.other_parameter_name = ["i_embedding", "u_embedding", "released_users"]

    def _rows(self, columns: Tensor, values: Tensor, width: int) -> SparseMatrix:
        """RecBole's dense rows, from its padded histories; of repeated entries the last one counts."""
        height, longest = columns.shape
        places = np.arange(height).repeat(longest) * width + columns.cpu().numpy().ravel()
        order = np.argsort(places, kind="stable")
        last = order[np.append(np.diff(places[order]) != 0, True)]
        rows, columns_kept = np.divmod(places[last], width)
        kept = values.cpu().numpy().ravel()[last]
        return SparseMatrix(sp.csr_matrix((kept, (rows, columns_kept)), shape=(height, width))).to(self.device)

    def user_features(self) -> Tensor:
        """The first layer of the user tower for all users, ``[n_users, h]``."""
        return self.user_rows @ self.user_linear.weight.t()  # type: ignore[no-any-return]

    def item_features(self) -> Tensor:
        """The first layer of the item tower for all items, ``[n_items, h]``."""
        return self.item_rows @ self.item_linear.weight.t()  # type: ignore[no-any-return]

    def user_vectors(self, users: Tensor) -> Tensor:
        """The vectors that score users ``[n]``, tower output or released, ``[n, d]``."""
        if self.released_users is not None:
            return self.released_users[users]
        return self.user_fc_layers(F.embedding(users, self.user_features()))  # type: ignore[no-any-return]

    def get_item_embedding(self) -> Tensor:
        """The item tower's output for all items, ``[n_items, d]``."""
        return self.item_fc_layers(self.item_features())  # type: ignore[no-any-return]

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """Logits ``[batch]`` of user and item pairs."""
        items = self.item_fc_layers(F.embedding(item, self.item_features()))
        return (self.user_vectors(user) * items).sum(dim=1)  # type: ignore[no-any-return]

    def calculate_loss(self, interaction: Any) -> Tensor:
        """RecBole's loss; also forgets the users kept for scoring."""
        self.u_embedding = None
        return super().calculate_loss(interaction)  # type: ignore[no-any-return]

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Scores of all items for each user, flattened, in (0, 1)."""
        if self.i_embedding is None or self.u_embedding is None:
            self.i_embedding = self.get_item_embedding()
            self.u_embedding = self.user_vectors(torch.arange(self.n_users, device=self.device))
        users = self.u_embedding[interaction[self.USER_ID]]
        return torch.sigmoid(users @ self.i_embedding.t()).view(-1)
