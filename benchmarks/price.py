"""Why calibrated alignment loses recommendation quality: the model forgets the attributes, or users move at random.

    python -m benchmarks.price --models LightGCN NeuMF

Aligns the users of the undefended twin without interactions, by one map of their vectors or with
``--calibrated_labels own`` by their own labels, and evaluates four states:

- ``undefended``.
- ``aligned``.
- ``classes told again``: aligned, and each joint class (such as women of 25 to 34) is moved back by its mean move. The
  recommendations know the attributes again, and nothing else is undone.
- ``moved at random``: each user makes the move of another user.

Prints one JSON line for each model and seed, and a table of means over seeds. The quality is the mean of NDCG@10 on
validation items and on test items.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from statistics import mean

import torch
from torch import Tensor

from benchmarks.trained import Twin
from recbole_aia.losses import ClassDiscrepancy, align_vectors, learn_map, steps_for
from recbole_aia.trainer.posteriors import learn_posteriors

STATES = ("undefended", "aligned", "classes told again", "moved at random")


def main() -> None:
    """Prints a line for each run, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["LightGCN"])
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--attributes", default="gender,age")
    parser.add_argument("--seeds", nargs="+", type=int, default=[2020, 2021, 2022])
    parser.add_argument("--exact_users", type=int, default=10_000)
    parser.add_argument("--calibrated_labels", choices=("posterior", "own"), default="posterior")
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
    twin = Twin(model, arguments.dataset, arguments.attributes, seed, arguments.rest)
    labels = torch.stack([torch.as_tensor(column) for column in twin.labels.values()], dim=1)
    users = twin.users
    steps = steps_for(users.shape[1], twin.config["calibrated_steps"])
    if arguments.calibrated_labels == "own":
        discrepancy = ClassDiscrepancy(users, labels, exact_users=arguments.exact_users)
        moved, outcome = align_vectors(users, discrepancy, steps)
    else:
        posteriors = learn_posteriors(users, labels, list(twin.labels), seed)
        moved, outcome, _ = learn_map(users, posteriors, labels, steps, activity=twin.activity, seed=seed)
    order = torch.randperm(len(users), generator=torch.Generator().manual_seed(seed))
    states = (users, moved, moved + _class_means(users - moved, labels), users + (moved - users)[order])
    found = {name: mean(twin.ndcg(where)) for name, where in zip(STATES, states, strict=True)}
    # The share of the classes' mean moves in the squares of all moves.
    told = float(_class_means(moved - users, labels).square().sum() / (moved - users).square().sum())
    print(
        json.dumps({"model": model, "seed": seed, **found, "share_of_classes": round(told, 3), **outcome._asdict()}),
        flush=True,
    )
    return found


def _class_means(moves: Tensor, labels: Tensor) -> Tensor:
    """For each user the mean of ``moves [n, d]`` over the user's joint class of all attributes, ``[n, d]``."""
    found: Sequence[Tensor] = labels.unique(dim=0, return_inverse=True)
    cells = found[1]
    sums = torch.zeros(len(found[0]), moves.shape[1]).index_add_(0, cells, moves)
    return (sums / cells.bincount().unsqueeze(1))[cells]


if __name__ == "__main__":
    main()
