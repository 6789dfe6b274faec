"""What a training records of its epochs, for figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Curves:
    """The losses, the validation score and the refreshes of each epoch, as plain data.

    Attributes:
        phase: the number of the present phase, from 1.
        epochs: for each epoch its number ``epoch`` from 0; its ``phase``; ``losses`` by name, summed over the batches
            as RecBole logs them, to six digits; the ``valid`` score, ``None`` where there was no validation; and
            ``refreshed``, the terms that have renewed before the epoch what they pull users to.
    """

    def __init__(self) -> None:
        self.phase = 1
        self.epochs: list[dict[str, Any]] = []
        self._refreshed: list[str] = []

    def refreshed(self, term: str) -> None:
        """Notes that a term has renewed what it pulls users to; it counts for the epoch that is about to begin."""
        self._refreshed.append(term)

    def trained(self, epoch: int, names: Sequence[str], losses: Any) -> None:
        """Notes the end of an epoch and its losses: one number, or a tuple of them with ``names``."""
        several = losses if isinstance(losses, tuple) else (losses,)
        by_name = {name: float(f"{loss:.6g}") for name, loss in zip(names, several, strict=False)}
        self.epochs.append(
            {"epoch": epoch, "phase": self.phase, "losses": by_name, "valid": None, "refreshed": self._refreshed}
        )
        self._refreshed = []

    def validated(self, score: float) -> None:
        """Notes the validation score of the last epoch; nothing where no epoch was trained here."""
        if self.epochs:
            self.epochs[-1]["valid"] = float(score)
