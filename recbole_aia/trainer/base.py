"""The base of every defense's trainer: views, labels, phases, losses by name, and which state is kept."""

from __future__ import annotations

import os
import pathlib
import sys
from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import takewhile
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from recbole.utils import InputType, set_color
from torch import Tensor

from recbole_aia.config.aia_config import with_our_defaults
from recbole_aia.config.keys import Key
from recbole_aia.data import LabelTable, Numbering, defense_labels
from recbole_aia.data.numbering import refuse_other_users
from recbole_aia.errors import ConfigValueError
from recbole_aia.model import UserEmbeddingView, refuse_other
from recbole_aia.ranks import ranks
from recbole_aia.storage.checkpoints import load_checkpoint
from recbole_aia.trainer.curves import Curves
from recbole_aia.trainer.defended_keys import DEFENDED_KEYS, SELECT
from recbole_aia.trainer.device_epochs import DeviceEpochs
from recbole_aia.trainer.parallel import ParallelTrainer
from recbole_aia.trainer.phases import LossTerm, Phase, RecordableTerm


class DefenseTrainer(ParallelTrainer):
    """RecBole's trainer with terms added to the loss, phase by phase.

    The trainer keeps the state after the last phase: it is saved, evaluated and attacked. RecBole would keep the state
    with the best validation score. That state is undefended or half defended, so the model would be unprotected.

    Args:
        config: an :class:`~recbole_aia.config.aia_config.AIAConfig`, or a plain RecBole ``Config``. A plain one is
            completed with our defaults.
        model: a RecBole model that has a user embedding view.
    """

    #: The defense's name, as ``--defense`` takes it.
    defense: ClassVar[str]
    #: When the defense works: ``in`` training, or ``post``, on the trained undefended twin.
    stage: ClassVar[str] = "in"
    #: The keys that this defense reads, by name.
    keys: ClassVar[Mapping[str, Key]] = {}
    #: The keys that all defenses of its kind read.
    shared_keys: ClassVar[Mapping[str, Key]] = {**DEFENDED_KEYS, "select": SELECT}
    #: What ``recbole-aia sweep`` searches without ``--search``, in the same form: the keys that weigh privacy.
    search: ClassVar[Mapping[str, Any]] = {}
    #: Whether the same seed gives the same users again. Noise that must not be drawn twice is not repeatable.
    repeatable: ClassVar[bool] = True
    #: Whether :meth:`step_losses` does nothing but compute losses, so that a GPU can record a step and replay it. It is
    #: not inherited: a subclass may do more in a step.
    recordable: ClassVar[bool] = False
    #: For each name that ``--preset`` takes besides ``default``: values by key, RecBole's keys included.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    #: For some of these names and some models: values that differ from the preset's with that model.
    presets_by_model: ClassVar[Mapping[str, Mapping[str, Mapping[str, Any]]]] = {}
    #: A function such as :class:`~recbole_aia.jobs.hook.AttackHook`, called with the number of each epoch at its end.
    after_epoch: Callable[[int], None] | None = None
    #: Whether the training is in its last phase, in which it defends; a training without phases always is.
    in_last_phase: bool = True

    def __init__(self, config: Any, model: Any) -> None:
        self.view = UserEmbeddingView(model)
        _check_device(config["device"], model)
        super().__init__(with_our_defaults(config, self.defense), model)
        self.saved_model_file: str
        self.start_epoch: int
        self._phase_start = 0
        self.curves = Curves()
        self._resumed: tuple[str, str | None] | None = None
        self._device_epochs = DeviceEpochs(self)
        self.labels: LabelTable
        self.terms: Sequence[LossTerm] = ()
        # RecBole names checkpoints by the second. Runs side by side would overwrite each other's.
        file = pathlib.Path(self.saved_model_file)
        self.saved_model_file = str(file.with_stem(f"{file.stem}-{self.defense}-{os.getpid()}"))

    def resume_checkpoint(self, resume_file: str | pathlib.Path) -> None:
        """See ``Trainer.resume_checkpoint``; refuses files that are not plain data, whatever torch's default is.

        Raises:
            CheckpointError: there is no such file, or it could run code.
        """
        state = load_checkpoint(resume_file)
        self._resumed = (str(resume_file), state.get("defense") or state.get("config", {}).get("defense"))
        refuse_other(self.model, state, resume_file)
        super().resume_checkpoint(resume_file)
        self.model.unlearned = list(state.get("unlearned", []))

    @classmethod
    def check(cls, config: Any, attributes: Sequence[str]) -> None:
        """Raises :class:`ConfigValueError` if the configuration cannot work; called before anything is trained."""

    def phases(self) -> list[Phase]:
        """The phases of the training, the last one defended. :meth:`fit` calls it when :attr:`labels` are set."""
        raise NotImplementedError

    def fit(
        self,
        train_data: Any,
        valid_data: Any = None,
        verbose: bool = True,
        saved: bool = True,
        show_progress: bool = False,
        callback_fn: Callable[[int, float], None] | None = None,
    ) -> tuple[float, dict[str, float] | None]:
        """Trains through all phases, as ``Trainer.fit`` does through one.

        Returns:
            Validation score and result of the state that is kept; (-inf, None) without validation data.

        Raises:
            AttributeDataError: the dataset's users have no usable labels.
            ConfigValueError: the resumed checkpoint was trained without this defense in epochs that need it.
        """
        self.labels = defense_labels(self.config, train_data.dataset)
        self.note_names(train_data.dataset)
        by_validation = self.config["select"] == "valid_after_phase1"
        if by_validation:
            self.logger.warning("select: valid_after_phase1 may keep a state that is only half defended.")
        self.stopping_step = sys.maxsize
        self.epoch_steps = len(train_data)
        phases, self.epochs, selected = self.phases(), 0, False
        self._check_resumed(sum(phase.epochs for phase in takewhile(lambda phase: not phase.terms, phases[:-1])))
        kept = self.last_snapshot(train_data, valid_data)
        for number, phase in enumerate(phases, start=1):
            self.curves.phase, self._phase_start, self.in_last_phase = number, self.epochs, phase is phases[-1]
            self.epochs += phase.epochs
            if self.start_epoch >= self.epochs:
                continue
            self.terms, self.best_valid_score, self.best_valid_result = phase.terms, self._worst_score(), None
            self.go_on(kept)
            kept = None
            keep = saved and by_validation and phase is phases[-1]
            super().fit(train_data, valid_data, verbose, keep, show_progress, callback_fn)
            self.start_epoch = self.epochs
            selected = by_validation and self.best_valid_result is not None
        if not selected:
            if valid_data:
                self.best_valid_score, self.best_valid_result = self._valid_epoch(valid_data, show_progress)
            if saved:
                self._save_checkpoint(self.epochs - 1, verbose=verbose)
        return self.best_valid_score, self.best_valid_result

    def note_names(self, dataset: Any) -> None:
        """Notes in the model which users and items its ids mean, for its checkpoints.

        Raises:
            AttributeDataError: the model was built or brought back with other users, or other ids of them.
        """
        numbering = Numbering.of_part(dataset)
        refuse_other_users(numbering.users, self.model)
        if not hasattr(self.model, "numbering"):
            self.model.numbering = numbering

    def labeled_users(self) -> tuple[Tensor, Tensor]:
        """The users with at least one label, ``[n]``, and their labels, ``[n, A]``."""
        users = (self.labels.labels >= 0).any(1).nonzero().squeeze(1)
        return users.to(self.device), self.labels.labels[users].to(self.device)

    def _check_resumed(self, undefended: int) -> None:
        """Raises if another defense, or none, trained the resumed checkpoint beyond the ``undefended`` epochs."""
        file, defense = self._resumed or ("", self.defense)
        if defense not in (self.defense, None) and self.start_epoch > undefended:
            raise ConfigValueError(
                f"'{file}' was trained for {self.start_epoch} epochs with defense {defense}, and {self.defense} begins "
                f"after {undefended}. Use it as init_checkpoint, or resume an earlier one."
            )

    def _worst_score(self) -> float:
        return -float("inf") if self.valid_metric_bigger else float("inf")

    def _train_epoch(self, train_data: Any, epoch_idx: int, loss_func: Any = None, show_progress: bool = False) -> Any:
        self.keep(epoch_idx)
        self.model.eval()
        for term in self.terms:
            term.start_epoch(epoch_idx - self._phase_start)
        if loss_func is None and DeviceEpochs.takes(self):
            return self._device_epochs.run(train_data, epoch_idx, show_progress)

        def losses(interaction: Any) -> Tensor | tuple[Tensor, ...]:
            self.before_step()
            return self.step_losses(interaction)

        return super()._train_epoch(train_data, epoch_idx, loss_func or losses, show_progress)

    def before_step(self) -> None:
        """Does what comes before each step and is not part of its losses: nothing here."""

    def step_kind(self) -> Hashable | None:
        """What decides the operations of the next step, whatever is in its tensors; ``None``: it cannot be recorded."""
        recordable = vars(type(self)).get("recordable", False) and "step_losses" not in vars(self)
        return () if recordable and all(isinstance(term, RecordableTerm) for term in self.terms) else None

    def step_losses(self, interaction: Any, draws: Sequence[Any] | None = None) -> Tensor | tuple[Tensor, ...]:
        """The losses of one batch: the recommendation loss, and the terms of the present phase.

        Args:
            interaction: the batch.
            draws: what the terms, all :class:`RecordableTerm`, have drawn for this step; ``None``: they draw now.
        """
        self.view.clear_caches()
        with self.view.shared_forward():
            loss = ranks().of_batch(self.recommendation_loss, interaction)
            if draws is None:
                parts = [term() for term in self.terms]
            else:
                parts = [term.loss(drawn) for term, drawn in zip(self.terms, draws, strict=True)]  # type: ignore[attr-defined]
        return (loss, *map(ranks().alike, parts)) if parts else loss

    def recommendation_loss(self, interaction: Any) -> Tensor:
        """The loss of a batch by the key ``rec_loss``, a scalar: the model's own, or cross-entropy (RAID, eq. 5)."""
        pairwise = self.config["MODEL_INPUT_TYPE"] == InputType.PAIRWISE and self.model.NEG_ITEM_ID in interaction
        if self.config["rec_loss"] == "native" or not pairwise:
            # RecBole trains pointwise models with cross-entropy already, and MultiVAE, whose batches hold users alone.
            loss = self.model.calculate_loss(interaction)
            return sum(loss) if isinstance(loss, tuple) else loss  # type: ignore[return-value]
        return self._pairwise_cross_entropy(interaction)

    def _pairwise_cross_entropy(self, interaction: Any) -> Tensor:
        """The loss of RAID, eq. (5). RecBole's pairwise batches repeat a positive for each of its negatives."""
        users = interaction[self.model.USER_ID]
        positive = self.view.logits(users, interaction[self.model.ITEM_ID])
        negative = self.view.logits(users, interaction[self.model.NEG_ITEM_ID])
        n_negatives = self.config["train_neg_sample_args"]["sample_num"]
        total = F.softplus(-positive).sum() / n_negatives + F.softplus(negative).sum()
        return total / (len(positive) / n_negatives + len(negative))  # type: ignore[no-any-return]

    def _loss_names(self) -> list[str]:
        return ["rec", *(term.name for term in self.terms)]

    def _generate_train_loss_output(self, epoch_idx: int, s_time: float, e_time: float, losses: Any) -> str:
        if not isinstance(losses, tuple):
            line: str = super()._generate_train_loss_output(epoch_idx, s_time, e_time, losses)
            return line
        places = self.config["loss_decimal_place"] or 4
        parts = [f"{set_color('time', 'blue')}: {e_time - s_time:.2f}s"]
        for name, loss in zip(self._loss_names(), losses, strict=True):
            parts.append(f"{set_color(f'{name} loss', 'blue')}: {loss:.{places}f}")
        return f"{set_color(f'epoch {epoch_idx} training', 'green')} [{', '.join(parts)}]"

    def _add_train_loss_to_tensorboard(self, epoch_idx: int, losses: Any, tag: str = "Loss/Train") -> None:
        if isinstance(losses, tuple):
            for name, loss in zip(self._loss_names(), losses, strict=True):
                self.tensorboard.add_scalar(f"{tag}/{name}", loss, epoch_idx)
        else:
            super()._add_train_loss_to_tensorboard(epoch_idx, losses, tag)
        self.curves.trained(epoch_idx, self._loss_names(), losses)
        self._epoch_ended(epoch_idx)

    def _check_nan(self, loss: Tensor) -> None:
        if not loss.isfinite():
            raise ConfigValueError("the training loss is no longer finite. Lower the learning_rate.")


def _check_device(device: Any, model: Any) -> None:
    """Raises :class:`ConfigValueError` if the model is on another device than ``config['device']``, as batches are."""
    wanted, found = torch.device(device), next(model.parameters()).device
    same_index = None in (wanted.index, found.index) or wanted.index == found.index
    if wanted.type != found.type or not same_index:
        raise ConfigValueError(
            f"the model is on {found} and config['device'] is {wanted}. Write model.to(config['device']) first."
        )
