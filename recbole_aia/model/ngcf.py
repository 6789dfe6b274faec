"""A faster NGCF with RecBole's numbers."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from recbole.model.general_recommender import ngcf
from torch import Tensor

from recbole_aia.model.lookup import Lookup
from recbole_aia.model.norms import EmbeddingNorms
from recbole_aia.model.sparse import SparseMatrix, normalized_adjacency


class NGCF(ngcf.NGCF):  # type: ignore[misc]
    """RecBole's NGCF, propagating by a sparse product whose backward is prepared."""

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

    def get_eye_mat(self) -> Tensor:
        """Nothing: stock NGCF builds an identity that no layer reads."""
        return torch.empty(0)

    def forward(self) -> tuple[Tensor, Tensor]:
        """All layers side by side: users ``[n_users, sum d_l]`` and items ``[n_items, sum d_l]``."""
        if self.released_users is not None and self.released_items is not None:
            return self.released_users, self.released_items
        adjacency, layer = self._dropped_adjacency(), self.get_ego_embeddings()
        layers = [layer]
        for gnn in self.GNNlayers:
            received = adjacency @ layer
            layer = gnn.linear(layer + received) + gnn.interActTransform(received * layer)
            layer = self.emb_dropout(F.leaky_relu(layer, negative_slope=0.2))
            layer = F.normalize(layer, p=2, dim=1)
            layers.append(layer)
        users, items = torch.split(torch.cat(layers, dim=1), [self.n_users, self.n_items])
        return users, items

    def calculate_loss(self, interaction: Any) -> Tensor:
        """RecBole's loss, with fewer launches on a GPU."""
        on_cpu = self.user_embedding.weight.is_cpu
        loss: Tensor = super().calculate_loss(interaction) if on_cpu else self.looked_up_loss(interaction)
        return loss

    def looked_up_loss(self, interaction: Any) -> Tensor:
        """RecBole's loss, for which the rows of users and items are looked up at once."""
        self.restore_user_e, self.restore_item_e = None, None
        rows = Lookup.of_triples(self, interaction)(torch.cat(self.forward())).chunk(3)
        users, positives, negatives = rows
        loss = self.mf_loss((users * positives).sum(dim=1), (users * negatives).sum(dim=1))
        return loss + self.reg_weight * self.reg_loss(*rows)  # type: ignore[no-any-return]

    def _dropped_adjacency(self) -> SparseMatrix:
        adjacency: SparseMatrix = self.norm_adj_matrix
        if not (self.training and self.node_dropout):
            return adjacency
        # On a CPU the random numbers of RecBole's SparseDropout, entry by entry. Dropped entries stay, with value 0.
        mask = torch.floor(torch.rand_like(adjacency.values) + self.sparse_dropout.kprob)
        return adjacency.with_values(adjacency.values * mask / self.sparse_dropout.kprob)
