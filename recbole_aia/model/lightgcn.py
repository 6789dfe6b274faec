"""A faster LightGCN with RecBole's numbers."""

from __future__ import annotations

from typing import Any

import torch
from recbole.model.general_recommender import lightgcn
from torch import Tensor

from recbole_aia.model.lookup import Lookup
from recbole_aia.model.norms import EmbeddingNorms
from recbole_aia.model.sparse import SparseMatrix, normalized_adjacency
from recbole_aia.ranks import ranks


class LightGCN(lightgcn.LightGCN):  # type: ignore[misc]
    """RecBole's LightGCN, propagating by a sparse product whose backward is the same product."""

    #: Frozen vectors that score in place of the propagated ones, ``[n_users, d]`` and ``[n_items, d]``.
    released_users: Tensor | None = None
    released_items: Tensor | None = None

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.reg_loss = EmbeddingNorms()
        self.other_parameter_name = ["restore_user_e", "restore_item_e", "released_users", "released_items"]

    def get_norm_adj_mat(self) -> SparseMatrix:
        """The normalised adjacency of users and items."""
        return normalized_adjacency(self.interaction_matrix)

    def forward(self) -> tuple[Tensor, Tensor]:
        """Layer mean of the propagated embeddings: users ``[n_users, d]`` and items ``[n_items, d]``."""
        if self.released_users is not None and self.released_items is not None:
            return self.released_users, self.released_items
        mean = ranks().by_columns(self._propagated, self.get_ego_embeddings())
        users, items = torch.split(mean, [self.n_users, self.n_items])
        return users, items

    def _propagated(self, layer: Tensor) -> Tensor:
        """The mean over layers of propagated columns ``[n_users + n_items, c]``."""
        layers = [layer]
        for _ in range(self.n_layers):
            layer = self.norm_adj_matrix @ layer
            layers.append(layer)
        return torch.stack(layers, dim=1).mean(dim=1)

    def calculate_loss(self, interaction: Any) -> Tensor:
        """RecBole's loss, with fewer launches on a GPU."""
        on_cpu = self.user_embedding.weight.is_cpu
        loss: Tensor = super().calculate_loss(interaction) if on_cpu else self.looked_up_loss(interaction)
        return loss

    def looked_up_loss(self, interaction: Any) -> Tensor:
        """RecBole's loss, for which the rows of users and items are looked up at once."""
        self.restore_user_e, self.restore_item_e = None, None
        lookup = Lookup.of_triples(self, interaction)
        users, positives, negatives = lookup(torch.cat(self.forward())).chunk(3)
        loss = self.mf_loss((users * positives).sum(dim=1), (users * negatives).sum(dim=1))
        norms = self.reg_loss(*lookup(self.get_ego_embeddings()).chunk(3), require_pow=self.require_pow)
        return loss + self.reg_weight * norms  # type: ignore[no-any-return]
