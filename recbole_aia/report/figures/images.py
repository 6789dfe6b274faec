"""Figures as files for papers and slides, drawn by Matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from recbole_aia.errors import ConfigValueError
from recbole_aia.report.figures.base import COLORS, GREY, Figure, Panel, Series
from recbole_aia.storage.files import write_whole

#: The formats of files.
FORMATS = ("png", "pdf", "svg")
_WIDTH, _PIXELS, _DPI = 6.4, 100, 200  # inches; a page's pixels an inch; of PNG
# A file is the same whenever it is drawn.
_UNDATED: dict[str, dict[str, Any]] = {
    "png": {},
    "pdf": {"CreationDate": None},
    "svg": {"Date": None},
}


def check_formats(formats: Sequence[str]) -> None:
    """Finds mistakes before anything long begins.

    Raises:
        ConfigValueError: a format is not of :data:`FORMATS`, or Matplotlib is not installed.
    """
    if not set(formats) <= set(FORMATS):
        raise ConfigValueError(f"--formats is {','.join(formats)}. Name some of {','.join(FORMATS)}.")
    if find_spec("matplotlib") is None:
        raise ConfigValueError("--figures needs Matplotlib. Type: pip install 'recbole-aia[figures]'")


def write_images(figures: Sequence[Figure], folder: Path, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Writes each figure in each format, ``NAME.FORMAT``, whole or not at all.

    Args:
        figures: what to draw.
        folder: made if it is missing.
        formats: of :data:`FORMATS`.

    Returns:
        The files.

    Raises:
        ConfigValueError: the folder cannot be made, and all that :func:`check_formats` finds.
    """
    check_formats(formats)
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Drawn

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigValueError(f"--figures cannot make '{folder}': {error.strerror}. Name another folder.") from error
    files = []
    # Names may hold dollars, which would be formulas, and SVG's ids are random without a salt.
    with mpl.rc_context({"text.parse_math": False, "svg.hashsalt": "recbole-aia", "font.size": 9}):
        for each in figures:
            drawn = Drawn(figsize=(_WIDTH, each.height / _PIXELS), layout="constrained")
            FigureCanvasAgg(drawn)
            _draw(each, drawn)
            for kind in formats:
                path = folder / f"{each.name}.{kind}"
                _save(drawn, path, kind)
                files.append(path)
    return files


def _save(drawn: Any, path: Path, kind: str) -> None:
    def write(aside: Path) -> None:
        drawn.savefig(aside, format=kind, dpi=_DPI, metadata=_UNDATED[kind])

    write_whole(path, write)


def _draw(figure: Figure, drawn: Any) -> None:
    several = drawn.subplots(len(figure.panels), 1, squeeze=False)[:, 0]
    for panel, axes in zip(figure.panels, several, strict=True):
        _panel(panel, axes)
    drawn.suptitle(figure.title)


def _panel(panel: Panel, axes: Any) -> None:
    bars = [series for series in panel.series if series.form == "bars"]
    if bars:
        _bars(bars, axes)
    for series in panel.series:
        if series.form != "bars":
            _points(series, axes)
    for x, text in panel.marks:
        axes.axvline(x, color=GREY, linestyle=":", linewidth=1)
        axes.annotate(text, (x, 1), xycoords=("data", "axes fraction"), xytext=(2, 2), textcoords="offset points",
                      fontsize=8)  # fmt: skip
    axes.set(xlabel=panel.x, ylabel=panel.y)
    axes.set_title(panel.title, loc="left")
    if panel.x_span:
        axes.set_xlim(*panel.x_span)
    if panel.y_span:
        axes.set_ylim(*panel.y_span)
    axes.spines[["top", "right"]].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    if once:
        axes.legend(once.values(), once.keys(), frameon=False)


def _points(series: Series, axes: Any) -> None:
    color = GREY if series.color is None else COLORS[series.color % len(COLORS)]
    style = {
        "color": color,
        "linestyle": "none" if series.form == "points" else ":" if series.dashed else "-",
        "marker": "o" if series.form in ("points", "both") else "none",
        "markerfacecolor": "none" if series.dashed else color,
        "drawstyle": "steps-post" if series.form == "steps" else "default",
    }
    axes.errorbar(series.x, series.y, xerr=_ends(series.x, series.x_ends), yerr=_ends(series.y, series.y_ends),
                  label=series.name, elinewidth=1, capsize=2, **style)  # fmt: skip


def _bars(bars: Sequence[Series], axes: Any) -> None:
    names = list(dict.fromkeys(name for series in bars for name in series.y))
    thick = 0.8 / len(bars)
    for place, series in enumerate(bars):
        color = GREY if series.color is None else COLORS[series.color % len(COLORS)]
        at = [names.index(name) - 0.4 + thick * (place + 0.5) for name in series.y]
        axes.barh(at, series.x, thick, xerr=_ends(series.x, series.x_ends), color=color, label=series.name,
                  hatch="//" if series.dashed else None, capsize=2, error_kw={"elinewidth": 1})  # fmt: skip
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()  # the first bar stands above


def _ends(points: Sequence[Any], ends: Sequence[tuple[float, float]]) -> list[list[float]] | None:
    """What Matplotlib takes as intervals: how far they go down and up."""
    if not ends:
        return None
    low = [max(0.0, float(at) - low) for at, (low, _) in zip(points, ends, strict=True)]
    return [low, [max(0.0, high - float(at)) for at, (_, high) in zip(points, ends, strict=True)]]
