"""The page to show: one self-contained HTML file made of a results.json alone."""

from recbole_aia.report.page.build import page, write_page

__all__ = ["page", "write_page"]
