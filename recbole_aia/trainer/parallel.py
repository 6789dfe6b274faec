"""A trainer as one of several processes: who writes, what is evaluated where, and dropout that all draw alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import recbole.trainer.trainer
import torch
import torch.nn.functional as F
from recbole.evaluator import Collector
from torch import Tensor, nn

from recbole_aia.compat import save_plain_checkpoint
from recbole_aia.config.devices import device_memory
from recbole_aia.data.loader import WideFullSortEvalDataLoader
from recbole_aia.errors import ConfigValueError
from recbole_aia.model import adds_up
from recbole_aia.ranks import lead, ranks
from recbole_aia.storage.checkpoints import load_checkpoint
from recbole_aia.trainer.resuming import ResumingTrainer


class ParallelTrainer(ResumingTrainer):
    """RecBole's trainer as one of the processes of :func:`~recbole_aia.ranks.ranks`; alone it is RecBole's.

    RecBole takes each process for the only one (``single_spec``). It would wrap the model for torch's
    ``DistributedDataParallel``, which does not know ``calculate_loss``, and average metrics over processes.
    """

    #: Whether several processes train this defense to the numbers of one. It is not inherited: a subclass may do more.
    parallel: ClassVar[bool] = False

    def __init__(self, config: Any, model: Any) -> None:
        with _no_tensorboard(ranks().rank > 0):
            super().__init__(config, model)
        if ranks().count > 1:
            self.eval_collector = _WholeCollector(config)
            _share_dropout(self.model)

    @device_memory("an evaluation", "eval_batch_size")
    def evaluate(
        self, eval_data: Any, load_best_model: bool = True, model_file: str | None = None, show_progress: bool = False
    ) -> Any:
        """See ``Trainer.evaluate``; every process scores its share of the users, and all get the metrics of all.

        Files that are not plain data are refused.

        Raises:
            CheckpointError: there is no such file, or it could run code.
        """
        if ranks().count > 1:
            self.eval_collector.split = isinstance(eval_data, WideFullSortEvalDataLoader)
            ranks().gathered(None)  # the first one has written the file by now
        if eval_data and load_best_model:
            load_checkpoint(model_file or self.saved_model_file)
        return super().evaluate(eval_data, load_best_model, model_file, show_progress)

    def _save_checkpoint(self, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
        if not ranks().rank:
            save_plain_checkpoint(self, epoch, verbose, **kwargs)

    def _epoch_ended(self, epoch_idx: int) -> None:
        """Calls :attr:`after_epoch` in the first process, if there is one.

        RecBole's ``fit`` has no hook for the end of an epoch. Right after it has measured the epoch's time, it logs the
        loss to TensorBoard. We call :attr:`after_epoch` from there, so that its time does not count as training.

        The epoch is validated and saved after this. A model that is no longer finite is refused here, so that the
        last good state stays in the file.
        """
        if not all(parameter.isfinite().all() for parameter in self.model.parameters()):
            raise ConfigValueError(f"the model is no longer finite after epoch {epoch_idx}. Lower the learning_rate.")
        lead(self.config, lambda: None if self.after_epoch is None else self.after_epoch(epoch_idx))


def check_parallel(trainer: type[ParallelTrainer], config: Any, count: int) -> None:
    """Raises :class:`ConfigValueError` if ``count`` processes would not train what one trains."""
    if count == 1:
        return
    alone = "Train it in one process: leave --nproc and torchrun out."
    if not vars(trainer).get("parallel", False):
        raise ConfigValueError(f"{config['defense']} does not train in several processes. {alone}")
    if not adds_up(config):
        raise ConfigValueError(f"{config['model']} does not train in several processes. {alone}")
    if config["enable_amp"] or config["enable_scaler"]:
        raise ConfigValueError("enable_amp and enable_scaler are not for several processes. Leave them out.")


class _WholeCollector(Collector):  # type: ignore[misc]
    """RecBole's collector, which puts the users of all processes together before metrics are computed.

    RecBole averages the metrics of processes, by their number of batches. Those of users are not what an average over
    all users is.
    """

    #: Whether each process has collected its own users; otherwise each has all.
    split = False

    def get_data_struct(self) -> Any:
        """See ``Collector.get_data_struct``."""
        if self.split:
            own = {name: part for name, part in self.data_struct._data_dict.items() if name in _OF_USERS}
            found = ranks().gathered({name: part.cpu() for name, part in own.items()})
            for name in dict.fromkeys(name for parts in found for name in parts):
                self.data_struct.set(name, torch.cat([parts[name] for parts in found if name in parts]))
        return super().get_data_struct()


#: What RecBole's collector gathers batch by batch, a row for each user.
_OF_USERS = ("rec.items", "rec.topk", "rec.meanrank", "rec.score", "data.label")


class _SharedDropout(nn.Dropout):
    """Dropout whose noise all processes draw for the whole batch, so that it is that of one process."""

    def forward(self, input: Tensor) -> Tensor:
        """See ``torch.nn.Dropout``."""
        batch = ranks().batch
        if batch is None or not self.training or len(input) != batch.rows.stop - batch.rows.start:
            return super().forward(input)
        noise = F.dropout(input.new_ones(batch.whole, *input.shape[1:]), self.p)
        return input * noise[batch.rows]


def _share_dropout(model: nn.Module) -> None:
    for module in model.modules():
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, _SharedDropout(child.p))


class _NoBoard:
    """In the place of TensorBoard, for a process that writes nothing."""

    def add_scalar(self, *_: Any) -> None: ...

    def add_hparams(self, *_: Any) -> None: ...


@contextmanager
def _no_tensorboard(active: bool) -> Iterator[None]:
    """Inside, RecBole's trainer makes no folder for TensorBoard."""
    place, original = recbole.trainer.trainer, recbole.trainer.trainer.get_tensorboard
    if active:
        place.get_tensorboard = lambda logger: _NoBoard()
    try:
        yield
    finally:
        place.get_tensorboard = original
