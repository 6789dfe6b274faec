"""The command ``recbole-aia unlearn``."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recbole_aia.commands.options import refuse_misspelt_options, with_flags
from recbole_aia.config.text import parse_arguments
from recbole_aia.errors import ConfigValueError

_HELP = """\
Reads a trained checkpoint and writes another, which hides the requested attributes. The first checkpoint stays as it
is. Attackers measure both.

With calibrated, attackers who see only the new vectors are at chance or close to it in our measurements
(docs/results.md). One map moves all who ask, with a label or without. Old vectors still tell what they told, and the
new ones add a little. attrcloak, u2u, d2d, --calibrated_labels=own and --leace_labels=own move users by their own
labels, and users without a label are not protected: whoever also has the old vectors reads the labels.

  recbole-aia unlearn --checkpoint runs/BPR-.../checkpoint.pth --attributes=[gender] --output_dir safe
  recbole-aia unlearn --checkpoint model.pth --attributes=[gender] --users ids.txt --mode data_free --output_dir safe

A ledger keeps the requests. The protected model is made from the first checkpoint and all requests that stand:

  recbole-aia unlearn --output_dir safe --add --attributes=[age] --users ids.txt
  recbole-aia unlearn --output_dir safe --withdraw 1
  recbole-aia unlearn --output_dir safe --list

Withdrawing a request gives bit for bit the model that never had it, on a CPU with the same versions of recbole-aia and
torch (the ledger names them). Otherwise, and always on CUDA, it matches up to rounding. Whoever received an earlier
release still has it: together with a later one it shows who moved, and the labels of those who moved by their own.

After unlearning, LightGCN, NGCF, DMF and MultiVAE serve released vectors, for which RecBole itself has no place. To get
a model that 'recbole-aia export' can write, begin with --target=table (LightGCN, NGCF) or --target=tower (DMF,
MultiVAE).
"""

_FILES = """\
users:   a text file with a user in each line; or a tenth of all users: core:0.1 (most active), edge:0.1 (least
         active), random:0.1
output:  embeddings.npz (the users' vectors, for any system), results.json, config.yaml, run.log;
         activity.csv (how many interactions each user has): keep it to yourself, attackers who know it read more;
         checkpoint.pth (plain data) and ledger.json: both say who asked for what, so keep them to yourself;
         base.pth: a --trust_checkpoint as plain data. It is the unprotected model, so keep it to yourself too.
         The ledger names any other checkpoint by its absolute path, so do not move it
more settings, as --key=value: settings of the defense and of the attack, see recbole-aia run --help. The attack's
defaults are the checkpoint's own settings; '--attack_views=[served,table]' for example changes what is attacked
"""


# The layout of a defense's keys under its name.
_KEYS: dict[str, Any] = {"width": 120, "initial_indent": " " * 15, "subsequent_indent": " " * 21}


def add_parser(commands: Any) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "unlearn",
        help="hide attributes of the users of a trained checkpoint",
        description=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        usage="recbole-aia unlearn --output_dir DIR (--checkpoint FILE | --add | --withdraw N | --list) [--key=value]",
    )
    parser.add_argument("--output_dir", type=Path, required=True, metavar="DIR", help="for the protected model")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="the trained model, or the folder of a run")
    parser.add_argument(
        "--defense", metavar="NAME", help="a defense after training, listed below (default: calibrated)"
    )
    parser.add_argument("--attributes", metavar="LIST", help="what to hide, such as [gender,age]")
    parser.add_argument("--users", metavar="WHO", help="who asks (default: everybody)")
    parser.add_argument(
        "--mode",
        choices=["data_dependent", "data_free"],
        help="for calibrated and attrcloak: with interactions, or without (default: the defense's own)",
    )
    parser.add_argument(
        "--device",
        default="auto",
        metavar="NAME",
        help="where to compute this time: auto, cpu, cuda or cuda:N (default: auto); the ledger does not keep it",
    )
    parser.add_argument("--add", action="store_true", help="add a request to the ledger in DIR")
    parser.add_argument("--withdraw", type=int, metavar="N", help="withdraw request N")
    parser.add_argument("--list", action="store_true", help="print the ledger")
    parser.add_argument(
        "--trust_checkpoint",
        action="store_true",
        help="load a checkpoint that RecBole pickled; loading it can run code, so know where it is from",
    )
    parser.add_argument(
        "--resume", action="store_true", help="only go on with what was interrupted; the same command does it by itself"
    )
    parser.set_defaults(handle=_unlearn)
    parser.fill = lambda: _list_defenses(parser)


def _list_defenses(parser: argparse.ArgumentParser) -> None:
    from recbole_aia.config.properties import first_line
    from recbole_aia.trainer import unlearners

    lines = []
    for name, each in unlearners().items():
        lines += [f"  {name:<12} {first_line(each)}", *textwrap.wrap(f"keys: {', '.join(each.keys)}", **_KEYS)]
    parser.epilog = "\n".join(["defenses, and the keys of each:", *lines, "", _FILES])


def _unlearn(arguments: argparse.Namespace, rest: Sequence[str]) -> int:
    from recbole_aia.jobs import unlearn
    from recbole_aia.storage.progress import interrupted_job, nothing_interrupted

    rest = with_flags(rest)
    refuse_misspelt_options(parse_arguments(rest), list(vars(arguments)))
    ways = {
        "--checkpoint": arguments.checkpoint is not None,
        "--add": arguments.add,
        "--withdraw": arguments.withdraw is not None,
        "--list": arguments.list,
    }
    given = [name for name, is_given in ways.items() if is_given]
    if len(given) != 1:
        what = f"{' and '.join(given)} are given" if given else "nothing is asked for"
        raise ConfigValueError(f"{what}. Give one of {', '.join(ways)}.")
    if (arguments.attributes is None) == (given[0] in ("--checkpoint", "--add")):
        raise ConfigValueError("--checkpoint and --add need --attributes=[...], what to hide; others take none.")
    if arguments.users is not None and given[0] not in ("--checkpoint", "--add"):
        raise ConfigValueError(f"--users says who makes a request, and {given[0]} makes none. Leave it out.")
    if given[0] != "--checkpoint" and (rest or arguments.defense or arguments.mode or arguments.trust_checkpoint):
        raise ConfigValueError(f"{given[0]} keeps the settings that the ledger began with. Leave the others out.")
    if arguments.resume and interrupted_job(arguments.output_dir) is None:
        raise nothing_interrupted(arguments.output_dir)
    if given == ["--list"]:
        print(unlearn.standing(arguments.output_dir))
    elif given == ["--withdraw"]:
        unlearn.withdraw(arguments.output_dir, arguments.withdraw, arguments.device)
    else:
        asked = unlearn.RequestOptions(arguments.attributes, arguments.users, arguments.device)
        if given == ["--add"]:
            unlearn.add(arguments.output_dir, asked)
        else:
            defense = arguments.defense or "calibrated"
            argv = [*rest, *_mode(defense, arguments.mode)]
            unlearn.begin(arguments.checkpoint, defense, asked, arguments.output_dir, arguments.trust_checkpoint, argv)
    return 0


def _mode(defense: str, mode: str | None) -> list[str]:
    """Turns ``--mode`` into the defense's own key, such as ``--attrcloak_mode``."""
    from recbole_aia.config.registry import keys_of
    from recbole_aia.trainer import unlearners

    if mode is None:
        return []
    reading = [name for name, each in unlearners().items() if f"{name}_mode" in keys_of(each)]
    if defense not in reading:
        raise ConfigValueError(f"--mode is for {' and '.join(reading)}, and the defense is {defense}. Leave it out.")
    return [f"--{defense}_mode={mode}"]
