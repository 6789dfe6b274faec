"""Adds noise to the users of a trained model: with a guarantee (DP), or without one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from recbole_aia.config.keys import Choice, Key, Number, Share
from recbole_aia.errors import ConfigValueError
from recbole_aia.losses import analytic_gaussian_scale, clip_rows, laplace_scale
from recbole_aia.trainer.post import Unlearner
from recbole_aia.trainer.targets import VectorTarget, target_name
from recbole_aia.unlearning.requests import UnlearningTask


class _Perturbation(Unlearner):
    """Replaces users' vectors by noisy vectors."""

    def edit(self, task: UnlearningTask, train_data: Any) -> dict[str, Any]:
        """See :meth:`Unlearner.edit`."""
        name = target_name(self.view, self.config["target"])
        if name == "tower":
            raise ConfigValueError(f"{self.defense} changes vectors, and a tower has none. Write --target=released.")
        self.refuse_target(name)
        target = VectorTarget(self.view, task.users, released=name == "released")
        noisy, details = self.perturbed(target.initial)
        target.place(noisy)
        target.finish()
        return details

    def refuse_target(self, name: str) -> None:
        """Raises :class:`ConfigValueError` if noise on this target would not keep the defense's promise."""

    @abstractmethod
    def perturbed(self, vectors: Tensor) -> tuple[Tensor, dict[str, Any]]:
        """The noisy vectors ``[n, d]``, and the details for the record of the unlearning."""


class NoisePerturbation(_Perturbation):
    """Gaussian noise without clipping and without any guarantee: whoever knows the seed can subtract it."""

    defense = "noise"
    search: ClassVar[Mapping[str, Any]] = {"noise_scale": {"low": 0.1, "high": 10, "log": True}}
    keys: ClassVar[Mapping[str, Key]] = {
        "noise_scale": Number(1.0, "Standard deviation relative to that of the vectors.", low=0, above=True),
    }

    def perturbed(self, vectors: Tensor) -> tuple[Tensor, dict[str, Any]]:
        """See :meth:`_Perturbation.perturbed`."""
        generator = torch.Generator().manual_seed(int(self.config["seed"]))
        noise = torch.randn(vectors.shape, generator=generator, dtype=vectors.dtype).to(vectors.device)
        scale = self.config["noise_scale"] * float(vectors.std())
        self.logger.warning("noise gives no guarantee: what it hides depends on the attacker. See --defense=dp.")
        return vectors + scale * noise, {"scale": scale}


class DPPerturbation(_Perturbation):
    r"""Differential privacy: vectors are clipped to a norm, then noise is added. What is guaranteed is printed.

    Neighbors are two models that differ in one user's vector. A clipped vector has at most the norm c, so that the
    sensitivity is 2c. The guarantee covers this vector alone: the user's interactions have shaped items and other
    users in training, and no noise covers those traces.

    Source:
        Balle and Wang (2018) for the Gaussian mechanism; Dwork et al. (2006) for Laplace.
    """

    defense = "dp"
    repeatable = False
    search: ClassVar[Mapping[str, Any]] = {"dp_epsilon": {"low": 1, "high": 1000, "log": True}}
    keys: ClassVar[Mapping[str, Key]] = {
        "dp_mechanism": Choice(
            "gaussian",
            "gaussian (analytic, Balle and Wang 2018: epsilon and delta) or laplace (epsilon).",
            choices=("gaussian", "laplace"),
        ),
        "dp_epsilon": Number(8.0, "Privacy budget; smaller hides more.", low=0, above=True),
        "dp_delta": Share(1e-5, "For gaussian: the chance that the promise fails."),
        "dp_clip": Number(
            1.0,
            "Largest norm of a vector (L2 for gaussian, L1 for laplace). Choose it without looking at the users.",
            low=0,
            above=True,
        ),
    }

    @classmethod
    def check(cls, config: Any, attributes: Sequence[str]) -> None:
        """See :meth:`DefenseTrainer.check`."""
        _scale(config)

    def refuse_target(self, name: str) -> None:
        """See :meth:`_Perturbation.refuse_target`: a graph adds the user's items, without noise, to a noisy row."""
        if name == "table" and "released" in self.view.targets:
            raise ConfigValueError(
                f"{type(self.model).__name__} adds a user's items to the table's noisy row, without noise, and serves "
                "the sum: nothing would be guaranteed. Leave target out."
            )

    def perturbed(self, vectors: Tensor) -> tuple[Tensor, dict[str, Any]]:
        """See :meth:`_Perturbation.perturbed`."""
        config, scale = self.config, _scale(self.config)
        gaussian = config["dp_mechanism"] == "gaussian"
        clipped = clip_rows(vectors.double(), config["dp_clip"], 2 if gaussian else 1)
        # The noise takes 128 bits of fresh entropy from the system, because noise of a known seed can be subtracted. A
        # run's seed is written down. torch takes 32 bits of a seed, and whoever knows one vector can try them all.
        draw = np.random.default_rng()
        noise = torch.from_numpy(draw.normal(size=vectors.shape) if gaussian else draw.laplace(size=vectors.shape))
        budget = {"epsilon": config["dp_epsilon"], **({"delta": config["dp_delta"]} if gaussian else {})}
        names = ", ".join(f"{name} {value:g}" for name, value in budget.items())
        guarantee = (
            f"the vector of each of these users, released once, is differentially private ({names}); "
            "what training on interactions has left in items and other users is not covered."
        )
        self.logger.info(f"guarantee: {guarantee}")
        details = {"mechanism": config["dp_mechanism"], **budget, "clip": config["dp_clip"], "scale": scale}
        details["guarantee"] = guarantee
        return (clipped + scale * noise.to(clipped.device)).to(vectors.dtype), details


def _scale(config: Any) -> float:
    """The scale of the noise: the standard deviation for ``gaussian``, the scale parameter b for ``laplace``."""
    sensitivity = 2 * config["dp_clip"]
    if config["dp_mechanism"] == "laplace":
        return laplace_scale(config["dp_epsilon"], sensitivity)
    return analytic_gaussian_scale(config["dp_epsilon"], config["dp_delta"], sensitivity)
