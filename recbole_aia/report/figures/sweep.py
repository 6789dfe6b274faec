"""The figure of a sweep."""

from __future__ import annotations

from collections.abc import Sequence

from recbole_aia.report.figures.base import Figure, Panel, Series, front_series
from recbole_aia.report.swept import Swept, Tried


def sweep_figures(swept: Swept) -> list[Figure]:
    """Advantage against the validation metric: trials within the bound, those above it, the front and the best."""
    if not swept.finished:
        return []
    within = [trial for trial in swept.finished if swept.is_within(trial)]
    above = [trial for trial in swept.finished if not swept.is_within(trial)]
    series = [_points("within the bound", within, 0), _points("above the bound", above, 1, dashed=True)]
    series += [front_series([(trial.advantage, trial.validation) for trial in swept.finished])]
    series += [] if swept.best is None else [_points("best", [swept.best], 2)]
    marks = [(swept.bound, "bound")]
    panel = Panel(
        "advantage of the strongest attacker (0 guessing, 1 certain)", f"validation {swept.metric}",
        [each for each in series if each.x], marks=marks,
    )  # fmt: skip
    text = (
        "Each point is a trial. Left is private, up is useful. The vertical line is the bound, and the other dotted "
        "line joins the trials that no other beats in both."
    )
    return [Figure("plane-1", "Privacy and usefulness", text, [panel], 480)]


def _points(name: str, trials: Sequence[Tried], color: int, dashed: bool = False) -> Series:
    xs, ys = [trial.advantage for trial in trials], [trial.validation for trial in trials]
    return Series(name, xs, ys, "points", color, dashed)
