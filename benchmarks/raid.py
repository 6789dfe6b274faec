"""What RAID adds to an epoch of the same model."""

from __future__ import annotations

from typing import Any

from recbole.trainer import Trainer
from recbole.utils import init_seed

from benchmarks.measure import interleaved, overhead
from benchmarks.setting import Shape, config, loaders
from recbole_aia.data import load_labels
from recbole_aia.model import build_model
from recbole_aia.trainer import RAIDTrainer
from recbole_aia.trainer.raid import RAIDTerm

MODELS = ("LightGCN", "NeuMF", "DMF", "BPR")


class Epochs:
    """Single epochs of one model in RAID's two phases."""

    def __init__(self, model: str, shape: Shape, **values: Any) -> None:
        settings = config(model, shape, defense="raid", **values)
        self.data = loaders(settings, shape)[0]
        init_seed(settings["seed"], True)
        self.model = build_model(settings, self.data.dataset)
        self.trainer = RAIDTrainer(settings, self.model)
        self.trainer.labels = load_labels(self.trainer.config, self.data.dataset)
        self.term = RAIDTerm(self.trainer, "group")

    def undefended(self) -> None:
        """Phase I."""
        self.trainer.terms = ()
        self.trainer._train_epoch(self.data, 0)

    def refreshed(self) -> None:
        """Phase II, with a refresh of the barycenter at its start."""
        self.trainer.terms = (self.term,)
        self.trainer._train_epoch(self.data, 0)

    def between(self) -> None:
        """Phase II, with the barycenter of an earlier epoch."""
        self.trainer.terms = (self.term,)
        self.trainer._train_epoch(self.data, 1)


def raid_overhead(shape: Shape, repeats: int) -> dict[str, Any]:
    """Epochs of Phase II that refresh their barycenter against epochs of Phase I, model by model."""
    models = {model: _overhead(model, shape, repeats) for model in MODELS}
    worst = max(MODELS, key=lambda model: models[model]["ratio"])
    ours, reference = models[worst]["phase2_s"], models[worst]["phase1_s"]
    stock = _against_stock(shape, repeats)
    return overhead("raid_overhead", ours, reference, None, ratio_of=worst, models=models, against_stock_lightgcn=stock)


def _overhead(model: str, shape: Shape, repeats: int) -> dict[str, float]:
    """``cycle`` is the mean over ``raid_refresh_epochs`` epochs, of which the first refreshes."""
    epochs = Epochs(model, shape)
    epochs.undefended()
    epochs.refreshed()  # the first barycenter, which has nothing to start from
    ours, reference, between = interleaved([epochs.refreshed, epochs.undefended, epochs.between], repeats, warm_up=0)
    length = epochs.trainer.config["raid_refresh_epochs"]
    cycle = (ours + (length - 1) * between) / length
    values = {"ratio": ours / reference, "cycle": cycle / reference, "phase2_s": ours, "phase1_s": reference}
    return {key: round(value, 3) for key, value in values.items()}


def _against_stock(shape: Shape, repeats: int) -> dict[str, float]:
    """A RAID LightGCN epoch, refresh included, against stock RecBole's undefended LightGCN epoch."""
    epochs = Epochs("LightGCN", shape)
    epochs.refreshed()
    settings = config("LightGCN", shape, fast=False)
    data = loaders(settings, shape)[0]
    stock = Trainer(settings, build_model(settings, data.dataset))
    tasks = [epochs.refreshed, lambda: stock._train_epoch(data, 0)]
    ours, reference = interleaved(tasks, 1, warm_up=0)
    return {"ratio": round(ours / reference, 3), "ours_s": round(ours, 3), "reference_s": round(reference, 3)}
