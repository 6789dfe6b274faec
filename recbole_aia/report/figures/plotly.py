"""Figures as Plotly's JSON, for pages."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from textwrap import wrap
from typing import Any

from recbole_aia.report.figures.base import COLORS, GREY, Figure, Panel, Series

_MODES = {"line": "lines", "points": "markers", "both": "lines+markers", "steps": "lines"}
_GAP = 0.2  # of the height, between two panels
_LEGEND_ROW, _MARGINS = 24, 100  # pixels: of a row of the legend; above and below the axes
_WIDTH = 34  # letters of a line of a horizontal axis' title, which a phone has room for


def drawing(figure: Figure) -> dict[str, Any]:
    """The traces and the layout of a figure. Names are text in it, and never Plotly's HTML."""
    data, layout = list[dict[str, Any]](), dict[str, Any](shapes=[], annotations=[])
    count, named = len(figure.panels), set[str]()
    share = (1 - _GAP * (count - 1)) / count
    for place, panel in enumerate(figure.panels):
        number = "" if place == 0 else str(place + 1)
        top = 1 - place * (share + _GAP)
        for series in panel.series:
            data.append({**_trace(series, number), "showlegend": series.name not in named})
            named.add(series.name)
        layout[f"xaxis{number}"] = {
            **_axis(panel.x, panel.x_span, [each.x for each in panel.series]),
            "anchor": f"y{number}",
        }
        vertical = _axis(panel.y, panel.y_span, [each.y for each in panel.series], 2 * _WIDTH)
        layout[f"yaxis{number}"] = {**vertical, "domain": [max(0.0, top - share), top], "anchor": f"x{number}"}
        layout["shapes"] += [_line(number, x) for x, _ in panel.marks]
        layout["annotations"] += [_beside(number, x, text) for x, text in panel.marks if text]
        if panel.title and count > 1:
            layout["annotations"].append(_title(panel, top))
    layout["height"] = figure.height + _LEGEND_ROW * len(named)
    # What stands above the axes of the first panel has a line's height.
    above = count > 1 or any(text for _, text in figure.panels[0].marks)
    legend = 1 + (24 if above else 6) / (figure.height - _MARGINS)
    layout["legend"] = {"orientation": "h", "x": 0, "y": legend, "yanchor": "bottom"}
    if any(trace["type"] == "bar" for trace in data):
        layout["barmode"] = "group"
        layout["yaxis"]["autorange"] = "reversed"  # the first bar stands above
    return {"name": figure.name, "data": data, "layout": layout}


def _trace(series: Series, number: str) -> dict[str, Any]:
    color = GREY if series.color is None else COLORS[series.color % len(COLORS)]
    trace: dict[str, Any] = {
        "name": _safe(series.name), "legendgroup": _safe(series.name), "x": [_safe(x) for x in series.x],
        "y": [_safe(y) for y in series.y], "xaxis": f"x{number}", "yaxis": f"y{number}",
    }  # fmt: skip
    for side, points, ends in (("error_x", series.x, series.x_ends), ("error_y", series.y, series.y_ends)):
        if ends:
            trace[side] = {
                "type": "data", "symmetric": False, "color": GREY,
                "array": [max(0.0, high - float(at)) for at, (_, high) in zip(points, ends, strict=True)],
                "arrayminus": [max(0.0, float(at) - low) for at, (low, _) in zip(points, ends, strict=True)],
            }  # fmt: skip
    if series.form == "bars":
        shape = {"shape": "/"} if series.dashed else {}
        return {**trace, "type": "bar", "orientation": "h", "marker": {"color": color, "pattern": shape}}
    trace["line"] = {
        "color": color, "dash": "dot" if series.dashed else "solid",
        "shape": "hv" if series.form == "steps" else "linear",
    }  # fmt: skip
    trace["marker"] = {"size": 9, "color": color, "symbol": "circle-open" if series.dashed else "circle"}
    return {**trace, "type": "scatter", "mode": _MODES[series.form]}


def _axis(
    title: str, span: tuple[float, float] | None, points: Sequence[Sequence[Any]], width: int = _WIDTH
) -> dict[str, Any]:
    ends: dict[str, Any] = {"range": list(span)} if span else {}
    # Plotly would take texts for numbers or dates where it can.
    kind = {"type": "category"} if any(isinstance(each, str) for some in points for each in some) else {}
    text = "<br>".join(_safe(line) for line in wrap(title, width))
    return {"title": {"text": text}, "automargin": True, "zeroline": False, **kind, **ends}


def _line(number: str, x: float) -> dict[str, Any]:
    line = {"dash": "dot", "width": 1, "color": GREY}
    return {"type": "line", "x0": x, "x1": x, "xref": f"x{number}", "yref": f"y{number} domain", "y0": 0, "y1": 1,
            "line": line}  # fmt: skip


def _beside(number: str, x: float, text: str) -> dict[str, Any]:
    return {"text": _safe(text), "x": x, "y": 1, "xref": f"x{number}", "yref": f"y{number} domain", "xanchor": "left",
            "yanchor": "bottom", "showarrow": False, "font": {"size": 11}}  # fmt: skip


def _title(panel: Panel, top: float) -> dict[str, Any]:
    return {"text": _safe(panel.title), "x": 0, "y": top, "xref": "paper", "yref": "paper", "xanchor": "left",
            "yanchor": "bottom", "showarrow": False}  # fmt: skip


def _safe(value: Any) -> Any:
    """Plotly reads some HTML in texts, so that they have to be escaped. Numbers get as many digits as can be seen."""
    return escape(value, quote=False) if isinstance(value, str) else float(f"{value:.5g}")
