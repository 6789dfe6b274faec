"""Recommendation metrics of each user, from the lists that RecBole's evaluation makes anyway."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_LENGTH = 10  # of the lists, if such lists are evaluated


def evaluated(trainer: Any, data: Any, **how: Any) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Evaluates a model as ``trainer.evaluate`` does.

    Args:
        trainer: a RecBole trainer.
        data: the loader of validation or test items.
        how: further arguments of ``trainer.evaluate``.

    Returns:
        RecBole's metrics; and by name, such as ``ndcg@10``, those of each user by id, ``[n_users]``, NaN for users
        without items to find. The latter are empty if RecBole makes no lists, as for metrics of labels.
    """
    inner = trainer.evaluator
    trainer.evaluator = kept = _Kept(inner)
    try:
        result = trainer.evaluate(data, **how)
    finally:
        trainer.evaluator = inner
    return result, _by_user(kept.lists, data, trainer.config, trainer.model)


class _Kept:
    """RecBole's evaluator, which also keeps what it was given: ``[n, k + 1]``, hits and the number of items to find."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.lists: Tensor | None = None

    def evaluate(self, collected: Any) -> Any:
        self.lists = collected.get("rec.topk") if "rec.topk" in collected else None
        return self._inner.evaluate(collected)


def _by_user(lists: Tensor | None, data: Any, config: Any, model: Any) -> dict[str, Tensor]:
    users = getattr(data, "uid_list", None)
    if lists is None or users is None or len(users) != len(lists):
        return {}
    length = _LENGTH if _LENGTH in config["topk"] else max(config["topk"])
    hits, items = lists[:, :length].double().cpu(), lists[:, -1].cpu()
    gains = 1 / torch.arange(2, length + 2, dtype=torch.float64).log2()
    best = gains.cumsum(0)[items.clamp(1, length).long() - 1]
    found = {f"ndcg@{length}": (hits @ gains) / best, f"hit@{length}": hits.any(1).double()}
    whole = {}
    for name, values in found.items():
        whole[name] = torch.full((model.n_users,), torch.nan, dtype=torch.float64)
        whole[name][torch.as_tensor(users).long().cpu()] = values
    return whole
