"""DMF with the same numbers, faster, whose users can be released."""

from __future__ import annotations

from typing import Any

import scipy.sparse as sp
import torch
from recbole.model.general_recommender import dmf
from torch import Tensor

from recbole_aia.model.sparse import SparseMatrix


class DMF(dmf.DMF):  # type: ignore[misc]
    """RecBole's DMF, whose towers start with one sparse product for all users or items.

    Its users can be *released*: frozen vectors that score in place of the user tower.
    """

    released_users: Tensor | None = None
    i_embedding: Tensor | None

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        rows = sp.csr_matrix(self.interaction_matrix)
        if self.inter_matrix_type == "01":
            # Stock rows come from the histories, in which a repeated interaction counts once.
            rows.data[:] = 1.0
        self.user_rows = SparseMatrix(rows).to(self.device)
        self.item_rows = SparseMatrix(rows.transpose()).to(self.device)
        self.other_parameter_name = ["i_embedding", "released_users"]

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
        return self.user_fc_layers(self.user_features()[users])  # type: ignore[no-any-return]

    def get_item_embedding(self) -> Tensor:
        """The item tower's output for all items, ``[n_items, d]``."""
        return self.item_fc_layers(self.item_features())  # type: ignore[no-any-return]

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """Logits ``[batch]`` of user and item pairs."""
        items = self.item_fc_layers(self.item_features()[item])
        return (self.user_vectors(user) * items).sum(dim=1)  # type: ignore[no-any-return]

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Scores of all items for each user, flattened, in (0, 1)."""
        if self.released_users is None:
            # RecBole's way looks at the rows of these users only, of whom a batch has few.
            return super().full_sort_predict(interaction)  # type: ignore[no-any-return]
        if self.i_embedding is None:
            self.i_embedding = self.get_item_embedding()
        users = self.released_users[interaction[self.USER_ID]]
        return torch.sigmoid(users @ self.i_embedding.t()).view(-1)
