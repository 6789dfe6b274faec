"""The figures of results: one function each, drawn on pages and into files from the same numbers."""

from recbole_aia.report.figures.base import Figure, Panel, Series
from recbole_aia.report.figures.results import figures

__all__ = ["Figure", "Panel", "Series", "figures"]
