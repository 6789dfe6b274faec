"""The command ``recbole-aia compare``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from recbole_aia.commands.options import add_figures, asked_images
from recbole_aia.config.text import parse_arguments, parse_value
from recbole_aia.errors import ConfigValueError

_HELP = """\
Makes all runs of a grid, models x data sets x defenses x attributes x seeds x settings, and one table of them: mean
and 95 % interval over seeds, the best in bold, paired tests with Holm's correction.

  recbole-aia compare --models BPR LightGCN --defenses none raid calibrated --attributes '[[gender,age]]'
  recbole-aia compare --recipe raid-table2            # a paper's table, its numbers beside ours
  recbole-aia compare grid.yaml --jobs 2              # your own; copy a recipe and edit it
  recbole-aia compare grid.yaml --executor ray --address auto --gpus 0.5    # on a Ray cluster

Runs that exist are not made again, so an interrupted grid goes on where it stopped: repeat the command. A run that
fails is listed with its reason, and the others go on. --key=value goes to every run.
"""


def add_parser(commands: Any) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "compare",
        help="a grid of runs and the table of a paper",
        description=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        usage="recbole-aia compare [GRID.yaml | --recipe NAME | --models ... --defenses ...] [--key=value ...]",
    )
    parser.add_argument("grid", nargs="?", type=Path, metavar="GRID", help="a YAML file; the recipes are such files")
    parser.add_argument("--recipe", metavar="NAME", help="a table that comes with recbole-aia")
    parser.add_argument("--list-recipes", action="store_true", help="say what each recipe shows, needs and takes")
    parser.add_argument("--models", nargs="+", metavar="MODEL", help="models, in place of the grid's")
    parser.add_argument("--datasets", nargs="+", metavar="NAME", help="data sets (default: the grid's, or ml-100k)")
    parser.add_argument("--defenses", nargs="+", metavar="NAME", help="defenses at their defaults, without a grid")
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="only these lines of the grid")
    parser.add_argument("--attributes", metavar="LIST", help="[gender, age]: apart; [[gender, age]]: together")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="N", help="seeds (default: the grid's, or three)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time (default: 1)")
    parser.add_argument(
        "--executor", choices=("local", "ray", "none"), default="local",
        help="where the runs are made; none: nowhere, a table of those that are there (default: local)",
    )  # fmt: skip
    parser.add_argument("--address", metavar="ADDRESS", help="with ray: the cluster, such as auto (default: none)")
    parser.add_argument("--cpus", type=int, default=1, metavar="N", help="with ray: cores of a run (default: 1)")
    parser.add_argument("--gpus", type=float, default=0.0, metavar="N", help="with ray: GPUs of a run (default: 0)")
    parser.add_argument("--output_dir", type=Path, metavar="DIR", help="where the tables go (default: compare/NAME)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="where the runs are kept")
    add_figures(parser)
    parser.set_defaults(handle=_compare)


def _compare(arguments: argparse.Namespace, rest: Sequence[str]) -> int:
    from recbole_aia.config.recipes import recipes_text

    if arguments.list_recipes:
        print(recipes_text())
        return 0
    for name in ("jobs", "cpus"):
        if getattr(arguments, name) < 1:
            raise ConfigValueError(f"--{name} is {getattr(arguments, name)}. It must be at least 1.")
    if not 0 <= arguments.gpus < 1e3:
        raise ConfigValueError(f"--gpus is {arguments.gpus}. It must be a number >= 0.")
    from recbole_aia.jobs.compare import compare

    grid = _grid(arguments, rest)
    folder = arguments.output_dir or Path("compare") / grid.name
    images = asked_images(arguments)
    done = compare(grid, folder, execute=_executor(arguments), runs=arguments.runs, images=images)
    print(Path(done["files"]["markdown"]).read_text(encoding="utf-8"))
    print(f"{done['made']} runs made, {done['reused']} found, {done['failed']} failed; tables in {folder}/")
    return 0


def _executor(arguments: argparse.Namespace) -> Any:
    if arguments.executor == "ray":
        from recbole_aia.jobs.ray_executor import RayExecutor

        return RayExecutor(arguments.address, arguments.cpus, arguments.gpus)
    from recbole_aia.jobs.executors import run_local, run_none

    return run_none if arguments.executor == "none" else partial(run_local, jobs=arguments.jobs)


def _grid(arguments: argparse.Namespace, rest: Sequence[str]) -> Any:
    from recbole_aia.config.grid import Grid
    from recbole_aia.config.recipes import recipe

    given = [arguments.grid, arguments.recipe, arguments.defenses]
    if sum(each is not None for each in given) != 1:
        raise ConfigValueError("give a grid's file, --recipe NAME, or --models with --defenses; one of them.")
    attributes = None if arguments.attributes is None else parse_value(arguments.attributes)
    changes = {
        "models": arguments.models, "datasets": arguments.datasets, "seeds": arguments.seeds, "attributes": attributes,
    }  # fmt: skip
    if arguments.defenses is not None:
        values = {"methods": arguments.defenses, **{key: value for key, value in changes.items() if value is not None}}
        grid = Grid.of(values, "the command")
    else:
        grid = Grid.read(arguments.grid or recipe(arguments.recipe), **changes)
    return grid.narrowed(arguments.methods, parse_arguments(rest))
