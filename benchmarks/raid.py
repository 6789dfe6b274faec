"""The time that RAID adds to an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from recbole.trainer import Trainer
from recbole.utils import init_seed

from benchmarks.measure import interleaved, overhead, seconds
from benchmarks.setting import Shape, config, loaders
from recbole_aia.data import load_labels
from recbole_aia.model import build_model
from recbole_aia.trainer import RAIDTrainer
from recbole_aia.trainer.raid import RAIDTerm

MODELS = ("LightGCN", "NeuMF", "DMF", "BPR")


class Epochs:
    """Times epochs of one model in RAID's two phases, from a stretch of steps and from refreshes of the barycenter."""

    def __init__(self, model: str, shape: Shape, steps: int = 60, **values: Any) -> None:
        settings = config(model, shape, defense="raid", **values)
        self.data = Stretch(loaders(settings, shape)[0], steps)
        init_seed(settings["seed"], True)
        self.model = build_model(settings, self.data.loader.dataset)
        self.trainer = RAIDTrainer(settings, self.model)
        self.trainer.labels = load_labels(self.trainer.config, self.data.loader.dataset)
        self.term = RAIDTerm(self.trainer, "group")

    def phase1(self) -> None:
        """Trains a stretch of steps without RAID's loss."""
        self.trainer.terms = ()
        self.trainer._train_epoch(self.data, 0)

    def phase2(self) -> None:
        """Trains a stretch of steps with RAID's loss, without a refresh."""
        self.trainer.terms = (self.term,)
        self.trainer._train_epoch(self.data, 1)

    def measure(self, repeats: int) -> dict[str, float]:
        """Seconds of a Phase I epoch, of Phase II epochs with and without a refresh, and of the refresh."""
        self.phase1()
        first = seconds(self.term.refresh)
        tasks = [self.phase2, self.phase1, self.term.refresh]
        between, reference, refresh = interleaved(tasks, repeats, warm_up=0)
        between, reference = between * self.data.share, reference * self.data.share
        length = self.trainer.config["raid_refresh_epochs"]
        values = {
            "ratio": (between + refresh) / reference,
            "cycle": (between + refresh / length) / reference,
            "phase1_s": reference,
            "phase2_s": between + refresh,
            "refresh_s": refresh,
            "first_refresh_s": first,
        }
        return {key: round(value, 3) for key, value in values.items()}


class Stretch:
    """The first ``steps`` batches of an epoch, as a loader for RecBole's trainer; ``share`` stretches make an epoch."""

    def __init__(self, loader: Any, steps: int) -> None:
        self.loader, self.steps = loader, min(steps, len(loader))
        self.share = len(loader) / self.steps

    def __iter__(self) -> Iterator[Any]:
        return islice(self.loader, self.steps)

    def __len__(self) -> int:
        return self.steps


def raid_overhead(shape: Shape, repeats: int) -> dict[str, Any]:
    """Times epochs of Phase II with a refresh of the barycenter against epochs of Phase I, for each model.

    ``cycle`` averages over ``raid_refresh_epochs`` epochs, of which only the first refreshes. ``ratio`` belongs to the
    model with the largest ``cycle``.
    """
    models = {model: Epochs(model, shape).measure(repeats) for model in MODELS}
    worst = max(MODELS, key=lambda model: models[model]["cycle"])
    length = config(worst, shape, defense="raid")["raid_refresh_epochs"]
    rows = models[worst]
    ours = rows["phase2_s"] - rows["refresh_s"] * (1 - 1 / length)
    stock = _against_stock(shape, repeats)
    return overhead(
        "raid_overhead", ours, rows["phase1_s"], None, ratio_of=worst, models=models, against_stock_lightgcn=stock
    )


def _against_stock(shape: Shape, repeats: int) -> dict[str, float]:
    """Times a RAID epoch of our LightGCN, with a refresh, against an undefended epoch of RecBole's LightGCN."""
    epochs = Epochs("LightGCN", shape)
    epochs.term.refresh()
    settings = config("LightGCN", shape, fast=False)
    data = Stretch(loaders(settings, shape)[0], epochs.data.steps)
    stock = Trainer(settings, build_model(settings, data.loader.dataset))
    tasks = [epochs.phase2, lambda: stock._train_epoch(data, 0), epochs.term.refresh]
    ours, reference, refresh = interleaved(tasks, repeats, warm_up=0)
    ours, reference = ours * data.share + refresh, reference * data.share
    return {"ratio": round(ours / reference, 3), "ours_s": round(ours, 3), "reference_s": round(reference, 3)}
