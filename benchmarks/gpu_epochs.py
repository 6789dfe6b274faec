"""Times whole epochs and evaluations on a GPU, ours beside stock RecBole's: ``python -m benchmarks.gpu_epochs``.

Every measurement prints one JSON line. The data are generated interactions of MovieLens-1M's shape (``--quick``: a
tenth of them). Timings wait for the device before and after. ``--device cpu`` shows that everything runs; its
timings say nothing about a GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from itertools import islice
from statistics import median
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from recbole.data.dataloader import FullSortEvalDataLoader, TrainDataLoader
from recbole.data.utils import create_samplers
from recbole.model.general_recommender import lightgcn, ngcf
from recbole.trainer import Trainer
from recbole.utils import init_seed
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.raid import Stretch
from benchmarks.setting import ML1M, SMALL, VALUES, Shape, apart, folder
from recbole_aia import AIAConfig
from recbole_aia.data import create_dataset, load_labels
from recbole_aia.data.loader import FastTrainDataLoader, WideFullSortEvalDataLoader
from recbole_aia.model import build_model
from recbole_aia.trainer import CalibratedTrainer, RAIDTrainer
from recbole_aia.trainer.averaging import WeightAverage
from recbole_aia.trainer.base import DefenseTrainer
from recbole_aia.trainer.raid import RAIDTerm
from recbole_aia.trainer.undefended import UndefendedTrainer

MODELS = ("LightGCN", "BPR", "NGCF", "DMF", "NeuMF")
STRETCH = 40  # steps of stock RecBole that are timed; an epoch's time is scaled up from them
REPEATS = 3


class Setting:
    """Data on disk and in memory, and what is built from them on one device."""

    def __init__(self, shape: Shape, device: str) -> None:
        self.shape, self.device = shape, torch.device(device)
        config = self.config("BPR")
        dataset = create_dataset(config)
        init_seed(config["seed"], True)
        self.parts = dataset.build()
        self.samplers = create_samplers(config, dataset, self.parts)

    def config(self, model: str, **values: Any) -> AIAConfig:
        """A configuration of the benchmarks on the device."""
        where = {"gpu_id": "0" if self.device.type == "cuda" else "", "use_gpu": self.device.type == "cuda"}
        place = folder(self.shape)
        settings = {**VALUES, **where, "data_path": place, "checkpoint_dir": place, **values}
        return AIAConfig(model, "synthetic", config_dict=settings, argv=[])

    def training(self, config: AIAConfig) -> Any:
        """The training loader."""
        init_seed(config["seed"], True)
        kind = FastTrainDataLoader if config["fast"] else TrainDataLoader
        return kind(config, self.parts[0], self.samplers[0], shuffle=True)

    def validation(self, config: AIAConfig) -> Any:
        """The validation loader."""
        kind = WideFullSortEvalDataLoader if config["fast"] else FullSortEvalDataLoader
        return kind(config, self.parts[1], self.samplers[1])

    def model(self, config: AIAConfig, loader: Any) -> Any:
        """The model of a configuration with the weights of its seed."""
        init_seed(config["seed"], True)
        with _quick_graphs():
            return build_model(config, loader.dataset)

    def seconds(self, task: Callable[[], Any], repeats: int = 1) -> float:
        """Median wall-clock time of a call, with all that it has put on the device."""
        times = []
        for _ in range(repeats):
            self.wait()
            start = time.perf_counter()
            task()
            self.wait()
            times.append(time.perf_counter() - start)
        return median(times)

    def wait(self) -> None:
        """Waits for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()


@contextlib.contextmanager
def _quick_graphs() -> Iterator[None]:
    """Inside, stock graph models make their matrix by SciPy, because their loops in Python take longer than epochs."""

    def matrix(model: Any) -> Tensor:
        interactions = model.interaction_matrix
        graph = sp.csr_matrix(sp.bmat([[None, interactions], [interactions.T, None]], dtype=np.float32))
        scale = sp.diags(np.power(np.asarray((graph > 0).sum(axis=1)).ravel() + 1e-7, -0.5))
        coo = sp.coo_matrix(scale @ graph @ scale)
        places = torch.from_numpy(np.array([coo.row, coo.col], dtype=np.int64))
        return torch.sparse_coo_tensor(places, torch.from_numpy(coo.data.astype(np.float32)), coo.shape)

    stock = [(each, each.get_norm_adj_mat) for each in (lightgcn.LightGCN, ngcf.NGCF)]
    for each, _ in stock:
        each.get_norm_adj_mat = matrix
    try:
        yield
    finally:
        for each, original in stock:
            each.get_norm_adj_mat = original


def epoch(setting: Setting, model: str) -> dict[str, Any]:
    """An undefended epoch with data loading, against stock RecBole's; the errors are those of one batch."""
    config, stock_config = setting.config(model), setting.config(model, fast=False)
    train, stock_train = setting.training(config), setting.training(stock_config)
    stock, fast = setting.model(stock_config, stock_train), setting.model(config, train)
    errors = _errors(fast, stock, next(iter(stock_train)).to(setting.device))
    stretch, trainer = Stretch(stock_train, STRETCH), Trainer(stock_config, stock)
    trainer._train_epoch(Stretch(stock_train, 5), 0)
    reference = stretch.share * setting.seconds(lambda: trainer._train_epoch(stretch, 0))
    ours = UndefendedTrainer(config, fast)
    first = setting.seconds(lambda: ours._train_epoch(train, 0))
    taken = setting.seconds(lambda: ours._train_epoch(train, 1), REPEATS)
    return {
        "name": f"epoch {model}",
        "ratio": round(reference / taken, 2),
        "ours_s": round(taken, 4),
        "stock_s": round(reference, 3),
        "first_epoch_s": round(first, 3),
        "loading_s": round(setting.seconds(lambda: sum(map(len, train)), REPEATS), 4),
        "steps": len(train),
        **errors,
        **_launches(setting, lambda: ours._train_epoch(Stretch(train, 20), 2), 20),
    }


def _trainer(setting: Setting, kind: type[DefenseTrainer], config: AIAConfig, train: Any) -> Any:
    trainer: Any = kind(config, setting.model(config, train))
    trainer.labels = load_labels(trainer.config, train.dataset)
    return trainer


def _errors(ours: Any, stock: Any, batch: Any) -> dict[str, float]:
    """The largest differences of losses, relative, and of gradients, relative to each parameter's largest entry."""
    losses = []
    for model in (ours, stock):
        model.train()
        torch.manual_seed(0)
        loss = model.calculate_loss(batch)
        loss.sum().backward()
        losses.append(float(loss.sum()))
    pairs = [(a.grad, b.grad) for a, b in zip(ours.parameters(), stock.parameters(), strict=True)]
    slopes = [float((a - b).abs().max() / b.abs().max().clamp_min(1e-30)) for a, b in pairs if b is not None]
    for model in (ours, stock):
        model.zero_grad()
    return {"loss_error": abs(losses[0] - losses[1]) / abs(losses[1]), "gradient_error": max(slopes)}


def _launches(setting: Setting, task: Callable[[], Any], steps: int) -> dict[str, float]:
    """How often the CPU launches something on the device, or waits for it, in a step."""
    if setting.device.type != "cuda":
        return {}
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
        task()
    counts = {each.key: each.count for each in profiled.key_averages()}
    names = {
        "launches": ("cudaLaunchKernel", "cuLaunchKernel", "cudaLaunchKernelExC"),
        "replays": ("cudaGraphLaunch",),
        "copies": ("cudaMemcpyAsync",),
        "waits": ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize"),
    }
    return {f"{name}_a_step": round(sum(counts.get(k, 0) for k in keys) / steps, 2) for name, keys in names.items()}


def raid_epoch(setting: Setting, model: str) -> dict[str, Any]:
    """An epoch of RAID's second phase that begins with a refresh of the barycenter, against an undefended epoch."""
    config = setting.config(model, defense="raid", attributes=["group"])
    train = setting.training(config)
    trainer = _trainer(setting, RAIDTrainer, config, train)
    term = RAIDTerm(trainer, "group")
    before = _undefended(setting, trainer, train)
    trainer.terms = (term,)
    first = setting.seconds(lambda: trainer._train_epoch(train, 0))
    after = setting.seconds(lambda: trainer._train_epoch(train, 0), REPEATS)
    refresh = setting.seconds(term.refresh, REPEATS)
    return _overhead(f"raid epoch {model}", after, before, refresh_s=round(refresh, 4), first_epoch_s=round(first, 3))


def calibrated_epoch(setting: Setting, model: str) -> dict[str, Any]:
    """An epoch over whose steps weights are averaged, and the alignment after it, against an undefended epoch."""
    config = setting.config(model, defense="calibrated", attributes=["group"])
    train = setting.training(config)
    trainer = _trainer(setting, CalibratedTrainer, config, train)
    trainer.phases()
    before = _undefended(setting, trainer, train)
    trainer.average = WeightAverage(trainer.model)
    epochs = setting.seconds(lambda: trainer._train_epoch(train, -1), REPEATS)
    trainer.align_users(False)
    aligning = setting.seconds(lambda: trainer.align_users(False), REPEATS)
    last = setting.seconds(lambda: trainer.align_users(True))
    more = {"epoch_s": round(epochs, 4), "aligning_s": round(aligning, 4), "last_alignment_s": round(last, 3)}
    return _overhead(f"calibrated epoch {model}", epochs + aligning, before, **more)


def _undefended(setting: Setting, trainer: Any, train: Any) -> float:
    trainer._train_epoch(train, -1)
    return setting.seconds(lambda: trainer._train_epoch(train, -1), REPEATS)


def _overhead(name: str, after: float, before: float, **more: Any) -> dict[str, Any]:
    times = {"defended_s": round(after, 4), "undefended_s": round(before, 4)}
    return {"name": name, "ratio": round(after / before, 3), **times, **more}


def evaluation(setting: Setting, model: str) -> dict[str, Any]:
    """A full evaluation of all users, against stock RecBole's, scaled up from a stretch of its batches."""
    sides = []
    for config in (setting.config(model), setting.config(model, fast=False)):
        train, data = setting.training(config), setting.validation(config)
        trainer = Trainer(config, setting.model(config, train))
        trainer.eval_collector.data_collect(train)
        sides.append((trainer, data))
    (trainer, data), (stock, stock_data) = sides
    stretch = _Part(stock_data, STRETCH)
    stock.evaluate(stretch, load_best_model=False)
    reference = stretch.share * setting.seconds(lambda: stock.evaluate(stretch, load_best_model=False))
    first = trainer.evaluate(data, load_best_model=False)
    ours = setting.seconds(lambda: trainer.evaluate(data, load_best_model=False), REPEATS)
    return {
        "name": f"evaluation {model}",
        "ratio": round(reference / ours, 2),
        "ours_s": round(ours, 4),
        "stock_s": round(reference, 3),
        "batches": len(data),
        "ndcg": float(first["ndcg@10"]),
    }


class _Part:
    """The first batches of an evaluation loader, which RecBole's trainer takes for one."""

    def __init__(self, loader: Any, batches: int) -> None:
        self._loader, self._batches = loader, min(batches, len(loader))
        self.share = len(loader) / self._batches
        self.__class__ = type("_Part", (_Part, type(loader)), {})

    def __iter__(self) -> Iterator[Any]:
        return islice(iter(self._loader), self._batches)

    def __len__(self) -> int:
        return self._batches

    def __getattribute__(self, name: str) -> Any:
        own = ("_loader", "_batches", "share", "__class__")
        return object.__getattribute__(self, name) if name in own else getattr(self._loader, name)


MEASURES: dict[str, tuple[Callable[[Setting, str], dict[str, Any]], tuple[str, ...]]] = {
    "epoch": (epoch, MODELS),
    "raid": (raid_epoch, ("LightGCN", "BPR")),
    "calibrated": (calibrated_epoch, ("LightGCN", "BPR")),
    "evaluation": (evaluation, ("NeuMF", "LightGCN")),
}


def main() -> None:
    """Prints a JSON line for each measurement that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="*", choices=MEASURES, default=list(MEASURES))
    parser.add_argument("--models", nargs="*", choices=MODELS, default=list(MODELS))
    asked = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.zeros(1, device=asked.device)  # before RecBole's configuration hides devices
    with apart():
        setting = Setting(SMALL if asked.quick else ML1M, asked.device)
        for name in asked.only:
            measure, models = MEASURES[name]
            for model in filter(asked.models.__contains__, models):
                try:
                    line = measure(setting, model)
                except Exception:
                    line = {"name": f"{name} {model}", "error": traceback.format_exc().splitlines()[-15:]}
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
