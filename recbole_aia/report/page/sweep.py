"""The page of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recbole_aia.config.text import to_yaml
from recbole_aia.report.figures.sweep import sweep_figures
from recbole_aia.report.page.build import rendered
from recbole_aia.report.swept import Swept, front_table, unfinished


def sweep_page(swept: Swept, file: Mapping[str, Any]) -> str:
    """The page of a sweep as HTML: what was found, the plane of privacy and usefulness, and the front.

    Args:
        swept: the sweep.
        file: the sweep as the values of a YAML file that repeats it.
    """
    heads, rows, bold = front_table(swept)
    return rendered(
        "sweep.html",
        sweep_figures(swept),
        heading=f"A sweep of {swept.about}",
        about=f"Searched: {', '.join(swept.keys)}. Bound of the strongest attacker's advantage: {swept.bound:g}.",
        said=swept.said(),
        heads=heads,
        lines=list(zip(rows, bold, strict=True)),
        failed=unfinished(swept),
        grid=to_yaml(file),
        version="",
    )
