"""The command ``recbole-aia run``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from textwrap import fill
from typing import Any

_RUN_HELP = """\
Trains a recommender twice with the same seed and data, without and with a defense. Attackers then infer user
attributes from the user embeddings of both, and a table shows what they gain. Every RecBole key and every
key below can be given as --key=value or in a YAML file. Results go to --output_dir.

  recbole-aia run --model=LightGCN --dataset=ml-100k --defense=calibrated '--attributes=[gender,age]'
"""


def add_parser(commands: Any) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "run",
        help="train with and without a defense, attack both, print the table",
        description=_RUN_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
        usage="recbole-aia run --model=MODEL [--dataset=ml-100k] [--defense=none] [--key=value ...]",
    )
    parser.add_argument("-h", "--help", action="store_true", help="show this help")
    parser.add_argument("-m", "--model", help="a model with a view; they are listed below")
    parser.add_argument("-d", "--dataset", help="dataset name; ml-100k comes with RecBole and is the default")
    parser.add_argument("--config_files", nargs="+", metavar="FILE", help="YAML files; later ones win")
    parser.add_argument(
        "--resume", action="store_true", help="go on with the interrupted run in --output_dir, whose settings it takes"
    )
    parser.set_defaults(handle=partial(_run, parser=parser))


def _run(arguments: argparse.Namespace, rest: Sequence[str], parser: argparse.ArgumentParser) -> int:
    if arguments.help:
        print(parser.format_help() + _keys_help())
        return 0
    from recbole_aia.commands.options import with_flags
    from recbole_aia.quick_start import run_recbole_aia

    # RecBole accepts several file names in one quoted word, so we do too.
    files = [f for word in arguments.config_files or [] for f in ([word] if Path(word).is_file() else word.split())]
    if arguments.resume:
        files = [*_interrupted_config(rest), *files]
        rest = [*rest, "--resume=True"]
    named = {key: getattr(arguments, key) for key in ("model", "dataset") if getattr(arguments, key) is not None}
    run_recbole_aia(
        config_file_list=files, argv=[*(f"--{key}={value}" for key, value in named.items()), *with_flags(rest)]
    )
    return 0


def _interrupted_config(rest: Sequence[str]) -> list[str]:
    """The configuration of the interrupted run in the ``--output_dir`` among arguments; without one none.

    Raises:
        ConfigValueError: no run was interrupted in that folder.
    """
    from recbole_aia.config.text import parse_arguments
    from recbole_aia.storage.progress import CONFIG, nothing_interrupted

    folder = parse_arguments(rest).get("output_dir")
    if not folder:
        return []
    if not (Path(str(folder)) / CONFIG).is_file():
        raise nothing_interrupted(folder)
    return [str(Path(str(folder)) / CONFIG)]


def _keys_help() -> str:
    from recbole_aia.config.properties import help_text
    from recbole_aia.evaluator import registered_attackers
    from recbole_aia.model import registered_views

    models, attackers = ", ".join(registered_views()), ", ".join(registered_attackers())
    lists = fill(f"models: {models}", 110) + "\n\n" + fill(f"attackers: {attackers}", 110)
    return f"\n{lists}\n\nkeys and their defaults:\n\n{help_text()}"
