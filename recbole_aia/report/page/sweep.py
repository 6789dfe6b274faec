"""The page of a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recbole_aia.config.text import to_yaml
from recbole_aia.report.page.build import rendered
from recbole_aia.report.page.figures import Figure, axis, front_line
from recbole_aia.report.swept import Swept, Tried, front_table, unfinished


def sweep_page(swept: Swept, file: Mapping[str, Any]) -> str:
    """The page of a sweep as HTML: what was found, the plane of privacy and usefulness, and the front.

    Args:
        swept: the sweep.
        file: the sweep as the values of a YAML file that repeats it.
    """
    heads, rows, bold = front_table(swept)
    return rendered(
        "sweep.html",
        [_plane(swept)] if swept.finished else [],
        heading=f"A sweep of {swept.about}",
        about=f"Searched: {', '.join(swept.keys)}. Bound of the strongest attacker's advantage: {swept.bound:g}.",
        said=swept.said(),
        heads=heads,
        lines=list(zip(rows, bold, strict=True)),
        failed=unfinished(swept),
        grid=to_yaml(file),
        version="",
    )


def _plane(swept: Swept) -> Figure:
    """Advantage against the validation metric: the trials within the bound, those above it, the front and the best."""
    within = [trial for trial in swept.finished if swept.is_within(trial)]
    above = [trial for trial in swept.finished if not swept.is_within(trial)]
    best = [] if swept.best is None else [swept.best]
    traces = [
        _points("within the bound", within, {"size": 9, "color": "#2a6fb4"}),
        _points("above the bound", above, {"size": 9, "color": "#b4532a", "symbol": "circle-open"}),
        _points("best", best, {"size": 16, "color": "#2a6fb4", "symbol": "star"}),
        front_line([(trial.advantage, trial.validation) for trial in swept.finished]),
    ]
    bound = {"type": "line", "x0": swept.bound, "x1": swept.bound, "yref": "paper", "y0": 0, "y1": 1}
    layout = {
        "xaxis": axis("advantage of the strongest attacker"), "yaxis": axis(f"validation {swept.metric}"),
        "height": 480, "shapes": [{**bound, "line": {"dash": "dash", "color": "#808080"}}],
    }  # fmt: skip
    text = (
        "Each point is a trial. Left is private, up is useful. The dashed line is the bound, and the dotted line joins "
        "the trials that no other beats in both."
    )
    return Figure("plane0", "Privacy and usefulness", text, [trace for trace in traces if trace["x"]], layout)


def _points(name: str, trials: Sequence[Tried], marker: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "markers", "name": name, "marker": dict(marker),
        "x": [trial.advantage for trial in trials], "y": [trial.validation for trial in trials],
        "text": [trial.name for trial in trials],
    }  # fmt: skip
