"""Fills the template of the page."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from recbole_aia.evaluator.report import interval_text
from recbole_aia.report.figures import Figure, figures
from recbole_aia.report.figures.plotly import drawing as plotly_drawing
from recbole_aia.report.page import sentences
from recbole_aia.storage.files import write_whole


def write_page(results: Mapping[str, Any], path: Path) -> None:
    """Writes the page of a results.json as one file, whole or not at all."""
    text = page(results)
    write_whole(path, lambda aside: aside.write_text(text, encoding="utf-8"))


def page(results: Mapping[str, Any]) -> str:
    """The page of a run, an audit or an unlearning: HTML with all that it needs, under 5 MB.

    Args:
        results: the content of a results.json.

    Returns:
        HTML. Names of attributes, classes and data are text wherever they stand.
    """
    return rendered(
        "page.html",
        figures(results),
        results=results,
        version=results["run"]["versions"].get("recbole-aia", ""),
        kind=_kind(results),
        verdicts=sentences.verdicts(results),
        sections=[
            ("How much leaks", sentences.how_much(results)),
            ("To whom", sentences.to_whom(results)),
            ("What the defense changed", sentences.what_changed(results)),
            ("What it cost", sentences.what_it_cost(results)),
            ("Who is served how well", sentences.who_is_served(results)),
            ("Those who asked", sentences.those_who_asked(results)),
            ("How sure this is", sentences.how_sure(results)),
            ("What is not protected", sentences.not_protected(results)),
        ],
        rows=_rows(results),
        utility=_utility(results),
        classes=results["data"]["attributes"],
    )


def rendered(name: str, drawn: Sequence[Figure], **values: Any) -> str:
    """A template with its values, its figures and all that they need."""
    script = _plotly() if drawn else None
    drawing = _script([plotly_drawing(each) for each in drawn])
    text: str = (
        _templates()
        .get_template(name)
        .render(figures=drawn if script else [], undrawn=script == "", drawing=drawing, plotly=script or "", **values)
    )
    return text


def _kind(results: Mapping[str, Any]) -> str:
    if "audit" in results:
        return "audit"
    return "unlearning" if "unlearned" in results else "run"


def _rows(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A line of the table for each attack."""
    return [
        {
            "cells": [
                row["attribute"], row["state"], row["view"], row["attacker"], f"{row['leak_ratio']:.2f}",
                interval_text(row["metrics"]["advantage"]), f"{row['floor']['permuted_advantage95']:.3f}",
                f"{row['metrics']['auc']['mean']:.3f}", f"{row['metrics']['balanced_accuracy']['mean']:.3f}",
            ],
            "above": row["metrics"]["advantage"]["mean"] > row["floor"]["permuted_advantage95"],
        }
        for row in results["attacks"]
    ]  # fmt: skip


def _utility(results: Mapping[str, Any]) -> list[list[str]]:
    states = [state for state in ("undefended", "defended") if state in results.get("utility", {})]
    metrics = results["utility"][states[0]] if states else {}
    return [[name.upper(), *(f"{results['utility'][state][name]:.4f}" for state in states)] for name in metrics]


def _script(value: Any) -> str:
    """JSON that can stand in a script: no text in it ends the script or begins a comment."""
    return json.dumps(value).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@cache
def _plotly() -> str:
    """Plotly's script, packed and as base64, a third of its size.

    It is empty where the package is missing, as it can be after an installation with ``--no-deps``.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        return ""
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()


@cache
def _templates() -> Any:
    environment = Environment(
        loader=PackageLoader("recbole_aia.report.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["thousands"] = lambda count: f"{count:,}"
    return environment
