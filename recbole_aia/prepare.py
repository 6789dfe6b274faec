"""The command ``recbole-aia prepare``: makes datasets."""

from __future__ import annotations

import argparse
import shlex
import time
from pathlib import Path
from typing import Any

from recbole_aia.errors import ConfigValueError

_SYNTHETIC_HELP = """\
Generates interactions of two classes of users, a and b, who like different genres of items, and writes them
as the dataset 'synthetic', whose attribute 'group' is the class. So the leak is known, and any size can be had.
A user has from 5 interactions to half of the items; few users have many.

  recbole-aia prepare synthetic --users 6000 --items 3500 --interactions 500000
"""


def add_prepare(commands: argparse._SubParsersAction[Any]) -> None:
    """Adds the command, with one of its own for each dataset, to those of the command line."""
    parser = commands.add_parser(
        "prepare",
        help="make a dataset",
        description="Makes a dataset that 'recbole-aia run' can take. Each has its own --help.",
        allow_abbrev=False,
    )
    _add_synthetic(parser.add_subparsers(dest="source", required=True, metavar="DATASET"))


def prepare(arguments: argparse.Namespace) -> int:
    """Makes the dataset that the arguments ask for; returns the exit code.

    Raises:
        ConfigValueError: what is asked for is not possible.
    """
    return _prepare_synthetic(arguments)


def _add_synthetic(sources: argparse._SubParsersAction[Any]) -> None:
    parser = sources.add_parser(
        "synthetic",
        help="interactions of any size, with a planted attribute",
        description=_SYNTHETIC_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--users", type=int, required=True, metavar="N", help="number of users, at least 20")
    parser.add_argument("--items", type=int, required=True, metavar="N", help="number of items, each with a taker")
    parser.add_argument(
        "--interactions", type=int, required=True, metavar="N", help="number of different user-item pairs"
    )
    parser.add_argument(
        "--leak",
        type=float,
        default=1.0,
        metavar="X",
        help="0 to 10, how far apart the classes' tastes are: 0 plants nothing, 3 is plain to see (default: 1.0)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the random numbers (default: 0)")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("dataset"),
        metavar="DIR",
        help="the folder that gets the folder 'synthetic' (default: dataset)",
    )


def _prepare_synthetic(arguments: argparse.Namespace) -> int:
    import numpy as np

    from recbole_aia.data import synthetic

    start = time.perf_counter()
    sizes = arguments.users, arguments.items, arguments.interactions
    try:
        data = synthetic.generate(*sizes, leak=arguments.leak, seed=arguments.seed)
        synthetic.write(data, arguments.out)
    except MemoryError as error:
        raise ConfigValueError(
            "that is too much for this machine's memory. Ask for fewer users or interactions."
        ) from error
    classes = zip(synthetic.CLASSES, np.bincount(data.labels), strict=True)
    activity = np.bincount(data.users)
    print(
        "users {:,}, items {:,}, interactions {:,}\n".format(*sizes)
        + f"group: {', '.join(f'{name} {size:,}' for name, size in classes)}\n"
        + f"interactions of a user: median {np.median(activity):,.0f}, most {activity.max():,}\n"
        + f"written to {arguments.out / synthetic.NAME}/ in {time.perf_counter() - start:.1f} s. Next:\n\n"
        + "  recbole-aia run --model=BPR --dataset=synthetic "
        + shlex.quote(f"--data_path={arguments.out}")
        + " --defense=raid"
    )
    return 0
