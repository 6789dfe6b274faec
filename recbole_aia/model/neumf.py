"""NeuMF with RecBole's numbers, which scores all items without repeating users and items."""

from __future__ import annotations

from typing import Any

import torch
from recbole.model.general_recommender import neumf
from torch import Tensor, nn

_BLOCK = 2**19  # the most hidden values computed at a time; they should fit the processor's cache
_GPU_BLOCK = 2**26  # on a GPU, where every block costs launches: a quarter of a gigabyte


class NeuMF(neumf.NeuMF):  # type: ignore[misc]
    """RecBole's NeuMF with a ``full_sort_predict``; RecBole scores single pairs instead."""

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Scores of all items for each user, flattened, in (0, 1)."""
        users = torch.cat([table[interaction[self.USER_ID]] for table in user_tables(self)], dim=1)
        return torch.sigmoid(all_logits(self, users)).view(-1)


def user_tables(model: neumf.NeuMF) -> list[nn.Parameter]:
    """The parameters that hold users, as far as the model uses them."""
    used = [(model.mf_train, model.user_mf_embedding), (model.mlp_train, model.user_mlp_embedding)]
    return [table.weight for is_used, table in used if is_used]


def all_logits(model: neumf.NeuMF, users: Tensor) -> Tensor:
    """Logits of all items for users given by their vectors.

    A linear layer over a user and an item side by side is the sum of a layer over the user and a layer over the item.
    So the first layer of the MLP is computed once for each user and each item, not for each pair. The last layer is
    split between the factorisation and the MLP in the same way.

    Args:
        model: a NeuMF, ours or RecBole's.
        users: ``[n, d_mf + d_mlp]``, the tables that the model uses side by side.

    Returns:
        ``[n, n_items]``.

    Raises:
        NotImplementedError: the model is in training and has dropout, which is drawn for each pair.
    """
    if model.training and model.dropout_prob:
        raise NotImplementedError("dropout is drawn for each pair of a user and an item: call eval() first")
    width = model.mf_embedding_size if model.mf_train else 0
    mf_weight, mlp_weight = model.predict_layer.weight[0].split([width, model.predict_layer.in_features - width])
    logits = model.predict_layer.bias
    if model.mf_train:
        logits = logits + (users[:, :width] * mf_weight) @ model.item_mf_embedding.weight.t()
    if model.mlp_train:
        first, items = model.mlp_layers.mlp_layers[1], model.item_mlp_embedding.weight
        for_users, for_items = first.weight.split([users.shape[1] - width, items.shape[1]], dim=1)
        of_users = users[:, width:] @ for_users.t() + first.bias
        logits = logits + _mlp_logits(of_users, items @ for_items.t(), model, mlp_weight)
    return logits  # type: ignore[no-any-return]


def _mlp_logits(users: Tensor, items: Tensor, model: neumf.NeuMF, weight: Tensor) -> Tensor:
    n_items, width = items.shape
    rows = max(1, (_BLOCK if users.is_cpu else _GPU_BLOCK) // width)
    parts = []
    for block in users.split(max(1, rows // n_items)):
        pairs = ((block.unsqueeze(1) + some).view(-1, width) for some in items.split(rows))
        parts.append(torch.cat([_rest(model, some) @ weight for some in pairs]).view(len(block), n_items))
    return torch.cat(parts)


def _rest(model: neumf.NeuMF, hidden: Tensor) -> Tensor:
    """The MLP after its first linear layer: activation, dropout, linear, and so on."""
    for layer in model.mlp_layers.mlp_layers[2:]:
        # Allocating memory for every block would take as long as the products.
        in_place = isinstance(layer, nn.ReLU) and not hidden.requires_grad
        hidden = hidden.relu_() if in_place else layer(hidden)
    return hidden
