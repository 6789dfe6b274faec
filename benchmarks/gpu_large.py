"""LightGCN and calibrated alignment on 1,000,000 users, 200,000 items and 50,000,000 interactions, on one GPU.

``python -m benchmarks.gpu_large [--quick] [--device cuda]`` prints a JSON line: the seconds of an epoch and of an
alignment, and the most memory that torch has held. Interactions are drawn at random and go to the model and to the
batches as arrays, because reading them from a file would take longer than all else.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from recbole.data.interaction import Interaction
from recbole.utils import InputType, init_seed
from torch import Tensor

from benchmarks.measure import on_gpu, seconds
from benchmarks.setting import SMALL, VALUES, Shape, apart, config, device
from recbole_aia.data.drawn import DrawnBatches, Negatives
from recbole_aia.losses import cross_fitted_posterior, learn_map
from recbole_aia.model import UserEmbeddingView
from recbole_aia.model.lightgcn import LightGCN
from recbole_aia.trainer import UndefendedTrainer
from recbole_aia.trainer.targets import make_target

LARGE, QUICK = Shape(1_000_000, 200_000, 50_000_000), Shape(3000, 600, 60_000)
BATCH, QUICK_BATCH = 2**18, 2**12
CLASSES = (2, 7)


class Data:
    """Random interactions as a model and batches ask a dataset of RecBole's for them; user and item 0 are padding."""

    uid_field, iid_field = "user_id", "item_id"
    user_feat = item_feat = None

    def __init__(self, shape: Shape) -> None:
        rng = np.random.default_rng(0)
        self.shape = shape
        # Popular items have most interactions, as in real data.
        items = 1 + (shape.items * rng.random(shape.interactions) ** 3).astype(np.int64)
        users = 1 + rng.integers(shape.users, size=shape.interactions)
        self.inter_feat = Interaction({"user_id": torch.from_numpy(users), "item_id": torch.from_numpy(items)})

    def num(self, field: str) -> int:
        """Number of users or of items, with the padding one."""
        return 1 + (self.shape.users if field == self.uid_field else self.shape.items)

    def inter_matrix(self, form: str = "coo") -> sp.coo_matrix:
        """Users and their items, ones."""
        pairs = self.inter_feat["user_id"].numpy(), self.inter_feat["item_id"].numpy()
        ones = np.ones(len(pairs[0]), dtype=np.float32)
        return sp.coo_matrix((ones, pairs), shape=(self.num("user_id"), self.num("item_id")))


class Seen(Negatives):
    """Negatives of :class:`Data`."""

    def __init__(self, data: Data, device: torch.device) -> None:
        self.n_items, self.device, self._popular = data.num("item_id"), device, None
        users, items = (data.inter_feat[name].to(device) for name in ("user_id", "item_id"))
        self._seen = (users * self.n_items + items).sort().values


def batches(data: Data, size: int, device: torch.device) -> DrawnBatches:
    """Pairwise batches of one negative, drawn on the device."""
    loader = SimpleNamespace(
        _dataset=data, _sampler=None, step=size, shuffle=True, neg_sample_num=1, times=1, neg_prefix="neg_",
        dl_format=InputType.PAIRWISE,
    )  # fmt: skip
    drawn = DrawnBatches(loader, device)
    drawn.negatives = Seen(data, device)
    return drawn


def align(trainer: Any, labels: Tensor) -> Any:
    """What :class:`~recbole_aia.CalibratedTrainer` does after its last epoch: learns a map and moves the table."""
    view = UserEmbeddingView(trainer.model)
    target = make_target(view, view.users, "table")
    everyone = target.initial
    posteriors = [cross_fitted_posterior(everyone, column) for column in labels.t()]
    moved, outcome, _ = learn_map(everyone, posteriors, labels, 100)
    target.place(moved)
    target.finish()
    return outcome


def large(shape: Shape, batch: int) -> dict[str, Any]:
    """Builds, trains an epoch, aligns; each is timed."""
    began, where = time.perf_counter(), device()
    settings = config("LightGCN", SMALL, train_batch_size=batch)
    data = Data(shape)
    init_seed(1, True)
    trainer = UndefendedTrainer(settings, LightGCN(settings, data).to(where))
    drawn, generator = batches(data, batch, where), torch.Generator(where).manual_seed(1)
    built = time.perf_counter() - began
    losses: list[Any] = []
    epoch = seconds(lambda: losses.append(trainer._device_epochs.run(drawn.epoch(generator), 0, False)))
    classes = [torch.randint(k, (shape.users,), generator=torch.Generator().manual_seed(k)) for k in CLASSES]
    outcomes: list[Any] = []
    alignment = seconds(lambda: outcomes.append(align(trainer, torch.stack(classes, 1).to(where))))
    return {
        "name": "large LightGCN", "users": shape.users, "items": shape.items, "interactions": shape.interactions,
        "batch": batch, "built_s": round(built, 1), "epoch_s": round(epoch, 2), "loss": round(losses[0], 4),
        "alignment_s": round(alignment, 2), "statistics": [round(outcomes[0].before, 2), round(outcomes[0].after, 2)],
        **on_gpu(),
    }  # fmt: skip


def main() -> None:
    """Measures once and prints the line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_large", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few users")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    arguments = parser.parse_args()
    VALUES["device"] = arguments.device
    warnings.filterwarnings("ignore")
    with apart():
        print(json.dumps(large(QUICK, QUICK_BATCH) if arguments.quick else large(LARGE, BATCH)))


if __name__ == "__main__":
    main()
