"""Times whole epochs, full evaluations and data loading, ours against RecBole's."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

import torch
from recbole.trainer import Trainer
from recbole.utils import init_seed

from benchmarks.measure import interleaved, max_abs_error, speed_up
from benchmarks.raid import Stretch
from benchmarks.setting import Shape, config, fast_and_stock, loaders


def loader(shape: Shape, repeats: int) -> dict[str, Any]:
    """Times the loading of an epoch of BPR's batches, without a model."""
    pair = [loaders(config("BPR", shape, fast=fast), shape)[0] for fast in (True, False)]
    init_seed(1, True)
    ours_first = next(iter(pair[0]))
    init_seed(1, True)
    error = max(max_abs_error(ours_first[k], v) for k, v in next(iter(pair[1])).interaction.items())
    ours, reference = interleaved([lambda data=data: sum(map(len, data)) for data in pair], repeats)
    return speed_up("loader", ours, reference, error, repeats=repeats)


def lightgcn_epoch(shape: Shape, repeats: int) -> dict[str, Any]:
    """Times an undefended LightGCN epoch with data loading, scaled up from a stretch of 60 steps.

    The error is the largest difference of the user tables after the stretches.
    """
    fast, stock, (stock_data, _, _) = fast_and_stock("LightGCN", shape)
    stretches = [Stretch(data, 60) for data in (loaders(config("LightGCN", shape), shape)[0], stock_data)]
    tasks = [_steps(model, data) for model, data in zip((fast, stock), stretches, strict=True)]
    ours, reference = (data.share * s for data, s in zip(stretches, interleaved(tasks, repeats, 0), strict=True))
    error = max_abs_error(fast.user_embedding.weight, stock.user_embedding.weight)
    return speed_up("lightgcn_epoch", ours, reference, error, repeats=repeats)


def _steps(model: Any, data: Stretch) -> Callable[[], Any]:
    trainer = Trainer(data.loader.config, model)

    def train() -> Any:
        init_seed(1, True)
        return trainer._train_epoch(data, 0)

    return train


def neumf_eval(shape: Shape, repeats: int) -> dict[str, Any]:
    """Times RecBole's trainer scoring all items for up to a thousand users, with our and with RecBole's batches."""
    fast, stock, (_, stock_data, _) = fast_and_stock("NeuMF", shape)
    fast_data = loaders(config("NeuMF", shape), shape)[1]
    users = fast_data.step * max(1, 1000 // fast_data.step)
    tasks = [_scores(fast, fast_data, users), _scores(stock, stock_data, users)]
    error = max_abs_error(*(task() for task in tasks))
    ours, reference = interleaved(tasks, repeats, warm_up=0)
    return speed_up("neumf_eval", ours, reference, error, users=users, repeats=repeats)


def _scores(model: Any, data: Any, users: int) -> Callable[[], torch.Tensor]:
    trainer = Trainer(data.config, model)
    trainer.tot_item_num = model.n_items
    trainer.item_tensor = data._dataset.get_item_feature().to(trainer.device)
    model.eval()

    def evaluate() -> torch.Tensor:
        with torch.no_grad():
            batches = islice(data, users // data.step)
            scores = torch.cat([trainer._full_sort_batch_eval(batch)[1] for batch in batches])
        return scores.masked_fill(scores.isinf(), 0.0)

    return evaluate
