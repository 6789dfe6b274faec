"""Trains LightGCN on a million users, 200,000 items and 50 million interactions: ``python -m benchmarks.gpu_large``.

Prints a JSON line with the seconds of an epoch, of a calibrated alignment of all users, and the memory that they take.
RecBole would load such data for many minutes, so they are made on the device. ``--quick`` makes a hundredth of them.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from recbole.data.interaction import Interaction
from recbole.utils import InputType, init_seed
from torch import Tensor

from benchmarks.gpu_epochs import Setting
from benchmarks.setting import Shape, apart
from recbole_aia.data import LabelTable
from recbole_aia.data.drawn import DrawnBatches, Negatives
from recbole_aia.model.lightgcn import LightGCN
from recbole_aia.trainer import CalibratedTrainer

LARGE, QUICK = Shape(1_000_000, 200_000, 50_000_000), Shape(10_000, 2_000, 500_000)


def large(shape: Shape, device: str) -> dict[str, Any]:
    """Seconds and the peak memory of two epochs and of an alignment; the first epoch records its step."""
    setting = Setting(Shape(300, 200, 9000), device)  # only for a configuration
    batch = shape.interactions // 50
    config = setting.config("LightGCN", defense="calibrated", attributes=["group"], train_batch_size=batch)
    start = time.perf_counter()
    data = Drawn(shape, setting.device)
    init_seed(config["seed"], True)
    net = LightGCN(config, data).to(setting.device)
    trainer: Any = CalibratedTrainer(config, net)
    trainer.first_defended, trainer.total, trainer.pull, trainer.average = 9, 9, None, None
    labels = torch.randint(0, 2, (data.user_num, 1))
    labels[0] = -1
    trainer.labels = LabelTable(labels, ("group",), {"group": ["a", "b"]}, count=data.count)
    made = time.perf_counter() - start
    batches = data.batches(batch)
    peaks, times = [], []
    for task in (
        lambda: trainer._train_epoch(batches, 0),
        lambda: trainer._train_epoch(batches, 1),
        lambda: trainer.align_users(True),
    ):
        if setting.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        times.append(round(setting.seconds(task), 2))
        peaks.append(round(torch.cuda.max_memory_reserved() / 2**30, 1) if setting.device.type == "cuda" else None)
    epochs = {"first_epoch_s": times[0], "epoch_s": times[1], "alignment_s": times[2], "peak_gib": peaks}
    return {"name": "large LightGCN", **asdict(shape), "batch": batch, "making_s": round(made, 1), **epochs}


class Drawn:
    """Random interactions on a device: what models and loaders read of RecBole's dataset."""

    uid_field, iid_field = "user_id", "item_id"
    user_feat = item_feat = None

    def __init__(self, shape: Shape, device: torch.device) -> None:
        self.user_num, self.item_num = shape.users + 1, shape.items + 1
        generator = torch.Generator(device).manual_seed(0)
        draws = torch.rand(2, shape.interactions, generator=generator, device=device)
        users = 1 + (draws[0] * shape.users).long().clamp_max_(shape.users - 1)
        items = 1 + (draws[1].square() * shape.items).long().clamp_max_(shape.items - 1)  # some are popular
        self.inter_feat = Interaction({self.uid_field: users, self.iid_field: items})

    def num(self, field: str) -> int:
        """The number of users or items, with the padding."""
        return self.user_num if field == self.uid_field else self.item_num

    def inter_matrix(self, form: str) -> Any:
        """The interactions as a sparse matrix."""
        users, items = (self.inter_feat[field].int().cpu().numpy() for field in (self.uid_field, self.iid_field))
        ones = np.ones(len(users), dtype=np.float32)
        return sp.coo_matrix((ones, (users, items)), shape=(self.user_num, self.item_num)).asformat(form)

    def count(self) -> Tensor:
        """The number of interactions of each user, ``[n_users]``."""
        return self.inter_feat[self.uid_field].bincount(minlength=self.user_num).cpu()

    def batches(self, size: int) -> Any:
        """A pairwise loader."""
        users, items = self.inter_feat[self.uid_field], self.inter_feat[self.iid_field]
        loader = SimpleNamespace(
            _dataset=self, _sampler=None, step=size, times=1, neg_sample_num=1, shuffle=True,
            dl_format=InputType.PAIRWISE, neg_prefix="neg_",
        )  # fmt: skip
        drawn = DrawnBatches(loader, users.device)
        drawn.negatives = Negatives(users, items, self.item_num)
        return _Epochs(drawn, torch.Generator(users.device).manual_seed(0))


class _Epochs:
    def __init__(self, drawn: DrawnBatches, generator: torch.Generator) -> None:
        self.drawn, self.generator = drawn, generator

    def __iter__(self) -> Iterator[Any]:
        return self.drawn.epoch(self.generator)


def main() -> None:
    """Prints the line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.zeros(1, device=asked.device)  # before RecBole's configuration hides devices
    with apart():
        print(json.dumps(large(QUICK if asked.quick else LARGE, asked.device)))


if __name__ == "__main__":
    main()
