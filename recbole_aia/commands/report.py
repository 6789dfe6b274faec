"""The command ``recbole-aia report``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recbole_aia.commands.options import add_figures, asked_images
from recbole_aia.config.text import refuse_arguments
from recbole_aia.errors import ConfigValueError

_HELP = """\
Makes the page to show of results that are there: how much leaks, to whom, what the defense changed, what it cost, how
sure this is, what is not protected, and how to reproduce it. The page is one file, opens from the disk, and needs no
network. Runs, audits and unlearnings write it by themselves.

  recbole-aia report runs/BPR-ml-100k-calibrated-seed2020-0a1b2c
  recbole-aia report runs/BPR-ml-100k-calibrated-seed2020-0a1b2c --figures figures --formats pdf,svg
"""


def add_parser(commands: Any) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "report",
        help="make the page to show of results",
        description=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a results.json, or a folder that has one")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="the page of one PATH (default: report.html beside it)"
    )
    add_figures(parser)
    parser.set_defaults(handle=_report)


def _report(arguments: argparse.Namespace, rest: Sequence[str]) -> int:
    refuse_arguments("report", rest)
    if arguments.out is not None and len(arguments.paths) > 1:
        raise ConfigValueError("--out is one page, and there are several results. Give one PATH, or leave --out out.")
    if arguments.figures is not None and len(arguments.paths) > 1:
        raise ConfigValueError("--figures is for one PATH, and there are several results. Give one PATH and a folder.")
    from recbole_aia.report import PAGE, read_results
    from recbole_aia.report.figures import figures
    from recbole_aia.report.figures.images import write_images
    from recbole_aia.report.page import write_page

    images = asked_images(arguments)
    found = [path / "results.json" if path.is_dir() else path for path in arguments.paths]
    read = [read_results(path) for path in found]
    for path, results in zip(found, read, strict=True):
        out = arguments.out or path.with_name(PAGE)
        write_page(results, out)
        print(f"written to {out}")
        if images is not None:
            files = write_images(figures(results), *images)
            print(f"{len(files)} files of figures in {arguments.figures}/")
    return 0
