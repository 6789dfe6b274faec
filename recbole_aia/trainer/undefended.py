"""Training without a defense."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from recbole.trainer import Trainer

from recbole_aia.config.keys import Key
from recbole_aia.trainer.base import DefenseTrainer


class UndefendedTrainer(DefenseTrainer):
    """No defense: RecBole's own training, attacked as it is."""

    defense = "none"
    resumable = True
    parallel = True
    recordable = True
    shared_keys: ClassVar[Mapping[str, Key]] = {}

    def fit(
        self, train_data: Any, valid_data: Any = None, *args: Any, **kwargs: Any
    ) -> tuple[float, dict[str, float] | None]:
        """See ``recbole.trainer.Trainer.fit``."""
        self.note_names(train_data.dataset)
        self.go_on(self.last_snapshot(train_data, valid_data))
        result: tuple[float, dict[str, float] | None] = Trainer.fit(self, train_data, valid_data, *args, **kwargs)
        return result
