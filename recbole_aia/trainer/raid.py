"""RAID (Feng et al. 2025): pulls classes of users to the barycenter of their distributions during training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from recbole_aia.config.keys import Choice, Count, Key, Number
from recbole_aia.errors import ConfigValueError
from recbole_aia.losses import Barycenter, CouplingMethod, defensive_loss, penalized_barycenter, solve_coupling
from recbole_aia.trainer.base import DefenseTrainer, Phase
from recbole_aia.trainer.chance import CALIBRATE, ChanceStop

_FEW_USERS = 10_000  # up to this many users an ascent step takes all of them, and the coupling "auto" is exact
_ASCENT_USERS = 2048  # users of a class in a step of the barycenter's ascent, if there are more than _FEW_USERS
_CHUNK = 8192  # users whose targets are computed at a time, which bounds the memory
_LOOK_USERS = 1024  # users that the stop at chance looks at; drawn at each refresh


class RAIDTrainer(DefenseTrainer):
    r"""RAID (Feng et al. 2025): classes are pulled to the barycenter of their distributions, eq. 11 to 13.

    Phase I trains the recommender alone. Phase II adds the defensive loss (eq. 12)

    .. math:: \eta \sum_k W_2^2\bigl(P(Y^k), P^*\bigr),

    where :math:`P(Y^k)` is the distribution of class k and :math:`P^*` the barycenter of all classes.

    The key ``epochs`` counts both phases. ``multi`` says whether several attributes are defended at once, or one after
    another in equal shares of Phase II.
    """

    defense = "raid"
    resumable = True
    keys: ClassVar[Mapping[str, Key]] = {
        "multi": Choice(
            "joint",
            "Several attributes: all at once (joint), or one after another (sequential).",
            choices=("joint", "sequential"),
        ),
        "calibrate": CALIBRATE,
        "raid_eta": Number(1.0, "Weight of the defensive loss against the recommendation loss (eq. 12).", low=0),
        "raid_tau": Number(1.0, "Entropy penalty on the barycenter's weights; larger is flatter.", low=0),
        "raid_atoms": Count(256, "Support points of the barycenter.", low=2),
        "raid_phase1_epochs": Count(
            None,
            "Undefended epochs at the start (the paper's E1). ~: all but a fifth of epochs. Phase II teaches the "
            "recommender little, so it should be trained by then.",
        ),
        "raid_refresh_epochs": Count(4, "Epochs between two barycenters (the paper's xi).", low=1),
        "raid_coupling": Choice(
            "auto",
            "kl_projection (the paper's), semi_dual, exact, or auto: exact up to 10,000 users, semi_dual above.",
            choices=("auto", "kl_projection", "semi_dual", "exact"),
        ),
        "raid_epsilon": Number(
            0.05, "Entropy of kl_projection's coupling relative to the mean cost.", low=0, above=True
        ),
        "raid_batch_users": Count(
            1024, "Most users in the defensive loss of a step; drawn at random if there are more.", low=2
        ),
    }
    # The paper's values, from section 5.1 and appendix B.2; epochs is the paper's E1 + E2.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "raid_eta": 1.0,
            "raid_tau": 1.0,
            "raid_phase1_epochs": 5,
            "epochs": 20,
            "raid_refresh_epochs": 4,
            "raid_coupling": "kl_projection",
            "rec_loss": "bce",
            "init_std": 0.01,
            "learner": "sgd",
            "learning_rate": 1e-4,
            "embedding_size": 32,
            "mf_embedding_size": 32,
            "mlp_embedding_size": 32,
            "train_neg_sample_args": {
                "distribution": "uniform", "sample_num": 4, "alpha": 1.0, "dynamic": False, "candidate_num": 0
            },
            "user_embedding_size": 32,
            "item_embedding_size": 32,
            "user_hidden_size_list": [64, 32],
            "item_hidden_size_list": [64, 32],
        }
    }  # fmt: skip

    @classmethod
    def check(cls, config: Any, attributes: Sequence[str]) -> None:
        """See :meth:`DefenseTrainer.check`."""
        cls.schedule(config, attributes)

    @staticmethod
    def schedule(config: Any, attributes: Sequence[str]) -> list[tuple[int, Sequence[str]]]:
        """The number of epochs and the defended attributes of each phase.

        Raises:
            ConfigValueError: Phase II has fewer epochs than rounds of attributes.
        """
        rounds = [attributes] if config["multi"] == "joint" else [[name] for name in attributes]
        total, first = config["epochs"], config["raid_phase1_epochs"]
        if first is None:
            first = max(0, total - max(len(rounds), total // 5))
        if total - first < len(rounds):
            raise ConfigValueError(
                f"{total} epochs with {first} of them undefended leave {total - first} to Phase II, which needs "
                f"{len(rounds)}. Raise epochs or lower raid_phase1_epochs."
            )
        share, rest = divmod(total - first, len(rounds))
        defended = [(share + (i < rest), group) for i, group in enumerate(rounds)]
        return [(first, []), *defended] if first else defended

    def phases(self) -> list[Phase]:
        """Phase I, then one Phase II for all attributes, or one for each."""
        plan = self.schedule(self.config, self.labels.names)
        return [Phase(epochs, tuple(RAIDTerm(self, name) for name in group)) for epochs, group in plan]


class RAIDPostTrainer(RAIDTrainer):
    """RAID on a trained model (the paper's table 5): Phase II alone, as long as in training.

    The whole model goes on training on the interactions, as in Phase II.
    """

    stage = "post"
    resumable = True

    @staticmethod
    def schedule(config: Any, attributes: Sequence[str]) -> list[tuple[int, Sequence[str]]]:
        """See :meth:`RAIDTrainer.schedule`; without Phase I, which the trained model has behind it."""
        return [(epochs, group) for epochs, group in RAIDTrainer.schedule(config, attributes) if group]


class RAIDTerm:
    """The defensive loss of one attribute, with the barycenter to which it pulls.

    The users of a step and the first atoms are drawn by a generator of its own. Phase I therefore is, step by step, the
    undefended training with the same seed.
    """

    def __init__(self, trainer: RAIDTrainer, attribute: str) -> None:
        config, labels = trainer.config, trainer.labels.column(attribute)
        self.name = f"raid {attribute}"
        self.trainer, self.view, self.config = trainer, trainer.view, config
        known = (labels >= 0).nonzero().squeeze(1)
        # A class without users has no distribution, so the others are numbered without gaps.
        _, classes = labels[known].unique(return_inverse=True)
        self.users, self.classes = known.to(config["device"]), classes.to(config["device"])
        self.n_classes = int(classes.max()) + 1
        self.refreshes = 0
        self.generator = torch.Generator().manual_seed(int(config["seed"]))
        self.barycenter: Barycenter | None = None
        self.stop: ChanceStop | None = None

    def start_epoch(self, epoch: int) -> None:
        """Refreshes the barycenter and the couplings in the first epoch and every ``raid_refresh_epochs``."""
        if self.barycenter is None or epoch % self.config["raid_refresh_epochs"] == 0:
            self.refresh()

    @torch.no_grad()
    def refresh(self) -> None:
        """Solves for the penalised barycenter (Lemma 1) of the classes' present users, and for their couplings."""
        embeddings = self.view.served(self.users)
        if not embeddings.isfinite().all():
            raise ConfigValueError(f"{self.name}: the user embeddings have diverged. Lower the learning_rate.")
        samples = [embeddings[self.classes == k] for k in range(self.n_classes)]
        self.barycenter = penalized_barycenter(
            samples,
            n_atoms=min(self.config["raid_atoms"], len(self.users)),
            tau=self.config["raid_tau"],
            warm_start=self.barycenter,
            batch_size=None if len(self.users) <= _FEW_USERS else _ASCENT_USERS,
            generator=self.generator,
        )
        coupling = solve_coupling(self._method(), samples, self.barycenter, epsilon=self.config["raid_epsilon"])
        # Each user keeps the target found here until the next refresh. If the same potentials were looked up again for
        # users on their way to the atoms, they would send a whole class to the one atom of lowest price.
        self.targets = torch.empty_like(embeddings)
        for k, sample in enumerate(samples):
            rows = torch.arange(len(sample), device=sample.device).split(_CHUNK)
            parts = [coupling.targets(sample[part], k, part) for part in rows]
            self.targets[self.classes == k] = torch.cat(parts)
        self._shuffle()
        self._report(self.barycenter)
        if self.config["calibrate"]:
            order = torch.randperm(len(self.users), generator=self.generator)
            self.looked = order[:_LOOK_USERS].to(self.users.device)
            self.stop = self._stop()

    def __call__(self) -> Tensor:
        """``eta * sum_k mean_p ||y_p - z_p||^2`` over users p of this step with targets z (eq. 12, Lemma 2).

        With ``calibrate`` the loss is 0 while the attribute is at chance.
        """
        if self.stop is not None and not self.stop.above():
            return torch.zeros((), device=self.users.device)
        users, targets, classes = self._draw()
        loss = defensive_loss(self.view.served(users), targets, classes, self.n_classes)
        return float(self.config["raid_eta"]) * loss

    def _draw(self) -> tuple[Tensor, Tensor, Tensor]:
        """The users of this step, their targets and classes: all users, or the next part of a random order.

        Every user counts alike, however many interactions the user has.
        """
        size = self.config["raid_batch_users"]
        if len(self.users) <= size:
            return self.users, self.targets, self.classes
        if self.next_user + size > len(self.users):
            self._shuffle()
        part = slice(self.next_user, self.next_user + size)
        self.next_user += size
        users, targets, classes = self.shuffled
        return users[part], targets[part], classes[part]

    def _shuffle(self) -> None:
        # The shuffled tensors are gathered once in a pass, so that a step only takes slices.
        self.order = torch.randperm(len(self.users), generator=self.generator).to(self.users.device)
        self.shuffled = self.users[self.order], self.targets[self.order], self.classes[self.order]
        self.next_user = 0

    def _stop(self, start: Tensor | None = None) -> ChanceStop:
        """A stop that looks at the users :attr:`looked`; for ``start`` see :class:`ChanceStop`."""
        users, classes = self.users[self.looked], self.classes[self.looked].unsqueeze(1)
        return ChanceStop(lambda: self.view.served(users), classes, start, seed=int(self.config["seed"]))

    def state(self) -> dict[str, Any]:
        """See :meth:`LossTerm.state`: the barycenter with its targets, the order of users, and the stop at chance."""
        kept: dict[str, Any] = {"refreshes": self.refreshes, "generator": self.generator.get_state()}
        if self.barycenter is not None:
            kept |= {name: getattr(self, name) for name in ("targets", "order", "next_user")}
            kept["barycenter"] = asdict(self.barycenter)
        if self.stop is not None:
            kept |= {"looked": self.looked, "stop": self.stop.state()}
        return kept

    def load_state(self, state: Mapping[str, Any]) -> None:
        """See :meth:`LossTerm.load_state`."""
        device = self.users.device
        self.refreshes = state["refreshes"]
        self.generator.set_state(state["generator"])
        if "barycenter" in state:
            values: dict[str, Any] = state["barycenter"]
            moved = {name: values[name].to(device) for name in ("atoms", "weights", "potentials")}
            self.barycenter, self.targets = Barycenter(**{**values, **moved}), state["targets"].to(device)
            self.order, self.next_user = state["order"].to(device), state["next_user"]
            self.shuffled = self.users[self.order], self.targets[self.order], self.classes[self.order]
        if "stop" in state:
            self.looked = state["looked"].to(device)
            self.stop = self._stop(state["stop"]["start"].to(device))
            self.stop.load_state(state["stop"])

    def _method(self) -> CouplingMethod:
        method: Any = self.config["raid_coupling"]
        if method == "auto":
            return "exact" if len(self.users) <= _FEW_USERS else "semi_dual"
        return cast(CouplingMethod, method)

    def _report(self, barycenter: Barycenter) -> None:
        trainer = self.trainer
        trainer.logger.info(
            f"{self.name}: barycenter objective {barycenter.objective:.5f}, marginal error "
            f"{barycenter.marginal_error:.4f}, {barycenter.iterations} iterations"
        )
        if not barycenter.converged:
            trainer.logger.warning(f"{self.name}: the barycenter has not converged; training goes on with it.")
        self.refreshes += 1
        for key in ("objective", "marginal_error", "iterations"):
            trainer.tensorboard.add_scalar(f"{self.name}/{key}", getattr(barycenter, key), self.refreshes)
