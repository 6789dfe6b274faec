"""What a sweep has found: its trials, the front of them, the best within the bound, and the files of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan
from pathlib import Path
from typing import Any

import pandas as pd  # type: ignore[import-untyped]

from recbole_aia.report.comparison_tables import markdown_table
from recbole_aia.report.figures.base import front
from recbole_aia.storage.cells import escaped
from recbole_aia.storage.files import write_whole

FINISHED, PRUNED, FAILED = "finished", "pruned", "failed"


@dataclass(frozen=True)
class Tried:
    """A trial that is over. Numbers that it does not have are NaN.

    Attributes:
        number: from 0.
        setting: the values of the searched keys.
        state: :data:`FINISHED`, :data:`PRUNED` or :data:`FAILED`.
        validation: the validation metric of the defended model; of a pruned trial, at its last epoch.
        kept: its share of the undefended model's.
        advantage: of the strongest attacker on any attribute.
        floor: of that attacker.
        attribute: which it attacks.
        reason: why the trial did not finish.
        run: the folder of its run.
    """

    number: int
    setting: Mapping[str, Any]
    state: str
    validation: float = nan
    kept: float = nan
    advantage: float = nan
    floor: float = nan
    attribute: str = ""
    reason: str = ""
    run: str = ""

    @property
    def name(self) -> str:
        """The trial in words."""
        return f"trial {self.number} ({', '.join(f'{key} {value_text(each)}' for key, each in self.setting.items())})"


@dataclass(frozen=True)
class Confirmed:
    """The best trial looked at once more: attacked with other folds, and on test items.

    Attributes:
        seed: of the second attack.
        advantage: of the strongest attacker in it.
        floor: of that attacker.
        test: the metric on test items by state.
    """

    seed: int
    advantage: float
    floor: float
    test: Mapping[str, float]


@dataclass(frozen=True)
class Swept:
    """A sweep and what it has found.

    Attributes:
        about: model, data set and defense.
        metric: the validation metric.
        bound: the largest advantage that is allowed.
        keys: the searched keys.
        trials: all that are over.
        confirmed: of :attr:`best`; ``None`` without one.
    """

    about: str
    metric: str
    bound: float
    keys: Sequence[str]
    trials: Sequence[Tried]
    confirmed: Confirmed | None = None

    @property
    def finished(self) -> list[Tried]:
        """The trials that were attacked."""
        return [trial for trial in self.trials if trial.state == FINISHED]

    @property
    def front(self) -> list[Tried]:
        """The finished trials that no other beats in both: less advantage, and a better validation metric."""
        found = {point: trial for trial in reversed(self.finished) for point in [(trial.advantage, trial.validation)]}
        return [found[point] for point in front(list(found))]

    def is_within(self, trial: Tried) -> bool:
        """Whether a trial was attacked and is within the bound."""
        return trial.state == FINISHED and trial.advantage <= self.bound

    @property
    def best(self) -> Tried | None:
        """The trial within the bound that recommends best on validation items; ``None`` if none is within."""
        within = [trial for trial in self.finished if self.is_within(trial)]
        return max(within, key=lambda trial: (trial.validation, -trial.advantage), default=None)

    @property
    def nearest(self) -> Tried:
        """The finished trial of the least advantage."""
        return min(self.finished, key=lambda trial: (trial.advantage, -trial.validation))

    def said(self) -> list[str]:
        """What the sweep has found, in sentences."""
        counts = [f"{sum(each.state == state for each in self.trials)} {state}" for state in (FINISHED, PRUNED, FAILED)]
        return [f"{len(self.trials)} trials: {', '.join(counts)}.", *self._said_of_best()]

    def _said_of_best(self) -> list[str]:
        best, again = self.best, self.confirmed
        if best is None or again is None:
            near = self.nearest
            return [
                f"No trial is within the bound of {self.bound:g}. The nearest is {near.name}, advantage "
                f"{near.advantage:.3f}. Search other values or keys, try more, or allow more."
            ]
        first = (
            f"Best within the bound of {self.bound:g}, by {self.metric} on validation items: {best.name}, which keeps "
            f"{_share_text(best.kept)}. Its advantage is {best.advantage:.3f} in the attack that chose it, and "
            f"{again.advantage:.3f} (floor {again.floor:.3f}) in a second attack with other folds, seed {again.seed}."
        )
        if again.advantage > self.bound:
            first += " The second is above the bound: the first was partly luck. Give a lower bound, or try more."
        before, after = again.test["undefended"], again.test["defended"]
        return [first, f"On test items, which chose nothing: {self.metric} {after:.4f}, and {before:.4f} undefended."]


def value_text(value: Any) -> str:
    """A value of a key, short."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _share_text(share: float) -> str:
    """A share; nothing of a model that ranks nothing right is no share."""
    return "-" if isnan(share) else f"{share:.1%}"


def front_table(swept: Swept) -> tuple[list[str], list[list[str]], list[list[bool]]]:
    """Headings and cells of the front, least advantage first, and which cells are bold: the best trial's."""
    shown = sorted({trial.number: trial for trial in [*swept.front, *filter(None, [swept.best])]}.values(), key=_place)
    heads = [
        "trial",
        *swept.keys,
        f"validation {swept.metric}",
        "kept",
        "advantage (floor)",
        "within",
        "attacked again",
    ]
    rows = [_cells(swept, trial) for trial in shown]
    return heads, rows, [[trial is swept.best] * len(heads) for trial in shown]


def _place(trial: Tried) -> tuple[float, int]:
    return trial.advantage, trial.number


def _cells(swept: Swept, trial: Tried) -> list[str]:
    again = swept.confirmed if trial is swept.best else None
    return [
        str(trial.number),
        *(value_text(trial.setting[key]) for key in swept.keys),
        f"{trial.validation:.4f}",
        _share_text(trial.kept),
        f"{trial.advantage:.3f} ({trial.floor:.3f})",
        "yes" if swept.is_within(trial) else "no",
        "-" if again is None else f"{again.advantage:.3f} ({again.floor:.3f})",
    ]


def unfinished(swept: Swept) -> list[str]:
    """The trials that failed, each with its reason."""
    return [f"{trial.name}: {trial.reason}" for trial in swept.trials if trial.state == FAILED]


def front_text(swept: Swept) -> str:
    """The front in Markdown, what the sweep has found, and the trials that failed."""
    heading = f"## {swept.about}: {swept.metric} against the strongest attacker\n\n"
    said = "".join(f"\n{line}\n" for line in swept.said())
    failed = "".join(f"- {line.replace('<', '&lt;')}\n" for line in unfinished(swept))
    return heading + markdown_table(*front_table(swept)) + said + (f"\nWithout a result:\n\n{failed}" if failed else "")


def write_swept(swept: Swept, folder: Path) -> None:
    """Writes all trials as ``sweep.csv`` and the front as ``front.md``."""
    frame, text = trials_frame(swept), front_text(swept)
    write_whole(folder / "sweep.csv", lambda aside: escaped(frame).to_csv(aside, index=False, lineterminator="\n"))
    write_whole(folder / "front.md", lambda aside: aside.write_text(text, encoding="utf-8"))


def trials_frame(swept: Swept) -> pd.DataFrame:
    """All trials, one a row; numbers that a trial does not have are left empty."""
    on_front = {trial.number for trial in swept.front}
    rows = [
        {
            "trial": trial.number, **trial.setting,
            "validation": trial.validation, "kept": trial.kept, "advantage": trial.advantage, "floor": trial.floor,
            "attribute": trial.attribute, "state": trial.state, "within": swept.is_within(trial),
            "front": trial.number in on_front, "best": trial is swept.best, "reason": trial.reason, "run": trial.run,
        }
        for trial in swept.trials
    ]  # fmt: skip
    return pd.DataFrame(rows)
