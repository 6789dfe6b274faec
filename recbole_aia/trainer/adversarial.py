"""Adversarial training: users are trained against adversaries that learn attributes at the same time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from recbole_aia.config.keys import Choice, Count, Flag, Key, Names, Number
from recbole_aia.data import load_numbers
from recbole_aia.errors import ConfigValueError
from recbole_aia.losses import Adversaries, reverse_gradient
from recbole_aia.trainer.base import DefenseTrainer
from recbole_aia.trainer.chance import CALIBRATE
from recbole_aia.trainer.phases import Phase
from recbole_aia.trainer.terms import AttributeTerm

_TINY = 1e-8  # keeps a standard deviation from being zero


class AdversarialTrainer(DefenseTrainer):
    r"""Adversarial training (Adv-InT, AdvX): users fool networks that learn their attributes at the same time.

    .. math:: \min_\theta \max_\phi \; L_{rec}(\theta) - w \sum_a L_a(\phi_a; y(\theta))

    For each attribute a, several networks :math:`\phi_a` run side by side. In each step they learn from the served
    vectors y of this step's users; then their gradient goes back to the users with its sign reversed. The loss
    :math:`L_a` is cross-entropy, or for attributes in ``adversarial_regression`` the squared error of the number in
    units of its variance.

    Every labelled user counts alike, however many interactions the user has. The published code draws users by their
    interactions (``adversarial_draw: interactions``), so that heavy users dominate. The state of the last epoch is
    kept. Published code keeps the epoch whose adversary is weakest, and such an adversary may not have learned yet.

    Source:
        Ganin and Lempitsky (2015); Adv-InT as Li et al. (2023) run it; Adv-MultVAE (Ganhör et al. 2022); AdvX
        (Escobedo et al. 2024) for several attributes, class weights and regression.
    """

    defense = "adversarial"
    resumable = True
    search: ClassVar[Mapping[str, Any]] = {"adversarial_weight": {"low": 0.001, "high": 1, "log": True}}
    keys: ClassVar[Mapping[str, Key]] = {
        "calibrate": CALIBRATE,
        "adversarial_weight": Number(0.02, "Weight of the reversed gradient against the recommendation loss.", low=0),
        "adversarial_count": Count(5, "Networks of each attribute, side by side.", low=1),
        "adversarial_hidden": Count(8, "Units of a network's hidden layer.", low=1),
        "adversarial_dropout": Number(
            0.7, "Share of its inputs that a network does not see while it learns.", low=0, high=0.95
        ),
        "adversarial_steps": Count(1, "Steps of the networks in each step of training.", low=1),
        "adversarial_learning_rate": Number(0.01, "Adam's step of the networks.", low=0, above=True),
        "adversarial_weight_decay": Number(1e-4, "Adam's penalty of the networks.", low=0),
        "adversarial_standardized": Flag(
            True, "Whether networks see vectors in units of their standard deviations, so that small ones are not lost."
        ),
        "adversarial_vectors": Choice(
            "served",
            "What networks see: served, the vectors that are attacked; or drawn, the vectors as the model's own loss "
            "draws them (MultiVAE: with dropout and noise, as published). For other models both are the same.",
            choices=("served", "drawn"),
        ),
        "adversarial_balanced": Flag(True, "Whether classes weigh the same in the networks' loss, or users do."),
        "adversarial_draw": Choice(
            "users",
            "Users of a step: users, all alike; or interactions, a user as often as the user has interactions.",
            choices=("users", "interactions"),
        ),
        "adversarial_batch_users": Count(1024, "Most users in a step; drawn at random if there are more.", low=2),
        "adversarial_regression": Names(
            None,
            "Attributes whose number, such as age, the networks predict instead of its class. ~: none.",
            what="an attribute",
        ),
    }
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # One network of 16 units, weight 0.5, as rows of interactions come: the code of Li et al. (2023).
        "paper": {
            "adversarial_weight": 0.5,
            "adversarial_count": 1,
            "adversarial_hidden": 16,
            "adversarial_dropout": 0.0,
            "adversarial_learning_rate": 1e-3,
            "adversarial_weight_decay": 0.0,
            "adversarial_standardized": False,
            "adversarial_balanced": False,
            "adversarial_draw": "interactions",
            "rec_loss": "bce",
        },
        # Ten narrow networks with strong dropout: the code of Ganhör et al. (2022) and Escobedo et al. (2024).
        "advx": {
            "adversarial_weight": 400.0,
            "adversarial_count": 10,
            "adversarial_hidden": 5,
            "adversarial_dropout": 0.7,
            "adversarial_learning_rate": 1e-3,
            "adversarial_weight_decay": 1e-4,
            "adversarial_standardized": False,
            "adversarial_vectors": "drawn",
            "adversarial_balanced": True,
        },
    }
    # Both papers' model, without hidden layers and with a fixed weight of the KL loss, as their code runs it on ML-1M.
    presets_by_model: ClassVar[Mapping[str, Mapping[str, Mapping[str, Any]]]] = {
        "advx": {
            "MultiVAE": {
                "mlp_hidden_size": [],
                "latent_dimension": 200,  # a mean and a variance of 100 dimensions each
                "dropout_prob": 0.1,
                "latent_noise": 1.0,
                "anneal_cap": 0.8,
                "total_anneal_steps": 0,
                "learning_rate": 1e-3,
                "weight_decay": 1e-4,
                "train_batch_size": 64,
                "adversarial_batch_users": 64,
                "epochs": 200,
            }
        }
    }

    @classmethod
    def check(cls, config: Any, attributes: Sequence[str]) -> None:
        """See :meth:`DefenseTrainer.check`: attributes that are regressed are among the attributes."""
        for name in regressed(config):
            if name not in attributes:
                raise ConfigValueError(
                    f"adversarial_regression names '{name}', which is none of {', '.join(attributes)}. "
                    "Name attributes that are protected."
                )

    def phases(self) -> list[Phase]:
        """One phase for the whole training, with a term for each attribute."""
        return [Phase(self.config["epochs"], self._terms())]

    def fit(self, train_data: Any, *args: Any, **kwargs: Any) -> tuple[float, dict[str, float] | None]:
        """See :meth:`DefenseTrainer.fit`."""
        self._dataset = train_data.dataset
        return super().fit(train_data, *args, **kwargs)

    def _terms(self) -> tuple[AdversarialTerm, ...]:
        self.check(self.config, self.labels.names)
        numbers = {name: load_numbers(self.config, self._dataset, name) for name in regressed(self.config)}
        return tuple(AdversarialTerm(self, name, numbers.get(name)) for name in self.labels.names)


class AdversarialPostTrainer(AdversarialTrainer):
    """Adversarial training of a trained model, which goes on training as a whole for ``adversarial_post_epochs``."""

    stage = "post"
    resumable = True
    keys: ClassVar[Mapping[str, Key]] = {
        **AdversarialTrainer.keys,
        "adversarial_post_epochs": Count(10, "Epochs after training.", low=1),
    }

    def phases(self) -> list[Phase]:
        """One phase of ``adversarial_post_epochs``."""
        return [Phase(self.config["adversarial_post_epochs"], self._terms())]


class AdversarialTerm(AttributeTerm):
    """The adversaries of one attribute, and the reversed gradient of their loss.

    Args:
        trainer: the defense.
        attribute: its name.
        numbers: what the networks predict instead of classes, ``[n_users]``; ``None`` for classes.
    """

    def __init__(self, trainer: AdversarialTrainer, attribute: str, numbers: Tensor | None) -> None:
        config = trainer.config
        takes_part = None if numbers is None else numbers.isfinite()
        super().__init__(trainer, attribute, config["adversarial_batch_users"], takes_part)
        activity = trainer.labels.activity() if config["adversarial_draw"] == "interactions" else None
        self.shares = None if activity is None else activity[self.users.cpu() - 1].float()
        self.targets, class_weights = self._targets(numbers)
        self.networks = Adversaries(
            trainer.view.served(trainer.view.users[:1]).shape[1],
            1 if class_weights is None else len(class_weights),
            count=config["adversarial_count"],
            hidden=config["adversarial_hidden"],
            dropout=config["adversarial_dropout"],
            learning_rate=config["adversarial_learning_rate"],
            weight_decay=config["adversarial_weight_decay"],
            class_weights=class_weights,
            generator=torch.Generator(trainer.device).manual_seed(int(config["seed"])),
        )

    def _targets(self, numbers: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """What the networks predict of :attr:`users`, and the weights of classes if these are classes."""
        if numbers is not None:
            known = numbers.to(self.users.device)[self.users]
            return (known - known.mean()) / known.std().clamp_min(_TINY), None
        weights = 1 / self.sizes if self.trainer.config["adversarial_balanced"] else torch.ones(len(self.sizes))
        return self.classes, weights.float().to(self.users.device)

    def __call__(self) -> Tensor:
        """The networks learn from this step's users, and their mean loss comes back with its gradient reversed.

        With ``calibrate`` the gradient is 0 while the attribute is at chance; the networks learn all the same.
        """
        config, rows = self.trainer.config, self.draw()
        view, targets = self.trainer.view, self.targets[rows]
        seen = (view.drawn if config["adversarial_vectors"] == "drawn" else view.served)(self.users[rows])
        if config["adversarial_standardized"]:
            seen = (seen - seen.detach().mean(0)) / seen.detach().std(0).clamp_min(_TINY)
        for _ in range(config["adversarial_steps"]):
            self.networks.learn(seen, targets)
        weight = 0.0 if self.at_chance() else float(config["adversarial_weight"])
        return self.networks.loss(reverse_gradient(seen, weight), targets)

    def state(self) -> dict[str, Any]:
        """See :meth:`AttributeTerm.state`; with the networks."""
        return {**super().state(), "networks": self.networks.state()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """See :meth:`AttributeTerm.load_state`."""
        super().load_state(state)
        self.networks.load_state(state["networks"])

    def draw(self) -> Tensor:
        """See :meth:`AttributeTerm.draw`; by interactions, a user can be drawn more than once."""
        if self.shares is None:
            return super().draw()
        size = min(self.most, len(self.users))
        drawn = torch.multinomial(self.shares, size, replacement=True, generator=self.generator)
        return drawn.to(self.users.device)


def regressed(config: Any) -> list[str]:
    """The attributes whose numbers are predicted, by the key ``adversarial_regression``."""
    named = config["adversarial_regression"] or []
    return [named] if isinstance(named, str) else list(named)
