"""The figure of how a run's models were trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recbole_aia.report.figures.base import Figure, Panel, Series

_EPOCH = "epoch"
_DOTS = 40  # more points than these would hide their line


def training(results: Mapping[str, Any]) -> list[Figure]:
    """Validation metric and losses by epoch, with phases and refreshes; none where nothing is known of epochs."""
    curves = results.get("curves", {})
    states: Mapping[str, Sequence[Mapping[str, Any]]] = curves.get("states", {})
    if not states:
        return []
    # The defended training begins as the undefended one, so that its marks are those of both.
    marks = _marks(list(states.values())[-1])
    span = 0.5, max(each["epoch"] for epochs in states.values() for each in epochs) + 1.5
    valid = []
    for color, (state, epochs) in enumerate(states.items()):
        points = [(each["epoch"] + 1, each["valid"]) for each in epochs if each["valid"] is not None]
        xs, ys = [x for x, _ in points], [y for _, y in points]
        if points:
            valid.append(
                Series(state, xs, ys, "both" if len(xs) <= _DOTS else "line", 1 - color, state == "undefended")
            )
    name = curves["metric"].upper()
    panels = [Panel(_EPOCH, f"{name}, validation items", valid, "Validation", span, marks=marks)] if valid else []
    bare = [(place, "") for place, _ in marks]  # the panel above says what they are
    panels.append(
        Panel(
            _EPOCH,
            "loss, sum over the epoch's batches",
            _losses(states),
            "Losses",
            span,
            marks=bare if valid else marks,
        )
    )
    dots = " Dotted lines: a phase begins, or, without a name, the defense renews what it pulls users to."
    text = f"How the models were trained: {name} on validation items, and the losses, by epoch.{dots if marks else ''}"
    return [Figure("training", "How it was trained", text, panels, 330 * len(panels))]


def _losses(states: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Series]:
    series: list[Series] = []
    for state, epochs in states.items():
        for name in dict.fromkeys(name for each in epochs for name in each["losses"]):
            points = [(each["epoch"] + 1, each["losses"][name]) for each in epochs if name in each["losses"]]
            shown = f"{name}, {state}"
            xs, ys = [x for x, _ in points], [y for _, y in points]
            series.append(Series(shown, xs, ys, "line", len(series), state == "undefended"))
    return series


def _marks(epochs: Sequence[Mapping[str, Any]]) -> list[tuple[float, str]]:
    """Before which epochs a phase begins, and before which others something is refreshed."""
    marks: list[tuple[float, str]] = []
    for before, each in zip([None, *epochs], epochs, strict=False):
        place = each["epoch"] + 0.5
        if before is not None and before["phase"] != each["phase"]:
            marks.append((place, f"phase {each['phase']}"))
        elif each["refreshed"]:
            marks.append((place, ""))
    return marks
