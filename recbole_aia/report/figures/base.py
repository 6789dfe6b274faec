"""What a figure is: numbers, names and a text, from which a page and files are drawn alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

#: Colours that people of every kind of colour vision tell apart, on white and on black.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
GREY = "#808080"
_ROWS = 12  # of a curve in a table

Form = Literal["line", "points", "both", "bars", "steps"]


@dataclass(frozen=True)
class Series:
    """Points that belong together.

    Attributes:
        name: in the legend; series of one name are one entry.
        x: numbers, or texts for places in a row. Of bars, these are their lengths.
        y: numbers. Of bars, these are their names.
        form: a line, points, both, horizontal bars, or steps.
        color: a place in :data:`COLORS`, which repeat; ``None`` for grey.
        dashed: whether lines are dashed and points open; the colour is not all that tells series apart.
        x_ends: the ends of each point's interval in x, if there are any.
        y_ends: the same in y.
    """

    name: str
    x: Sequence[float | str]
    y: Sequence[float | str]
    form: Form = "both"
    color: int | None = 0
    dashed: bool = False
    x_ends: Sequence[tuple[float, float]] = ()
    y_ends: Sequence[tuple[float, float]] = ()


@dataclass(frozen=True)
class Panel:
    """A pair of axes.

    Attributes:
        x: title of the horizontal axis, with the unit.
        y: title of the vertical axis, with the unit.
        series: what is drawn.
        title: above it, where there are several panels.
        x_span: the ends of the horizontal axis; ``None`` for those of the points.
        y_span: the same of the vertical one.
        marks: places on the horizontal axis with a dotted line, and what stands beside it; an empty text for none.
    """

    x: str
    y: str
    series: Sequence[Series]
    title: str = ""
    x_span: tuple[float, float] | None = None
    y_span: tuple[float, float] | None = None
    marks: Sequence[tuple[float, str]] = ()


@dataclass(frozen=True)
class Figure:
    """A figure.

    Attributes:
        name: of its element and its file: letters, digits and hyphens.
        title: above it.
        text: what it shows, in sentences.
        panels: one above the other.
        height: in pixels of a page.
    """

    name: str
    title: str
    text: str
    panels: Sequence[Panel]
    height: int = 420

    def table(self) -> tuple[list[str], list[list[str]]]:
        """The heading and the lines of a table with the numbers; of long curves, about twelve points each."""
        several = len(self.panels) > 1
        rows = []
        for panel in self.panels:
            for series in panel.series:
                step = -(-len(series.x) // _ROWS)
                for x, y in list(zip(series.x, series.y, strict=True))[::step]:
                    where = [panel.title or panel.y] if several else []
                    rows.append([*where, series.name, _text(x), _text(y)])
        axes = ["x", "y"] if len({(panel.x, panel.y) for panel in self.panels}) > 1 else None
        heads = axes or [self.panels[0].x, self.panels[0].y]
        return [*(["panel"] if several else []), "series", *heads], rows


def front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other beats in both: less of the first, and more of the second."""
    best, found = float("-inf"), []
    for x, y in sorted(points, key=lambda point: (point[0], -point[1])):
        if y > best:
            best = y
            found.append((x, y))
    return found


def front_series(points: Sequence[tuple[float, float]]) -> Series:
    """The line through the :func:`front`."""
    found = front(points)
    return Series("front", [x for x, _ in found], [y for _, y in found], "steps", None, dashed=True)


def _text(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"
