"""What the recommendation quality that calibrated alignment loses is made of: knowledge of the attributes, or scatter.

    python -m benchmarks.price --models LightGCN NeuMF

Aligns the users of the undefended twin, without interactions, and evaluates four states: undefended; aligned; aligned,
with what its members lost on average given back to each joint class (women of 25 to 34, say), so that recommendations
know the attributes again and nothing else is mended; and moved at random, each user by the way of another. One JSON
line for each model and seed, and a table of the means over seeds: the mean of NDCG@10 on validation and on test items.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Sequence
from statistics import mean
from typing import Any

import torch
from numpy.typing import NDArray
from recbole.utils import init_seed
from torch import Tensor

from recbole_aia import AIAConfig, UserEmbeddingView, load_run
from recbole_aia.data import create_dataset, load_labels, prepare_loaders
from recbole_aia.losses import ClassDiscrepancy, aligned
from recbole_aia.model import scores_users
from recbole_aia.trainer import trainer_class, undefended_twin

STATES = ("undefended", "aligned", "classes told again", "moved at random")


def main() -> None:
    """Prints a line for each run, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["LightGCN"])
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--attributes", default="gender,age")
    parser.add_argument("--seeds", nargs="+", type=int, default=[2020, 2021, 2022])
    parser.add_argument("--exact_users", type=int, default=10_000)
    parser.add_argument("rest", nargs="*", help="after --: arguments of every run")
    arguments = parser.parse_args()
    lines = []
    for model in arguments.models:
        found = [_quality(model, seed, arguments) for seed in arguments.seeds]
        means = {state: mean(values[state] for values in found) for state in STATES}
        lines.append([model, *(f"{means[s]:.4f} ({means[s] / means['undefended']:.3f})" for s in STATES)])
    print(f"| model | {' | '.join(STATES)} |\n| {' | '.join(['---'] * (len(STATES) + 1))} |")
    for line in lines:
        print(f"| {' | '.join(line)} |")


def _quality(model: str, seed: int, arguments: argparse.Namespace) -> dict[str, float]:
    scores, columns = finished(model, arguments.dataset, arguments.attributes, seed, arguments.rest)
    labels = torch.stack([torch.as_tensor(column) for column in columns.values()], dim=1)
    users = scores.users
    moved, outcome = aligned(users, ClassDiscrepancy(users, labels, exact_users=arguments.exact_users))
    order = torch.randperm(len(users), generator=torch.Generator().manual_seed(seed))
    states = (users, moved, moved + _class_means(users - moved, labels), users + (moved - users)[order])
    found = {name: mean(scores(where)) for name, where in zip(STATES, states, strict=True)}
    # Of the squares of all moves.
    told = float(_class_means(moved - users, labels).square().sum() / (moved - users).square().sum())
    print(
        json.dumps({"model": model, "seed": seed, **found, "share_of_classes": round(told, 3), **outcome._asdict()}),
        flush=True,
    )
    return found


def finished(
    model: str, dataset: str, attributes: str, seed: int, rest: Sequence[str]
) -> tuple[Scores, dict[str, NDArray[Any]]]:
    """An undefended twin, trained or found in ``saved/``, and the labels of its users."""
    quiet = {"gpu_id": "", "show_progress": False, "state": "warning"}
    values = {**quiet, "seed": seed, "defense": "calibrated", "stage": "post"}
    config = AIAConfig(model, dataset, config_dict=values, argv=[f"--attributes=[{attributes}]", *rest])
    data = create_dataset(config)
    return Scores(config, undefended_twin(config, data)[1]), load_labels(config, data).columns()


class Scores:
    """A trained model that takes other users.

    Attributes:
        users: the vectors that it serves, ``[n, d]``.
    """

    def __init__(self, config: AIAConfig, checkpoint: Any) -> None:
        run = load_run(checkpoint)
        init_seed(config["seed"], True)  # a split at random is to be that of the training
        loaders = prepare_loaders(config, copy.deepcopy(run.dataset), scores_users=scores_users(config))
        self._trainer, self._parts = trainer_class(config)(config, run.model), loaders[1:]
        self._view = UserEmbeddingView(run.model)
        with torch.no_grad():
            self.users = self._view.served().clone()
            self._released = self._view.release() if "released" in self._view.targets else None

    @torch.no_grad()
    def __call__(self, users: Tensor) -> tuple[float, float]:
        """NDCG@10 on validation and on test items, for users at ``[n, d]``."""
        if self._released is None:
            self._view.write(users)
        else:
            self._released[self._view.users] = users
        self._view.clear_caches()
        validation, test = (self._trainer.evaluate(part, load_best_model=False) for part in self._parts)
        return float(validation["ndcg@10"]), float(test["ndcg@10"])


def _class_means(moves: Tensor, labels: Tensor) -> Tensor:
    """The mean of each joint class of all attributes, for each of its users, ``[n, d]``."""
    found: Sequence[Tensor] = labels.unique(dim=0, return_inverse=True)
    cells = found[1]
    sums = torch.zeros(len(found[0]), moves.shape[1]).index_add_(0, cells, moves)
    return (sums / cells.bincount().unsqueeze(1))[cells]


if __name__ == "__main__":
    main()
