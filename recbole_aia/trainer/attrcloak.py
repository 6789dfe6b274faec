"""AttrCloak (Wu et al. 2025): gives all classes of users the same Gaussian and keeps the recommendations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from recbole_aia.config.keys import Choice, Key, Number
from recbole_aia.errors import AttributeDataError, ConfigValueError
from recbole_aia.losses import ClassDivergence, gradient_length, min_norm_weight
from recbole_aia.trainer.chance import CALIBRATE, ChanceStop
from recbole_aia.trainer.post import Unlearner
from recbole_aia.trainer.post_keys import descent_keys
from recbole_aia.trainer.retention import Recommendation
from recbole_aia.trainer.targets import Target
from recbole_aia.unlearning.requests import UnlearningTask

# Algorithm 1, which descends until the loss no longer falls. The slides give no rate. With interactions, of the rates
# 0.1, 10 and 100 only the last converges on BPR; without, rates up to 1 lead to the same users.
_LETTER: Mapping[str, Any] = {
    "attrcloak_covariance": "full_or_ridge",
    "attrcloak_weighting": "mgda",
    "attrcloak_displacement": "sum",
    "unlearn_optimizer": "gd",
    "unlearn_relative": False,
    "unlearn_max_steps": 5000,
    "unlearn_tolerance": 0.0,
    "target": "own",
}


class AttrCloakUnlearner(Unlearner):
    r"""AttrCloak (Wu et al. 2025), algorithm 1: classes become Gaussians alike. Only users move.

    Users move against a combination of two gradients,

    .. math:: \alpha\, g_{AU} + (1 - \alpha)\, g_R, \qquad g_{AU} = \nabla L_{AU}, \quad g_R = \nabla L_R,

    with the :math:`\alpha` of :class:`Weighting`. :math:`L_{AU}` is the mean over attributes of the KL divergences of
    their classes from all users (:class:`~recbole_aia.losses.ClassDivergence`). :math:`L_R` is the model's
    recommendation loss on interactions (data-dependent), or the squared distance that users have moved (data-free).

    Example:
        .. code-block:: python

            AttrCloakUnlearner(config, model).unlearn(train_data)  # with interactions
            AttrCloakUnlearner(config, model).unlearn()  # without

    Source:
        AttrCloak, algorithm 1.
    """

    defense = "attrcloak"
    parallel = True
    when_singular = " Write --attrcloak_covariance=ledoit_wolf."
    search: ClassVar[Mapping[str, Any]] = {"unlearn_max_steps": {"low": 10, "high": 500, "log": True}}
    keys: ClassVar[Mapping[str, Key]] = {
        "calibrate": CALIBRATE,
        "attrcloak_mode": Choice(
            "data_dependent",
            "What keeps the recommendations: data_dependent, the loss on interactions; data_free, the distance moved.",
            choices=("data_dependent", "data_free"),
        ),
        "attrcloak_weighting": Choice(
            "auto",
            "Weight of unlearning: mgda (min-norm point of the gradients), mgda_normalised (min-norm point of the "
            "gradients in units of their first length), fixed (in the same units), fixed_raw (the published figure 5). "
            "auto: mgda for data_free; mgda_normalised for data_dependent, where mgda would give the longer gradient "
            "of unlearning no weight. For data_free with relative distances, mgda's weight is its lower bound 0.1 from "
            "first to last step: a constant.",
            choices=("auto", "mgda", "mgda_normalised", "fixed", "fixed_raw"),
        ),
        "attrcloak_alpha": Number(0.5, "The weight for fixed and fixed_raw.", low=0, high=1),
        "attrcloak_covariance": Choice(
            "ledoit_wolf",
            "Covariances of classes: ledoit_wolf (each shrunk towards all users' by its own estimate; with few users "
            "mostly means are matched), ridge (shrunk by 0.01), full (not shrunk), full_or_ridge (as published: full, "
            "and ridge where a class has too few users).",
            choices=("ledoit_wolf", "ridge", "full", "full_or_ridge"),
        ),
        "attrcloak_displacement": Choice(
            "relative",
            "Distance for data_free: relative (to the users' variance), or sum (the paper's, which stops at once).",
            choices=("relative", "sum"),
        ),
        **descent_keys(rate=0.005, steps=90),
    }
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"attrcloak_mode": "data_dependent", "unlearn_learning_rate": 100.0, **_LETTER},
        "paper-data-free": {"attrcloak_mode": "data_free", "unlearn_learning_rate": 0.1, **_LETTER},
    }

    @classmethod
    def check(cls, config: Any, attributes: Sequence[str]) -> None:
        """See :meth:`DefenseTrainer.check`."""
        if config["attrcloak_mode"] == "data_free":
            _refuse_long_steps(config)

    @property
    def uses_interactions(self) -> bool:
        """See :attr:`Unlearner.uses_interactions`; the key ``attrcloak_mode`` decides."""
        return bool(self.config["attrcloak_mode"] == "data_dependent")

    @classmethod
    def can_hide(cls, asked: Tensor, others: Tensor) -> bool:
        """See :meth:`Unlearner.can_hide`: some class needs two users who ask, since one user has no covariance."""
        return bool((asked > 1).any())

    def edit(self, task: UnlearningTask, train_data: Any) -> dict[str, Any]:
        """See :meth:`Unlearner.edit`: data-dependent with ``train_data``, data-free without."""
        if train_data is None:
            _refuse_long_steps(self.config)
        target = self.target(task)
        with torch.no_grad():
            others = self.view.served(task.others)
        divergence = self._divergence(target, task, others)
        mode = "data_free" if train_data is None else "data_dependent"
        recommendation = None if train_data is None else Recommendation(self, target, train_data)
        retention = recommendation or Displacement(target, self.config)
        weigh = Weighting(self.config, mode)
        stop = self._stop(target, task, others) if self.config["calibrate"] else None
        every = torch.ones(len(task.names), dtype=torch.bool)

        def gradients() -> tuple[Tensor, list[Tensor]] | None:
            with self.view.shared_forward():
                pulled = every if stop is None else stop.above()
                if not pulled.any():
                    return None
                here = target.embeddings()
                loss, slope = _value_and_slope(divergence, here, pulled)
                privacy = target.pull_back(here, slope)
                utility = retention.gradient(here)
            return loss, weigh(privacy, utility)

        with torch.no_grad():
            before = divergence(target.initial)
        self._check_finite(before.sum())
        batches = None if recommendation is None else recommendation.batches
        details = self.descend(target, gradients, [part for part in (weigh, batches, stop) if part is not None])
        if stop is not None:
            details.update(stop.record(task.names))
        with torch.no_grad():
            after = self.checked(lambda: divergence(target.embeddings()))
        divergences = {name: [float(a), float(b)] for name, a, b in zip(task.names, before, after, strict=True)}
        return {"mode": mode, **details, "weights": weigh.record(), "divergence": divergences}

    def _stop(self, target: Target, task: UnlearningTask, others: Tensor) -> ChanceStop:
        return ChanceStop(
            target.embeddings, task.labels, others=others, other_labels=task.other_labels, known=task.known,
            seed=int(self.config["seed"]),
        )  # fmt: skip

    def _divergence(self, target: Target, task: UnlearningTask, others: Tensor) -> ClassDivergence:
        for name, column in zip(task.names, task.labels.t(), strict=True):
            if column[column >= 0].bincount().max() < 2:
                raise AttributeDataError(f"no two users who ask are of one class of '{name}'. Ask for more users.")
        try:
            divergence = ClassDivergence(
                target.initial, task.labels, self.config["attrcloak_covariance"], others, task.other_labels,
                task.known,
            )  # fmt: skip
            divergence(target.initial)
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
            raise ConfigValueError(
                "attrcloak: a covariance is singular, as that of fewer users than dimensions is. "
                "Write --attrcloak_covariance=ledoit_wolf."
            ) from error
        if divergence.left_out:
            alone = [f"{task.names[a]} {task.classes[task.names[a]][k]}" for a, k in divergence.left_out]
            self.logger.warning(f"classes with too few users are left out: {', '.join(alone)}.")
        return divergence


class Weighting:
    r"""Combines the gradients of unlearning and retention: :math:`\alpha\, g_{AU} + (1 - \alpha)\, g_R`.

    ``mgda`` takes the min-norm point of the two gradients. With data, the gradient of unlearning is much longer than
    the gradient of a batch, and its weight in the min-norm point is nearly zero (0.005 on NeuMF).

    ``mgda_normalised`` first divides each gradient by its length at the first step. The two start with equal lengths,
    and later the weight follows how much each has shrunk. If one has no length at the first step, as retention without
    data has none, neither is divided.

    ``fixed`` divides in the same way and takes :math:`\alpha` from the key ``attrcloak_alpha``; ``fixed_raw`` takes it
    and does not divide.

    Source:
        AttrCloak, slide "Dual-objective optimization", for ``mgda``, figure 5 for ``fixed_raw``; the units are ours.
    """

    # The smallest weight. Without data the retention gradient is zero at the start: the min-norm point would be that
    # gradient, users would never move, and it would stay zero. 0.1 is AttrCloak's bound.
    LOWEST: ClassVar = {"data_dependent": 0.0, "data_free": 0.1}
    DEFAULT: ClassVar = {"data_dependent": "mgda_normalised", "data_free": "mgda"}

    def __init__(self, config: Any, mode: str) -> None:
        name, self.lowest = config["attrcloak_weighting"], self.LOWEST[mode]
        self.name = self.DEFAULT[mode] if name == "auto" else name
        self.fixed, self.weights = config["attrcloak_alpha"], list[Tensor]()
        self.units: tuple[float, float] | None = None

    def __call__(self, privacy: list[Tensor], utility: list[Tensor]) -> list[Tensor]:
        """The combined gradient, a tensor for each parameter.

        Args:
            privacy: the gradient of unlearning, a tensor for each parameter.
            utility: the gradient of retention, of the same shapes.
        """
        if self.units is None:
            self.units = self._units(privacy, utility)
        if self.units != (1.0, 1.0):
            privacy = [part / self.units[0] for part in privacy]
            utility = [part / self.units[1] for part in utility]
        if self.name.startswith("fixed"):
            weight = privacy[0].new_tensor(self.fixed)
        else:
            weight = min_norm_weight(privacy, utility, self.lowest)
        self.weights.append(weight)
        return [torch.lerp(u, p, weight) for p, u in zip(privacy, utility, strict=True)]

    def _units(self, privacy: list[Tensor], utility: list[Tensor]) -> tuple[float, float]:
        lengths = float(gradient_length(privacy)), float(gradient_length(utility))
        return (1.0, 1.0) if self.name in ("mgda", "fixed_raw") or 0.0 in lengths else lengths

    def state(self) -> dict[str, Any]:
        """See :meth:`~recbole_aia.trainer.resuming.Resumable.state`."""
        return {"weights": list(self.weights), "units": self.units}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """See :meth:`~recbole_aia.trainer.resuming.Resumable.load_state`."""
        self.weights, self.units = list(state["weights"]), state["units"]

    def record(self) -> list[float]:
        """The weight of unlearning at the first step, its mean, and at the last step; empty if there was no step."""
        if not self.weights:
            return []
        weights = torch.stack([weight.cpu() for weight in self.weights])
        return [float(weights[0]), float(weights.mean()), float(weights[-1])]


class Displacement:
    r"""Retention without data: the squared distance that users have moved.

    .. math:: L_R = \frac{1}{s} \sum_i \lVert em_i - em'_i \rVert^2, \qquad
        s = \sum_i \lVert em_i - \overline{em} \rVert^2 \text{ (relative)}, \quad s = 1 \text{ (sum)}

    The distance ``relative`` is a share of the users' variance and does not depend on their number or scale. The
    distance ``sum`` is the paper's. It grows with the number of users, and the unlearning loss is a mean over users:
    after the first step retention outweighs unlearning, and nothing is unlearnt.

    Source:
        AttrCloak, data-free retention loss; the division by :math:`s` is ours.
    """

    def __init__(self, target: Target, config: Any) -> None:
        self.target, start = target, target.initial
        spread = float((start - start.mean(0)).square().sum())
        self.scale = 2.0 if config["attrcloak_displacement"] == "sum" else 2.0 / spread

    def gradient(self, embeddings: Tensor) -> list[Tensor]:
        """The gradient of the parameters for the users' present ``embeddings [n, d]``."""
        slope = (embeddings.detach() - self.target.initial).mul_(self.scale)
        return self.target.pull_back(embeddings, slope)


def _refuse_long_steps(config: Any) -> None:
    """Raises :class:`ConfigValueError` where plain descent on the summed distance would throw users ever farther.

    A step of rate r multiplies a user's displacement by 1 - 2 r (1 - alpha), whose size is below 1 for every weight
    alpha if r is.
    """
    plain = config["unlearn_optimizer"] == "gd" and not config["unlearn_relative"]
    if plain and config["attrcloak_displacement"] == "sum" and config["unlearn_learning_rate"] >= 1:
        raise ConfigValueError(
            f"unlearn_learning_rate is {config['unlearn_learning_rate']:g}, and without interactions users move ever "
            "farther from 1 on. Write --unlearn_learning_rate=0.1, or --preset=paper-data-free."
        )


def _value_and_slope(divergence: ClassDivergence, embeddings: Tensor, pulled: Tensor) -> tuple[Tensor, Tensor]:
    """The unlearning loss (eq. 19), and the gradient ``[n, d]`` of its part from the attributes ``pulled [A]``."""
    here = embeddings.detach().requires_grad_()
    values = divergence(here)
    return values.mean().detach(), torch.autograd.grad(values[pulled].mean(), here)[0]
