"""The command ``recbole-aia protect``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recbole_aia.commands.options import refuse_misspelt_options
from recbole_aia.config.text import parse_arguments, refuse_arguments
from recbole_aia.errors import ConfigValueError

_HELP = """\
Protects user embeddings of any system, and writes them to a new file. It needs no model and no interactions.

  recbole-aia protect users.npz --labels users.csv '--attributes=[gender,age]' --out safe.npz --map map.npz
  recbole-aia protect --with map.npz new.npz --out new-safe.npz     # users who came later; no labels

One map of vectors is learned from the labels that are known, and moves everybody, with a label or without. Whoever
also has the old vectors learns a little more than these tell, the less the more users there are. Measure both, alone
and together: recbole-aia audit --embeddings safe.npz --labels users.csv --before users.npz

The map also protects users who come later. Keep it as confidential as the labels: it guesses them from old vectors.
"""

_FILES = """\
EMBEDDINGS and labels are files as 'recbole-aia audit --help' explains them. --out holds 'user_tokens' where the
embeddings have users, and 'embeddings', and nothing else: a file's 'table' and 'interactions' are not protected.
'--attributes={age: {bins: [30, 50]}}' cuts numbers into classes. Without --attributes, every column of the labels
with usable classes is hidden. EMBEDDINGS and --out may both be .npy files larger than memory; of more than a million
users, a million teach the map, and all are protected. Each attribute costs recommendations something, so name those
that matter.
"""

_OPTIONS = ("labels", "out", "map", "with", "attributes", "calibrated_labels", "device", "seed")


def add_parser(commands: Any) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "protect",
        help="protect user embeddings of any system, and users who come later",
        description=_HELP,
        epilog=_FILES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        usage="recbole-aia protect EMBEDDINGS (--labels FILE | --with MAP) --out FILE [--map FILE] [--key=value ...]",
    )
    parser.add_argument("embeddings", type=Path, metavar="EMBEDDINGS", help="user embeddings, one row a user")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="the users' attributes, to learn from")
    parser.add_argument("--with", type=Path, dest="kept", metavar="MAP", help="a map that --map kept, to protect with")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the new npz, or npy for an npy")
    parser.add_argument("--map", type=Path, metavar="FILE", help="also keep the map for later users; it must be new")
    parser.add_argument("--attributes", metavar="LIST", help="what to hide, such as [gender,age]")
    parser.add_argument(
        "--calibrated_labels",
        choices=["posterior", "own"],
        help="own: users move by their own labels. It costs less, but whoever has the old vectors reads the labels, "
        "and users without a label stay (default: posterior)",
    )
    parser.add_argument("--device", metavar="NAME", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--seed", type=int, metavar="N", help="of folds, random features and groups (default: 0)")
    parser.set_defaults(handle=_protect)


def _protect(arguments: argparse.Namespace, rest: Sequence[str]) -> int:
    refuse_misspelt_options(parse_arguments(rest), _OPTIONS)
    refuse_arguments(arguments.command, rest)
    if (arguments.labels is None) == (arguments.kept is None):
        raise ConfigValueError("give either --labels FILE, to learn from, or --with MAP, to protect later users.")
    own = arguments.calibrated_labels == "own"
    if arguments.kept is not None:
        for name in ("map", "attributes", "calibrated_labels", "device", "seed"):
            if getattr(arguments, name) is not None:
                raise ConfigValueError(f"--{name} goes with --labels. --with MAP learns nothing; leave --{name} out.")
    elif own and arguments.map is not None:
        raise ConfigValueError("--calibrated_labels=own makes no map: users move by their own labels. Leave --map out.")

    from recbole_aia.jobs.protect_files import protect_file, protect_later

    if arguments.kept is not None:
        lines = protect_later(arguments.embeddings, arguments.kept, arguments.out)
    else:
        lines = protect_file(
            arguments.embeddings, arguments.labels, arguments.out, arguments.map,
            attributes=arguments.attributes, own_labels=own, seed=arguments.seed or 0,
            device=arguments.device or "auto",
        )  # fmt: skip
    print("\n".join(lines))
    print(*(f"written to {file}" for file in (arguments.out, arguments.map) if file), sep="\n")
    return 0
