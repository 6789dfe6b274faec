"""NeuMF with the same numbers, whose scores of all items are computed without repeating users and items."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from recbole.model.general_recommender import neumf
from torch import Tensor, nn

# Hidden values of one block of users and all items, at most; they should stay in the processor's cache.
_BLOCK = 2**20


class NeuMF(neumf.NeuMF):  # type: ignore[misc]
    """RecBole's NeuMF with a ``full_sort_predict``, which RecBole replaces by single pairs."""

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Scores of all items for each user, flattened, in (0, 1)."""
        if self.training and self.dropout_prob:
            raise NotImplementedError("dropout is drawn for each pair: RecBole then scores pairs")
        users = user_vectors(self, interaction[self.USER_ID])
        return torch.sigmoid(all_logits(self, users)).view(-1)


def user_vectors(model: neumf.NeuMF, users: Tensor) -> Tensor:
    """The tables that the model uses, side by side, of users ``[n]``: ``[n, d_mf + d_mlp]``."""
    return torch.cat([table[users] for table in user_tables(model)], dim=1)


def user_tables(model: neumf.NeuMF) -> list[nn.Parameter]:
    """The parameters that hold users, as far as the model uses them."""
    used = [(model.mf_train, model.user_mf_embedding), (model.mlp_train, model.user_mlp_embedding)]
    return [table.weight for is_used, table in used if is_used]


def all_logits(model: neumf.NeuMF, users: Tensor) -> Tensor:
    """Logits of all items for users ``[n, d_mf + d_mlp]`` given by their vectors, ``[n, n_items]``.

    A linear layer over a user and an item side by side is the sum of one over the user and one over the
    item, so the first layer of the MLP is computed once for each user and each item, not for each pair;
    the last layer is split between the factorisation and the MLP in the same way.
    """
    width = model.mf_embedding_size if model.mf_train else 0
    mf_weight, mlp_weight = model.predict_layer.weight[0].split([width, model.predict_layer.in_features - width])
    logits = model.predict_layer.bias
    if model.mf_train:
        logits = logits + (users[:, :width] * mf_weight) @ model.item_mf_embedding.weight.t()
    if model.mlp_train:
        logits = logits + _mlp_logits(_FirstLayer.of(model, users[:, width:]), model, mlp_weight)
    return logits


class _FirstLayer(NamedTuple):
    users: Tensor  # [n, h]
    items: Tensor  # [n_items, h]

    @classmethod
    def of(cls, model: neumf.NeuMF, users: Tensor) -> _FirstLayer:
        linear = model.mlp_layers.mlp_layers[1]
        for_users, for_items = linear.weight.split(users.shape[1], dim=1)
        items = model.item_mlp_embedding.weight @ for_items.t()
        return cls(users @ for_users.t() + linear.bias, items)


def _mlp_logits(first: _FirstLayer, model: neumf.NeuMF, weight: Tensor) -> Tensor:
    # Dropout, linear, activation, and so on: what follows the first linear layer.
    rest = model.mlp_layers.mlp_layers[2:]
    n_items, width = first.items.shape
    parts = []
    for block in first.users.split(max(1, _BLOCK // (n_items * width))):
        pairs = (block.unsqueeze(1) + first.items).view(-1, width)
        parts.append((rest(pairs) @ weight).view(len(block), n_items))
    return torch.cat(parts)
