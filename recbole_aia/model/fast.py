"""Exact faster versions of RecBole's models: the same numbers, parameters and state dicts, in less time."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from recbole.model.general_recommender import dmf, lightgcn
from recbole.utils import get_model
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
    """RecBole's DMF, its first layers computed as sparse products instead of through dense rows.

    Users can be *released*: frozen vectors that scoring then uses in place of the user tower.
    """

    released_users: Tensor | None = None

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        # Stock rows come from the padded histories, where a repeated interaction counts once and padding is 0.
        rows = sp.csr_matrix(self.interaction_matrix)
        if self.inter_matrix_type == "01":
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
        return (self.user_vectors()[user] * self.item_vectors()[item]).sum(dim=1)

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Scores of all items for each user, flattened, in (0, 1)."""
        if self.i_embedding is None:
            self.i_embedding = self.item_vectors()
        users = self.user_vectors()[interaction[self.USER_ID]]
        return torch.sigmoid(users @ self.i_embedding.t()).view(-1)


def build_model(config: Any, dataset: Any) -> nn.Module:
    """Builds the model of a configuration on its device: the fast version, unless ``fast`` is false.

    Args:
        config: a configuration; ``init_std`` re-initialises all weights normally, biases to 0.
        dataset: the training split.
    """
    fast = {"LightGCN": LightGCN, "DMF": DMF}
    name = config["model"]
    model_class = fast[name] if config["fast"] and name in fast else get_model(name)
    model: nn.Module = model_class(config, dataset).to(config["device"])
    if config["init_std"] is not None:
        for parameter in model.parameters():
            nn.init.normal_(parameter, 0.0, config["init_std"] if parameter.dim() > 1 else 0.0)
    return model


def _normalized_adjacency(interactions: sp.coo_matrix) -> sp.csr_matrix:
    n_users, n_items = interactions.shape
    ones = sp.csr_matrix(interactions)
    ones.data = np.ones_like(ones.data, dtype=np.float32)
    adjacency = sp.csr_matrix(sp.bmat([[None, ones], [ones.T, None]], dtype=np.float32))
    degrees = np.asarray((adjacency > 0).sum(axis=1)).ravel() + 1e-7
    scale = sp.diags(np.power(degrees, -0.5))
    return sp.csr_matrix(scale @ adjacency @ scale)
