"""Data-free AttrCloak on matrices, against the same steps written plainly in torch; and on a million users.

python -m benchmarks attrcloak
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from multiprocessing import get_context
from typing import Any

import torch
from torch import Tensor

from benchmarks.measure import interleaved, max_abs_error, seconds, speed_up
from benchmarks.setting import device
from recbole_aia.losses import ClassDivergence, CovarianceMethod, min_norm_weight
from recbole_aia.trainer.post import Plateau

CLASSES = (2, 7, 21)  # numbers of classes of MovieLens' gender, age and occupation
# The defaults of ``--defense=attrcloak``: least weight of unlearning, learning rate, tolerance, patience, steps between
# two looks at the loss.
LOWER, STEP, TOLERANCE, PATIENCE, CHECK = 0.1, 0.005, 0.001, 5, 10


def attrcloak(quick: bool) -> dict[str, Any]:
    """Measures the whole descent of both ways, then the parts of a step, then the memory of a million users."""
    users, width, most = (1500, 32, 20) if quick else (6040, 64, 1000)
    start, labels = (part.to(device()) for part in population(users, width))
    ours_end, plain_end = _Ours(start, labels), _Plain(start, labels)
    steps = ours_end.converge(most)
    losses = [ours_end.loss().detach(), plain_end.run(steps)]
    ours, reference = _Ours(start, labels), _Plain(start, labels)
    step_s, plain_s = interleaved([ours.step, reference.step], repeats=5 if quick else 21)
    products = _products(start, labels)
    step_again, products_s, adam_s = interleaved([ours.step, products, ours.optimizer.step], repeats=5 if quick else 21)
    return speed_up(
        "attrcloak", step_s, plain_s, float(abs(losses[0] - losses[1])),
        steps=steps, loss=float(losses[0]),
        max_vector_error=max_abs_error(ours_end.vectors.detach(), plain_end.vectors.detach()),
        step_over_products=round((step_again - adam_s) / products_s, 3), products_s=round(products_s, 6),
        adam_s=round(adam_s, 6), million=_million(100_000 if quick else 1_000_000),
    )  # fmt: skip


def population(users: int, width: int) -> tuple[Tensor, Tensor]:
    """Embeddings ``[users, width]`` whose classes differ in mean, and labels ``[users, 3]``."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.stack([torch.randint(k, (users,), generator=generator) for k in CLASSES], dim=1)
    embeddings = torch.randn(users, width, generator=generator)
    for column, k in zip(labels.t(), CLASSES, strict=True):
        embeddings += 0.3 * torch.randn(k, width, generator=generator)[column]
    return 0.1 * embeddings, labels


class _Descent:
    """Adam steps along the min-norm combination of the gradients of unlearning and displacement."""

    def __init__(self, start: Tensor, labels: Tensor) -> None:
        self.start, self.labels = start, labels
        self.vectors = start.clone().requires_grad_()
        self.optimizer = torch.optim.Adam([self.vectors], lr=STEP * float(start.std()))
        self.spread = float((start - start.mean(0)).square().sum())

    def loss(self) -> Tensor:
        raise NotImplementedError

    def step(self) -> Tensor:
        loss = self.loss()
        privacy = torch.autograd.grad(loss, self.vectors)[0]
        utility = (self.vectors.detach() - self.start) * (2 / self.spread)
        self.vectors.grad = torch.lerp(utility, privacy, min_norm_weight(privacy, utility, LOWER))
        self.optimizer.step()
        return loss.detach()

    def converge(self, most: int) -> int:
        """Steps until the loss stops falling, by the defaults of ``--defense=attrcloak``; returns how many."""
        plateau = Plateau(TOLERANCE, PATIENCE)
        for taken in range(1, most + 1):
            loss = self.step()
            if taken % CHECK == 0 and plateau.reached(float(loss)):
                return taken
        return most

    def run(self, steps: int) -> Tensor:
        for _ in range(steps):
            self.step()
        return self.loss().detach()


class _Ours(_Descent):
    def __init__(self, start: Tensor, labels: Tensor, covariance: CovarianceMethod = "full") -> None:
        super().__init__(start, labels)
        self.divergence = ClassDivergence(start, labels, covariance)

    def loss(self) -> Tensor:
        return self.divergence(self.vectors).mean()


class _Plain(_Descent):
    """AttrCloak's equations 13 to 19 as written: a loop over classes, an inverse, determinants, and autograd."""

    def loss(self) -> Tensor:
        losses = [self._attribute(column) for column in self.labels.t()]
        return torch.stack(losses).mean()

    def _attribute(self, column: Tensor) -> Tensor:
        mean, covariance = _moments(self.vectors)
        inverse, total = torch.linalg.inv(covariance), self.start.new_zeros(())
        for k in column.unique():
            members = self.vectors[column == k]
            mean_k, covariance_k = _moments(members)
            gap = mean - mean_k
            # The determinant of a small covariance underflows, so the ratio is taken of the logarithms.
            ratio = torch.logdet(covariance) - torch.logdet(covariance_k)
            kl = (ratio - len(mean) + torch.trace(inverse @ covariance_k) + gap @ inverse @ gap) / 2
            total = total + len(members) / len(column) * kl
        return total


def _moments(sample: Tensor) -> tuple[Tensor, Tensor]:
    mean = sample.mean(0)
    return mean, (sample - mean).t() @ (sample - mean) / len(sample)


def _products(start: Tensor, labels: Tensor) -> Callable[[], None]:
    """The covariance products of a step by the equations: one for each class, and one of all users by attribute."""
    blocks = [start[column == k] for column in labels.t() for k in column.unique()]
    blocks += [start] * labels.shape[1]
    out = torch.empty(start.shape[1], start.shape[1], device=start.device)

    def multiply() -> None:
        for block in blocks:
            torch.mm(block.t(), block, out=out)

    return multiply


def _million(users: int) -> dict[str, Any]:
    """Seconds and peak memory of steps on many users, measured in a new process."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_many, (users, 64))


def _many(users: int, width: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    descent = _Ours(*population(users, width), "ledoit_wolf")
    taken = seconds(lambda: descent.run(3)) / 3
    unit = 1024 if sys.platform != "darwin" else 1024**2
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    return {"users": users, "width": width, "step_s": round(taken, 3), "peak_mib": round(peak)}
