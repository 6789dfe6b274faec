"""The command ``recbole-aia export``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recbole_aia.config.text import refuse_arguments

_HELP = """\
Writes a trained or unlearned model for programs that use RecBole without recbole-aia.

  recbole-aia export safe --format recbole --out BPR-safe.pth

The file has RecBole's own format: recbole.quick_start.load_data_and_model opens it. It holds pickled objects, so give
it only to people who trust you. From torch 2.6 on, RecBole 1.2.1 opens checkpoints, even its own, only if
TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1 is set. For any other system, embeddings.npz beside a checkpoint has the users'
vectors.

After unlearning, LightGCN, NGCF, DMF and MultiVAE by default serve released vectors, for which RecBole has no place. To
export such a model, unlearn with --target=table (LightGCN, NGCF) or --target=tower (DMF, MultiVAE).
"""


def add_parser(commands: Any) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "export",
        help="write a model for vanilla RecBole",
        description=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder of a run, or a checkpoint of recbole-aia")
    parser.add_argument("--format", choices=["recbole"], default="recbole", help="whose format (default: recbole)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the file to write; it must be new")
    parser.set_defaults(handle=_export)


def _export(arguments: argparse.Namespace, rest: Sequence[str]) -> int:
    from recbole_aia.jobs.export import export_recbole

    refuse_arguments(arguments.command, rest)
    export_recbole(arguments.run, arguments.out)
    print(f"written to {arguments.out}")
    return 0
