"""The time that calibrated alignment adds to an epoch, and the time to protect a matrix of embeddings."""

from __future__ import annotations

from typing import Any

from recbole.utils import init_seed

from benchmarks.attrcloak import population
from benchmarks.measure import interleaved, overhead, seconds
from benchmarks.raid import Stretch
from benchmarks.setting import Shape, config, loaders
from recbole_aia import protect
from recbole_aia.data import load_labels
from recbole_aia.model import build_model
from recbole_aia.trainer import CalibratedTrainer
from recbole_aia.trainer.averaging import WeightAverage
from recbole_aia.trainer.tower_pull import TowerPull

MODELS = ("BPR", "NeuMF", "DMF", "LightGCN")
SIZES = {"6,040 x 64": 6040, "1,000,000 x 64": 1_000_000}
QUICK_SIZES = {"1,500 x 64": 1500, "20,000 x 64": 20_000}


def calibrated_overhead(shape: Shape, repeats: int) -> dict[str, Any]:
    """Times defended against undefended epochs of each model; ``ratio`` is the largest of the models' ratios.

    An epoch's time is scaled up from a stretch of its steps. The epoch is one of the last two, whose weights are
    averaged. The alignment at the end of a training takes more steps and comes once, so it is reported apart.
    """
    models = {model: epochs(model, shape, repeats) for model in MODELS}
    worst = max(MODELS, key=lambda model: models[model]["ratio"])
    ours, reference = models[worst]["defended_s"], models[worst]["undefended_s"]
    return overhead("calibrated_overhead", ours, reference, None, ratio_of=worst, models=models)


def epochs(model: str, shape: Shape, repeats: int, steps: int = 60, **values: Any) -> dict[str, float]:
    """Seconds of an undefended and of a defended epoch, their ratio, and seconds of the last alignment.

    Args:
        model: the model's name.
        shape: the size of the data.
        repeats: number of epochs of each kind; the median counts.
        steps: number of steps that are measured in an epoch.
        values: settings of the configuration.
    """
    settings = config(model, shape, defense="calibrated", **values)
    data = Stretch(loaders(settings, shape)[0], steps)
    trainer, ours = _trainer(settings, data), _trainer(settings, data)
    tower = bool(trainer.view.tower())
    # A tower is pulled from the first step of the stretch on, as often as in a whole epoch, so that its statistics are
    # estimated anew as often too. Other models train as without a defense and average their weights.
    ours.pull = TowerPull(ours, len(data.loader)) if tower else None
    ours.average = None if tower else WeightAverage(ours.model)

    def undefended() -> None:
        trainer._train_epoch(data, -1)

    def defended() -> None:
        ours._train_epoch(data, ours.total - 1 if tower else -1)

    def between() -> None:
        if not tower:
            ours.align_users(False)

    before, after, aligning = interleaved([undefended, defended, between], repeats, warm_up=1)
    before, after = before * data.share, after * data.share + aligning
    last = 0.0 if tower else seconds(lambda: ours.align_users(True))
    times = {"ratio": after / before, "defended_s": after, "undefended_s": before, "last_alignment_s": last}
    return {key: round(value, 3) for key, value in times.items()}


def _trainer(settings: Any, data: Stretch) -> CalibratedTrainer:
    init_seed(settings["seed"], True)
    trainer = CalibratedTrainer(settings, build_model(settings, data.loader.dataset))
    trainer.labels = load_labels(trainer.config, data.loader.dataset)
    trainer.phases()
    return trainer


def protecting(quick: bool) -> dict[str, Any]:
    """Seconds of :func:`recbole_aia.protect`, data-free, for users with attributes of 2 and 7 classes."""
    taken = {}
    for name, users in (QUICK_SIZES if quick else SIZES).items():
        embeddings, labels = population(users, 64)
        points, known = embeddings.numpy(), {"a": labels[:, 0].numpy(), "b": labels[:, 1].numpy()}
        taken[name] = round(seconds(lambda points=points, known=known: protect(points, known)), 3)  # type: ignore[misc]
    small, large = taken.values()
    return overhead("protect", large, small, None, seconds=taken)
