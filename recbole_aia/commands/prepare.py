"""The command ``recbole-aia prepare``: makes datasets."""

from __future__ import annotations

import argparse
import json
import shlex
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_aia.config.text import parse_value, refuse_arguments
from recbole_aia.errors import ConfigValueError

if TYPE_CHECKING:
    from recbole_aia.data.converters import Converter, Labels
    from recbole_aia.data.synthetic import SyntheticData

_SYNTHETIC_HELP = """\
Generates interactions of two classes of users, a and b, who like different genres of items. Writes them as the
dataset 'synthetic', whose attribute 'group' is the class. The leak is known, and the dataset can have any size.
A user has from 5 interactions to half of the items; few users have many.

  recbole-aia prepare synthetic --users 6000 --items 3500 --interactions 500000

With --like it generates the twin of a published dataset, 'synthetic-NAME': as many users, items and interactions, and
its attributes with classes of the same sizes. What users like is invented, and so is the leak. A YAML file beside the
data has the settings to read it.

  recbole-aia prepare synthetic --like lfm-2b
"""

_RAW_HELP = """\
{title}.

Makes the dataset '{name}' from the raw files that its authors distribute, plain or gzip. Prints what was read, what
was dropped and why, and the classes; {name}.prepared.json beside the data says the same.
{source}

  recbole-aia prepare {name} --raw DIR
"""

_CSV_HELP = """\
Makes a dataset from any table of interactions and any table of users, both with a header, plain or gzip. Without
--users the table of interactions holds the attributes. Every row is kept, unless --core or --labels is given.

  recbole-aia prepare csv --name shop --raw DIR --interactions orders.csv --users customers.csv \\
    --user customer --item product --time ordered_at '--attributes={gender: , age: {bins: [30, 50], range: [5, 100]}}'
"""


def add_parser(commands: Any) -> None:
    """Declares the command, with a subcommand for each dataset."""
    parser = commands.add_parser(
        "prepare",
        help="make a dataset",
        description="Makes a dataset that 'recbole-aia run' can take. Each has its own --help.",
        allow_abbrev=False,
    )
    parser.set_defaults(handle=_prepare)
    parser.fill = lambda: _add_sources(parser)


def _add_sources(parser: argparse.ArgumentParser) -> None:
    from recbole_aia.data.converters import CONVERTERS

    sources = parser.add_subparsers(dest="source", required=True, metavar="DATASET")
    _add_synthetic(sources)
    for converter in CONVERTERS.values():
        _add_raw(sources, converter)
    _add_csv(sources)


def _prepare(arguments: argparse.Namespace, rest: Sequence[str]) -> int:
    refuse_arguments(f"prepare {arguments.source}", rest)
    return _prepare_synthetic(arguments) if arguments.source == "synthetic" else _prepare_raw(arguments)


def _add_raw(sources: argparse._SubParsersAction[Any], converter: Converter) -> None:
    name = converter.name
    parser = sources.add_parser(
        name,
        help=converter.title,
        description=_RAW_HELP.format(name=name, title=converter.title, source=converter.source),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--raw", type=Path, required=True, metavar="DIR", help="the folder with the raw files")
    _add_options(parser, name, converter.core, converter.labels)


def _add_csv(sources: argparse._SubParsersAction[Any]) -> None:
    parser = sources.add_parser(
        "csv",
        help="any interactions table and any user table",
        description=_CSV_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for option, metavar, required, meaning in (
        ("--name", "NAME", True, "the name that the dataset gets"),
        ("--interactions", "FILE", True, "the table of interactions, in the folder --raw"),
        ("--users", "FILE", False, "the table of users, in the folder --raw"),
        ("--user", "COLUMN", True, "the column of users, in both tables"),
        ("--item", "COLUMN", True, "the column of items"),
        ("--time", "COLUMN", False, "the column of times: numbers or dates"),
        ("--rating", "COLUMN", False, "the column of ratings; if a pair is repeated, its last rating counts"),
        ("--attributes", "LIST", True, "columns such as [gender,age], or a mapping of names to specifications"),
    ):
        parser.add_argument(option, metavar=metavar, required=required, help=meaning)
    parser.add_argument("--raw", type=Path, required=True, metavar="DIR", help="the folder with the files")
    separators = ("comma", "semicolon", "tab")
    parser.add_argument("--separator", choices=separators, default="comma", help="between values (default: comma)")
    parser.add_argument("--encoding", default="utf-8", metavar="NAME", help="encoding of the files (default: utf-8)")
    _add_options(parser, "NAME", 1, "none")


def _add_options(parser: argparse.ArgumentParser, name: str, core: int, labels: Labels) -> None:
    from recbole_aia.data.converters import CONFLICTS, LABELS

    parser.add_argument(
        "--core",
        type=int,
        metavar="N",
        default=core,
        help=f"interactions that every user and item has at least; 1 keeps all (default: {core})",
    )
    parser.add_argument(
        "--labels",
        choices=LABELS,
        default=labels,
        help=f"keep users with a label for every attacked attribute, for some, or all users (default: {labels})",
    )
    parser.add_argument(
        "--conflicts",
        choices=CONFLICTS,
        default="majority",
        help="which value counts if rows give a user several; drop: none (default: majority)",
    )
    _add_out(parser, name)


def _add_out(parser: argparse.ArgumentParser, name: str) -> None:
    parser.add_argument(
        "--shards",
        action="store_true",
        help=f"write interactions as '{name}.shards', a file for each column, which runs map into memory, in place of "
        f"'{name}.inter'; for more than memory takes as text",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("dataset"),
        metavar="DIR",
        help=f"the folder that gets the folder '{name}' (default: dataset)",
    )


def _prepare_raw(arguments: argparse.Namespace) -> int:
    from recbole_aia.data.converters import CONVERTERS, Options
    from recbole_aia.data.converters import prepare as convert

    start = time.perf_counter()
    converter, further = CONVERTERS.get(arguments.source), ""
    if converter is None:
        converter, further = _csv_converter(arguments)
    options = Options(arguments.core, arguments.labels, arguments.conflicts, arguments.shards)
    summary = convert(converter, arguments.raw, arguments.out, options)
    print(summary.text() + "\n" + _written(summary.dataset, arguments.out, start) + further)
    return 0


def _csv_converter(arguments: argparse.Namespace) -> tuple[Converter, str]:
    """The converter, and the arguments that a run needs in place of a property file."""
    from recbole_aia.data.converters import csv_tables

    columns = {name: getattr(arguments, name) for name in ("user", "item", "time", "rating")}
    converter = csv_tables(
        arguments.name,
        arguments.interactions,
        arguments.users,
        columns,
        parse_value(arguments.attributes),
        arguments.separator,
        arguments.encoding,
    )
    order = "TO" if arguments.time else "RO"
    written = ["user_id", "item_id", *converter.merge, *(["timestamp"] if arguments.time else [])]
    loaded = json.dumps(written, ensure_ascii=False)
    split = f"{{split: {{LS: valid_and_test}}, group_by: user, order: {order}, mode: full}}"
    settings = (f"--attributes={arguments.attributes}", f"--load_col={{inter: {loaded}}}")
    return converter, "".join(f" {shlex.quote(word)}" for word in (*settings, f"--eval_args={split}"))


def _written(name: str, out: Path, start: float, settings: Path | None = None) -> str:
    read = "" if settings is None else f" --config_files {shlex.quote(str(settings))}"
    return (
        f"written to {out / name}/ in {time.perf_counter() - start:.1f} s. Next:\n\n"
        f"  recbole-aia run --model=BPR --dataset={name} {shlex.quote(f'--data_path={out}')}{read} --defense=calibrated"
    )


def _add_synthetic(sources: argparse._SubParsersAction[Any]) -> None:
    from recbole_aia.data.twins import SHAPES

    parser = sources.add_parser(
        "synthetic",
        help="interactions of any size, with planted attributes",
        description=_SYNTHETIC_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--users", type=int, metavar="N", help="number of users, at least 20")
    parser.add_argument("--items", type=int, metavar="N", help="number of items; each is used")
    parser.add_argument("--interactions", type=int, metavar="N", help="number of different user-item pairs")
    parser.add_argument(
        "--like", choices=SHAPES, metavar="NAME", help=f"in place of these numbers: one of {', '.join(SHAPES)}"
    )
    parser.add_argument(
        "--scale",
        type=float,
        metavar="X",
        help="with --like: X of the users and the root of X of the items, 0 to 1; a user has as many interactions "
        "(default: 1)",
    )
    parser.add_argument(
        "--leak",
        type=float,
        default=1.0,
        metavar="X",
        help="distance of the classes' tastes, 0 to 10: 0 is no leak, 3 is easy to see (default: 1.0)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the random numbers (default: 0)")
    _add_out(parser, "synthetic")


def _prepare_synthetic(arguments: argparse.Namespace) -> int:
    import numpy as np

    from recbole_aia.data import synthetic, twins
    from recbole_aia.data.atomic import scratch_folder

    start = time.perf_counter()
    _check_sizes(arguments)
    name = synthetic.NAME if arguments.like is None else f"{synthetic.NAME}-{arguments.like}"
    try:
        with scratch_folder(arguments.out, name) if arguments.shards else nullcontext() as scratch:
            data, settings = _synthetic_data(arguments, scratch)
            activity, n_items = synthetic.activity(data), int(data.items.max()) + 1
    except MemoryError as error:
        raise ConfigValueError(
            "that is too much for this machine's memory. Ask for fewer users or interactions, or for --shards."
        ) from error
    print(f"users {len(activity):,}, items {n_items:,}, interactions {len(data.items):,}")
    for attribute, labels in zip(data.attributes, data.labels.T, strict=True):
        classes = zip(attribute.classes, np.bincount(labels, minlength=len(attribute.classes)), strict=True)
        equal = "" if twins.is_known(attribute) else " (published sizes are not known: equal)"
        print(f"{attribute.name}: {', '.join(f'{each} {size:,}' for each, size in classes)}{equal}")
    print(f"interactions of a user: median {np.median(activity):,.0f}, most {activity.max():,}")
    print(_written(name, arguments.out, start, settings))
    return 0


def _synthetic_data(arguments: argparse.Namespace, scratch: Path | None) -> tuple[SyntheticData, Path | None]:
    """The data, written, and the file of settings to read them with."""
    from recbole_aia.data import synthetic, twins

    if arguments.like is None:
        sizes = arguments.users, arguments.items, arguments.interactions
        data = synthetic.generate(*sizes, leak=arguments.leak, seed=arguments.seed, folder=scratch)
        synthetic.write(data, arguments.out, shards=arguments.shards)
        return data, None
    scale = 1.0 if arguments.scale is None else arguments.scale
    data = twins.twin(arguments.like, scale=scale, leak=arguments.leak, seed=arguments.seed, folder=scratch)
    return data, twins.write_twin(arguments.like, data, arguments.out, shards=arguments.shards)


def _check_sizes(arguments: argparse.Namespace) -> None:
    """Refuses sizes that are missing, and sizes beside the name of a dataset that has its own."""
    sizes = {f"--{name}": getattr(arguments, name) for name in ("users", "items", "interactions")}
    given = [name for name, value in sizes.items() if value is not None]
    if arguments.like is not None and given:
        raise ConfigValueError(f"--like {arguments.like} has its own sizes. Leave {', '.join(given)} out, or --like.")
    if arguments.like is None and len(given) < len(sizes):
        missing = ", ".join(name for name in sizes if name not in given)
        raise ConfigValueError(f"prepare synthetic: {missing} missing. Give all three sizes, or --like NAME.")
    if arguments.like is None and arguments.scale is not None:
        raise ConfigValueError("--scale makes the twin of a dataset smaller, and no --like names one.")
