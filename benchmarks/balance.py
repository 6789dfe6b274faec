"""Ways to balance recommendation and alignment: in turns, as calibrated does, or as one gradient of several aims.

    python -m benchmarks.balance --seeds 2020 2021 2022
    python -m benchmarks.balance --model LightGCN --ways undefended

``in turns`` trains an epoch and then aligns users. Three ways add the gradients of the attributes' statistics to the
gradient of the recommendation loss in every step of the same epochs: ``min-norm`` takes the min-norm point of all
gradients (MGDA); ``min-norm, unit`` takes the min-norm point of gradients of length one; ``equal`` gives each
attribute's gradient the length of the recommendation gradient. ``undefended`` does nothing of the kind. All ways end in
mean weights.

Prints one JSON line for each run, and a table of means over seeds: NDCG@10 on validation and test items relative to the
undefended twin; the largest statistic, estimated anew; the worst advantage of four attackers, averaged over attributes.
"""

from __future__ import annotations

import argparse
import copy
import json
from statistics import mean
from typing import Any

import torch
from recbole.utils import init_seed
from scipy.optimize import nnls
from torch import Tensor

from benchmarks.trained import settings
from recbole_aia import AttributeInferenceEvaluator
from recbole_aia.data import create_dataset, load_labels, prepare_loaders
from recbole_aia.model import build_model, scores_users
from recbole_aia.trainer import CalibratedTrainer, undefended_twin

_GRADIENTS = ("min-norm", "min-norm, unit", "equal")
WAYS = ("in turns", *_GRADIENTS, "undefended")
_ATTACKERS = ["logistic", "svm", "random_forest", "quadratic"]
_SUM = 1e4  # weight of the equation "the weights sum to 1" in the least squares; the other equations have 1


def weights(gradients: Tensor, way: str) -> Tensor:
    r"""Weights ``[A + 1]`` of gradients ``[A + 1, D]``, up to a factor; the recommendation gradient comes first.

    The min-norm point minimizes :math:`\lVert \sum_i w_i g_i \rVert` over :math:`w \ge 0` with the sum 1.

    Source:
        Désidéri (2012).
    """
    lengths = gradients.norm(dim=1).clamp_min(1e-12)
    if way == "equal":
        found = lengths[0] / lengths
        return found / found.sum()
    units = gradients / lengths.unsqueeze(1) if "unit" in way else gradients / lengths.max()
    products = (units @ units.t()).double()
    values, vectors = torch.linalg.eigh(products)
    root = (vectors * values.clamp_min(0).sqrt()).t()
    rows = torch.cat([root, torch.full((1, len(root)), _SUM, dtype=root.dtype)])
    aim = torch.zeros(len(rows), dtype=root.dtype)
    aim[-1] = _SUM
    found = torch.from_numpy(nnls(rows.numpy(), aim.numpy())[0]).to(gradients)
    return found / found.sum() if "unit" not in way else found / found.sum() / lengths * lengths[0]


class Joint(CalibratedTrainer):
    """Calibrated without alignments: in its defended epochs, statistics pull the users of a table at every step."""

    way = WAYS[1]

    def _train_epoch(self, train_data: Any, epoch_idx: int, loss_func: Any = None, show_progress: bool = False) -> Any:
        users = self.labeled_users()[0]
        defended = epoch_idx >= self.first_defended and self.way != "undefended"
        self.statistics = self.discrepancy(self.view.served(users).detach(), False) if defended else None
        return super()._train_epoch(train_data, epoch_idx, loss_func, show_progress)

    def align_users(self, last: bool) -> None:
        """No alignment: the gradients of every step take its place."""

    def step_losses(self, interaction: Any) -> Any:
        loss: Any = super().step_losses(interaction)
        if self.statistics is None:
            return loss
        (table,), users = self.view.tables(), self.labeled_users()[0]
        own = torch.autograd.grad(loss, table, retain_graph=True)[0][users]
        here = table.detach()[users].requires_grad_()
        scores, classes = self.statistics(here), self.statistics.classes
        owners = torch.tensor([attribute for attribute, _ in classes])
        parts = [scores[:, owners == a].square().sum() for a in range(len(self.labels.names))]
        pulls = [torch.autograd.grad(part, here, retain_graph=True)[0] for part in parts]
        gradients = torch.stack([own, *pulls])
        found = weights(gradients.flatten(1), self.way)
        total = (found.view(-1, 1, 1) * gradients).sum(0)
        # A common factor of the weights does not matter, because Adam divides it out.
        linear = ((total - own) * table[users]).sum()
        return loss + linear - linear.detach()


def main() -> None:
    """Prints a line for each run, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[2020, 2021, 2022])
    parser.add_argument("--model", choices=("BPR", "LightGCN"), default="BPR")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("rest", nargs="*", help="after --: arguments of every run")
    arguments = parser.parse_args()
    if arguments.model != "BPR" and set(arguments.ways) & set(_GRADIENTS):
        parser.error("only BPR serves its table, which the added gradients need: give --ways for another model")
    rows = [measured(arguments.model, way, seed, arguments.rest) for way in arguments.ways for seed in arguments.seeds]
    print("| way | NDCG@10 kept | largest statistic | worst case |\n| --- | --- | --- | --- |")
    for way in arguments.ways:
        columns = zip(*(row for name, row in rows if name == way), strict=True)
        print(f"| {way} | {' | '.join(f'{mean(column):.3f}' for column in columns)} |")


def measured(model: str, way: str, seed: int, rest: list[str]) -> tuple[str, tuple[float, float, float]]:
    """NDCG@10 kept, the largest statistic and the worst case of a way."""
    config = settings(model, "ml-100k", "gender,age", seed, rest)
    data = create_dataset(config)
    twin = undefended_twin(config, data)[0]
    init_seed(seed, True)
    training, *held_out = prepare_loaders(config, copy.deepcopy(data), scores_users=scores_users(config))
    init_seed(seed, True)
    kind = CalibratedTrainer if way == WAYS[0] else Joint
    trainer = kind(config, build_model(config, training.dataset))
    trainer.way = way
    trainer.fit(training, saved=False)
    after = mean(float(trainer.evaluate(part, load_best_model=False)["ndcg@10"]) for part in held_out)
    before = mean(result["ndcg@10"] for result in (twin.valid_result, twin.test_result))
    users = trainer.view.served(trainer.labeled_users()[0]).detach()
    size = float(trainer.discrepancy(users, True)(users).abs().max())
    evaluator = AttributeInferenceEvaluator(config, attackers=_ATTACKERS, attack_repeats=1, show_progress=False)
    cases = evaluator.evaluate(trainer.view.served().detach(), load_labels(config, data).columns()).worst_case()
    gains = {attribute: case["advantage"] for attribute, case in cases.items()}
    found = (after / before, size, mean(gains.values()))
    print(
        json.dumps({"model": model, "way": way, "seed": seed, "kept": found[0], "statistic": size, "worst": gains}),
        flush=True,
    )
    return way, found


if __name__ == "__main__":
    main()
