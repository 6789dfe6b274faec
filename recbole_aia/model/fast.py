"""Versions of RecBole's models with the same numbers, parameters and state dicts that do more, or do it faster."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from recbole.model.general_recommender import dmf, lightgcn
from torch import Tensor, nn

from recbole_aia.model.sparse import SparseMatrix


class LightGCN(lightgcn.LightGCN):  # type: ignore[misc]
    """RecBole's LightGCN, propagating by a CSR product whose backward is the same product."""

    def get_norm_adj_mat(self) -> SparseMatrix:
        """The normalised adjacency of users and items, as stock RecBole's, built without Python loops."""
        return SparseMatrix(_normalized_adjacency(self.interaction_matrix), symmetric=True)

    def forward(self) -> tuple[Tensor, Tensor]:
        """Layer mean of the propagated embeddings: users ``[n_users, d]`` and items ``[n_items, d]``."""
        layer = self.get_ego_embeddings()
        layers = [layer]
        for _ in range(self.n_layers):
            layer = self.norm_adj_matrix @ layer
            layers.append(layer)
        mean = torch.stack(layers, dim=1).mean(dim=1)
        users, items = torch.split(mean, [self.n_users, self.n_items])
        return users, items


class DMF(dmf.DMF):  # type: ignore[misc]
    """RecBole's DMF, whose users can be *released*: frozen vectors that score in place of the user tower.

    Until they are, it trains and scores by stock RecBole's own operations: on small data a last bit that
    differs changes where its training goes.
    """

    released_users: Tensor | None = None

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        rows = sp.csr_matrix(self.interaction_matrix)
        if self.inter_matrix_type == "01":
            # Stock rows come from the histories, in which a repeated interaction counts once.
            rows.data[:] = 1.0
        self.user_rows = SparseMatrix(rows).to(self.device)
        self.item_rows = SparseMatrix(rows.transpose()).to(self.device)
        self.other_parameter_name = ["i_embedding", "released_users"]

    def user_vectors(self) -> Tensor:
        """The vectors that score users, tower output or released, ``[n_users, d]``."""
        if self.released_users is not None:
            return self.released_users
        return self.user_fc_layers(self.user_rows @ self.user_linear.weight.t())  # type: ignore[no-any-return]

    def item_vectors(self) -> Tensor:
        """The item tower's output, ``[n_items, d]``."""
        return self.item_fc_layers(self.item_rows @ self.item_linear.weight.t())  # type: ignore[no-any-return]

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """Logits ``[batch]`` of user and item pairs."""
        if self.released_users is None:
            return super().forward(user, item)  # type: ignore[no-any-return]
        return (self.released_users[user] * self.item_vectors()[item]).sum(dim=1)

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Scores of all items for each user, flattened, in (0, 1)."""
        if self.released_users is None:
            return super().full_sort_predict(interaction)  # type: ignore[no-any-return]
        users = self.released_users[interaction[self.USER_ID]]
        return torch.sigmoid(users @ self.item_vectors().t()).view(-1)


def build_model(config: Any, dataset: Any) -> nn.Module:
    """Builds the model of a configuration on its device: our version where there is one, unless ``fast`` is false.

    Args:
        config: a configuration; ``init_std`` re-initialises all weights normally, biases to 0.
        dataset: the training split.
    """
    ours = {lightgcn.LightGCN: LightGCN, dmf.DMF: DMF}
    model_class = config.model_class
    if config["fast"]:
        model_class = ours.get(model_class, model_class)
    model: nn.Module = model_class(config, dataset).to(config["device"])
    if config["init_std"] is not None:
        for parameter in model.parameters():
            nn.init.normal_(parameter, 0.0, config["init_std"] if parameter.dim() > 1 else 0.0)
    return model


def _normalized_adjacency(interactions: sp.coo_matrix) -> sp.csr_matrix:
    ones = sp.csr_matrix(interactions)
    ones.data = np.ones_like(ones.data, dtype=np.float32)
    adjacency = sp.csr_matrix(sp.bmat([[None, ones], [ones.T, None]], dtype=np.float32))
    degrees = np.asarray((adjacency > 0).sum(axis=1)).ravel() + 1e-7
    scale = sp.diags(np.power(degrees, -0.5))
    return sp.csr_matrix(scale @ adjacency @ scale)
