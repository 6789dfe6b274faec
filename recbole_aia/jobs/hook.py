"""Attacks during training, to watch what the embeddings give away."""

from __future__ import annotations

import time

import torch
from recbole.utils import set_color

from recbole_aia.config.types import FloatArray
from recbole_aia.data import LabelTable
from recbole_aia.data.numbering import refuse_other_users
from recbole_aia.evaluator import AttributeInferenceEvaluator
from recbole_aia.trainer import DefenseTrainer


class AttackHook:
    """Attacks the served vectors every few epochs; writes the advantage to the log and where RecBole writes its curves.

    That is TensorBoard, and Weights & Biases if RecBole's key ``log_wandb`` is on.

    The hook only reads the model, so that training gives the same numbers with it and without it. In a training of
    several processes rank 0 leads the attack, and the others fit their share of the attackers. The configuration names
    the attackers; their cross-validation is not repeated, which keeps an attack short.

    Example:
        .. code-block:: python

            trainer = CalibratedTrainer(config, model)
            trainer.after_epoch = AttackHook(trainer, load_labels(config, train_data.dataset), every=5)
            trainer.fit(train_data, valid_data)

    Args:
        trainer: a trainer of ours.
        labels: the labels to infer.
        every: number of epochs from one attack to the next, >= 1.

    Raises:
        AttributeDataError: the labels are of other users than the trainer's model.
    """

    def __init__(self, trainer: DefenseTrainer, labels: LabelTable, every: int) -> None:
        refuse_other_users(labels.users, trainer.model)
        self.trainer, self.labels, self.every = trainer, labels, every
        #: Seconds that the attacks have taken so far.
        self.seconds = 0.0
        self.evaluator = AttributeInferenceEvaluator(trainer.config, attack_repeats=1, show_progress=False)

    def __call__(self, epoch: int) -> None:
        """Attacks if :attr:`every` epochs have passed since the last attack.

        Args:
            epoch: the number of the epoch that has just ended, from 0.
        """
        if (epoch + 1) % self.every or _rank():
            return
        start = time.perf_counter()
        columns, names = self.labels.columns(), self.labels.classes
        report = self.evaluator.evaluate(self._served(), columns, class_names=names)
        gains = {
            f"{row['attribute']}/{row['attacker']}/advantage": row["metrics"]["advantage"]["mean"]
            for row in report.rows
        }
        for name, gain in gains.items():
            self.trainer.tensorboard.add_scalar(f"Attack/{name}", gain, epoch)
        self.trainer.wandblogger.log_metrics({"epoch": epoch, **gains}, head="attack")
        found = ", ".join(
            f"{set_color(name, 'blue')}: {worst['advantage']:.3f} ({worst['attacker']}, floor {worst['floor']:.3f})"
            for name, worst in report.worst_case().items()
        )
        self.trainer.logger.info(f"{set_color(f'epoch {epoch} attack', 'green')} [{found}]")
        self.seconds += time.perf_counter() - start

    def _served(self) -> FloatArray:
        view, model = self.trainer.view, self.trainer.model
        training = model.training
        model.eval()
        view.clear_caches()
        with torch.no_grad():
            vectors: FloatArray = view.served().cpu().numpy()
        view.clear_caches()
        model.train(training)
        return vectors


def _rank() -> int:
    """The rank of this process in a distributed training; 0 if the training is not distributed."""
    spread = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_rank() if spread else 0
