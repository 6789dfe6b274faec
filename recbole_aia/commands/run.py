"""The command ``recbole-aia run``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from textwrap import fill
from typing import Any

from recbole_aia.config.keys import Count, check_values
from recbole_aia.config.text import parse_value
from recbole_aia.errors import ConfigValueError
from recbole_aia.launch import place, start

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
    together = parser.add_argument_group("several processes, as torchrun starts them")
    together.add_argument("--nproc", metavar="N", help="how many to start on this machine; 1 by default")
    together.add_argument("--world_size", metavar="N", help="how many there are on all machines")
    together.add_argument("--group_offset", metavar="N", help="the number of the first on this machine, from 0")
    together.add_argument("--ip", help="the machine of the first; localhost by default")
    together.add_argument("--port", metavar="N", help="a free port of that machine; 5678 with several machines")
    parser.set_defaults(handle=partial(_run, parser=parser))


def _run(arguments: argparse.Namespace, rest: Sequence[str], parser: argparse.ArgumentParser) -> int:
    if arguments.help:
        print(parser.format_help() + _keys_help())
        return 0
    if (asked := _processes(arguments)) is not None:
        return start(["run", *_again(arguments), *rest], **asked)
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


def _processes(arguments: argparse.Namespace) -> dict[str, Any] | None:
    """The processes to start, as :func:`~recbole_aia.launch.start` takes them; ``None`` if this one does the run.

    Raises:
        ConfigValueError: the numbers are none, or do not fit each other, or torchrun has started the processes already.
    """
    given = {key: getattr(arguments, key) for key in ("nproc", "world_size", "group_offset", "port")}
    found = {key: parse_value(value) for key, value in given.items() if value is not None}
    keys = {"nproc": Count(1, "", low=1, high=4096), "world_size": Count(-1, "", low=-1), "port": Count(0, "", low=1)}
    check_values(found, {**keys, "group_offset": Count(0, "")})
    nproc, offset = found.get("nproc", 1), found.get("group_offset", 0)
    world_size = max(found.get("world_size", -1), -1)
    world_size = nproc if world_size < 1 else world_size
    if world_size == 1:
        return None
    if place().count > 1:
        raise ConfigValueError("nproc is given to a process that torchrun has started. Leave --nproc out.")
    if offset + nproc > world_size:
        raise ConfigValueError(
            f"group_offset is {offset}, nproc {nproc} and world_size {world_size}: the last process would be number "
            f"{offset + nproc}. Raise world_size, or lower one of the others."
        )
    ip = arguments.ip or "localhost"
    return {"nproc": nproc, "world_size": world_size, "ip": ip, "port": found.get("port"), "offset": offset}


def _again(arguments: argparse.Namespace) -> list[str]:
    """The words from which the same arguments are read, without those of several processes."""
    named = [f"--{key}={getattr(arguments, key)}" for key in ("model", "dataset") if getattr(arguments, key)]
    files = ["--config_files", *arguments.config_files] if arguments.config_files else []
    return [*named, *(["--resume"] if arguments.resume else []), *files]


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
