"""RAID (Feng et al. 2025): pulls classes of users to the barycenter of their distributions during training."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from recbole_aia.config.keys import Key
from recbole_aia.errors import ConfigValueError
from recbole_aia.losses import Barycenter, CouplingMethod, penalized_barycenter, solve_coupling
from recbole_aia.losses.raid.defensive import mean_distances
from recbole_aia.trainer.base import DefenseTrainer
from recbole_aia.trainer.chance import ChanceStop
from recbole_aia.trainer.phases import Phase
from recbole_aia.trainer.raid_keys import KEYS, PRESETS, PRESETS_BY_MODEL

_FEW_USERS = 10_000  # up to this many users an ascent step takes all of them, and the coupling "auto" is exact
_FEW_ON_GPU = 1_000  # ... on a GPU: the exact coupling is the CPU's, and takes longer than the epoch of more users
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
    parallel = True
    recordable = True
    search: ClassVar[Mapping[str, Any]] = {
        "raid_eta": {"low": 0.1, "high": 10, "log": True},
        "raid_tau": {"low": 0.1, "high": 10, "log": True},
    }
    keys: ClassVar[Mapping[str, Key]] = KEYS
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS
    presets_by_model: ClassVar[Mapping[str, Mapping[str, Mapping[str, Any]]]] = PRESETS_BY_MODEL

    @classmethod
    def check(cls, config: Any, attributes: Sequence[str]) -> None:
        """See :meth:`DefenseTrainer.check`."""
        if config["raid_couplings"] == "step" and config["raid_coupling"] == "semi_dual":
            raise ConfigValueError(
                "raid_coupling is semi_dual, whose potentials hold for users as they were at the refresh, and "
                "raid_couplings is step. Write --raid_couplings=refresh, or --raid_coupling=kl_projection."
            )
        plan, interval = cls.schedule(config, attributes), config["raid_refresh_epochs"]
        for epochs, group in plan if config["raid_first_refresh"] == "interval" else ():
            if group and epochs < interval:
                raise ConfigValueError(
                    f"{', '.join(group)} would have {epochs} epochs in Phase II and no barycenter, because the first "
                    f"is due in epoch {interval}. Raise epochs, lower raid_refresh_epochs, or write "
                    "--raid_first_refresh=start."
                )

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

    def recommendation_loss(self, interaction: Any) -> Tensor:
        """See :meth:`DefenseTrainer.recommendation_loss`; shown, and not trained on, where Phase II leaves it out."""
        loss = super().recommendation_loss(interaction)
        return loss if self.config["raid_recommendation"] or not self.terms else loss.detach() + 0.0 * loss

    def step_kind(self) -> Hashable | None:
        """See :meth:`DefenseTrainer.step_kind`; couplings of each step's users cannot be recorded."""
        return None if self.terms and self.config["raid_couplings"] == "step" else super().step_kind()

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
    parallel = True
    recordable = True

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
        self.places = torch.arange(len(self.users), device=self.users.device)
        self.n_classes = int(classes.max()) + 1
        self.refreshes = 0
        self.generator = torch.Generator(self.users.device).manual_seed(int(config["seed"]))
        self.barycenter: Barycenter | None = None
        self.targets: Tensor | None = None
        self.stop: ChanceStop | None = None

    def start_epoch(self, epoch: int) -> None:
        """Refreshes the barycenter every ``raid_refresh_epochs``; ``raid_first_refresh`` says when first."""
        late, interval = self.config["raid_first_refresh"] == "interval", self.config["raid_refresh_epochs"]
        number = epoch + 1 if late else epoch  # the paper counts from 1
        missing = self.barycenter is None and (not late or number >= interval)
        if missing or number % interval == 0:
            self.refresh()

    @torch.no_grad()
    def refresh(self) -> None:
        """Solves for the penalised barycenter (Lemma 1) of the classes' present users, and for their couplings."""
        embeddings = self.view.served(self.users)
        if not embeddings.isfinite().all():
            raise ConfigValueError(f"{self.name}: the user embeddings have diverged. Lower the learning_rate.")
        fixed = self.config["raid_support"] == "fixed"
        self.barycenter = penalized_barycenter(
            [embeddings[self.classes == k] for k in range(self.n_classes)],
            n_atoms=min(self.config["raid_atoms"], len(self.users)),
            tau=self.config["raid_tau"],
            warm_start=None if fixed else self.barycenter,
            outer_rounds=0 if fixed else 3,
            batch_size=None if len(self.users) <= _FEW_USERS else _ASCENT_USERS,
            generator=self.generator,
        )
        # Each user keeps the target found here until the next refresh. If the same potentials were looked up again for
        # users on their way to the atoms, they would send a whole class to the one atom of lowest price.
        if self.config["raid_couplings"] == "refresh":
            targets = self._solve(embeddings, self.classes)
            # A recorded step reads the targets where they were.
            self.targets = targets if self.targets is None else self.targets.copy_(targets)
        self._shuffle()
        self._report(self.barycenter)
        if self.config["calibrate"]:
            self.looked = self._permutation()[:_LOOK_USERS]
            self.stop = self._stop()

    @torch.no_grad()
    def _solve(self, embeddings: Tensor, classes: Tensor) -> Tensor:
        """The targets ``[n, d]`` of users at ``embeddings [n, d]`` by couplings of their classes ``[n]``."""
        assert self.barycenter is not None
        present, method = classes.unique(), self._method(len(classes))
        samples = [embeddings[classes == k] for k in present]
        barycenter = replace(self.barycenter, potentials=self.barycenter.potentials[present])
        coupling = solve_coupling(method, samples, barycenter, epsilon=self.config["raid_epsilon"])
        targets = torch.empty_like(embeddings)
        for place, sample in enumerate(samples):
            rows = torch.arange(len(sample), device=sample.device).split(_CHUNK)
            parts = [coupling.targets(sample[part], place, part) for part in rows]
            targets[classes == present[place]] = torch.cat(parts)
        return targets

    def __call__(self) -> Tensor:
        """``eta * sum_k mean_p ||y_p - z_p||^2`` over users p of this step with targets z (eq. 12, Lemma 2).

        The loss is 0 before the first barycenter and, with ``calibrate``, while the attribute is at chance.
        """
        return self.loss(self.draw())

    def draw(self) -> Tensor | None:
        """The places of this step's users in :attr:`users`: all, or the next part of a random order.

        Every user counts alike, however many interactions the user has. ``None`` if the loss is 0.
        """
        if self.barycenter is None or (self.stop is not None and not self.stop.above()):
            return None
        size = self.config["raid_batch_users"]
        if len(self.users) <= size:
            return self.places
        if self.next_user + size > len(self.users):
            self._shuffle()
        self.next_user += size
        return self.order[self.next_user - size : self.next_user]

    def loss(self, drawn: Tensor | None) -> Tensor:
        """The loss of the users at the places ``drawn``; 0 for ``None``."""
        if drawn is None:
            return torch.zeros((), device=self.users.device)
        classes, embeddings = self.classes[drawn], self.view.served(self.users[drawn])
        targets = self._solve(embeddings.detach(), classes) if self.targets is None else self.targets[drawn]
        return float(self.config["raid_eta"]) * mean_distances(embeddings, targets, classes, self.n_classes)

    def _shuffle(self) -> None:
        self.order = self._permutation()
        self.next_user = 0

    def _permutation(self) -> Tensor:
        return torch.randperm(len(self.users), generator=self.generator, device=self.users.device)

    def _stop(self, start: Tensor | None = None) -> ChanceStop:
        """A stop that looks at the users :attr:`looked`; for ``start`` see :class:`ChanceStop`."""
        users, classes = self.users[self.looked], self.classes[self.looked].unsqueeze(1)
        return ChanceStop(lambda: self.view.served(users), classes, start, seed=int(self.config["seed"]))

    def state(self) -> dict[str, Any]:
        """See :meth:`LossTerm.state`: the barycenter with its targets, the order of users, and the stop at chance."""
        kept: dict[str, Any] = {"refreshes": self.refreshes, "generator": self.generator.get_state()}
        if self.barycenter is not None:
            kept |= {name: getattr(self, name) for name in ("order", "next_user")}
            kept["barycenter"] = asdict(self.barycenter)
            if self.targets is not None:
                kept["targets"] = self.targets
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
            self.barycenter = Barycenter(**{**values, **moved})
            self.targets = state["targets"].to(device) if "targets" in state else None
            self.order, self.next_user = state["order"].to(device), state["next_user"]
        if "stop" in state:
            self.looked = state["looked"].to(device)
            self.stop = self._stop(state["stop"]["start"].to(device))
            self.stop.load_state(state["stop"])

    def _method(self, n_users: int) -> CouplingMethod:
        method: Any = self.config["raid_coupling"]
        if method == "auto":
            most = _FEW_USERS if self.users.is_cpu else _FEW_ON_GPU
            few = n_users <= most or self.config["raid_couplings"] == "step"
            return "exact" if few else "semi_dual"
        return cast(CouplingMethod, method)

    def _report(self, barycenter: Barycenter) -> None:
        trainer = self.trainer
        trainer.logger.info(
            f"{self.name}: barycenter objective {barycenter.objective:.5f}, marginal error "
            f"{barycenter.marginal_error:.4f}, {barycenter.iterations} iterations"
        )
        if not barycenter.converged:
            trainer.logger.warning(f"{self.name}: the barycenter has not converged; training goes on with it.")
        trainer.curves.refreshed(self.name)
        self.refreshes += 1
        for key in ("objective", "marginal_error", "iterations"):
            trainer.tensorboard.add_scalar(f"{self.name}/{key}", getattr(barycenter, key), self.refreshes)
