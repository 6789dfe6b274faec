"""The command line: ``recbole-aia COMMAND``, and ``run_recbole_aia.py``, which is ``recbole-aia run``."""

from __future__ import annotations

import argparse
import difflib
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from recbole_aia import cli_export, cli_unlearn
from recbole_aia.errors import AIAError, ConfigValueError
from recbole_aia.keys import KEYS
from recbole_aia.prepare import add_prepare, prepare
from recbole_aia.text import parse_arguments

_RUN_HELP = """\
Trains a recommender twice with the same seed and data, without and with a defense, lets attackers infer
user attributes from the user embeddings of both, and prints what they gain. Every RecBole key and every
key below can be given as --key=value or in a YAML file. Results go to --output_dir.

  recbole-aia run --model=LightGCN --dataset=ml-100k --defense=raid '--attributes=[gender,age]'
"""

_AUDIT_HELP = """\
Measures what user embeddings give away. Attackers learn from some users' embeddings and labels (gender, age, ...)
and then guess the labels of users they have not seen. Nothing is trained but the attackers, nothing is changed.

  any system's embeddings:   recbole-aia audit --embeddings users.npy --labels users.csv
  a run of recbole-aia:      recbole-aia audit runs/BPR-ml-100k-raid-seed2020-1a2b3c
  a trained checkpoint:      recbole-aia audit --checkpoint saved/model.pth

The table shows, for each attribute and attacker, the advantage: 0 is no better than guessing, 1 is certainty. An
advantage below the floor in its row is what chance alone reaches, and no evidence of a leak. The worst case over
the attackers and views is what counts. The exit code is 0, with --fail_above 1 where a worst case exceeds it, and 2
where something is wrong with the input; 3 means that the program failed, and nothing about the leak.

users.csv lists each user with the true class and how sure the strongest attacker is of it, so it is as confidential
as the labels.
"""

_AUDIT_FILES = """\
embeddings:
  .npz      'embeddings' [users x dimensions], and 'user_tokens' with the users' names; recbole-aia's embeddings.npz
  .csv .tsv a header, a column of users (called user_id or user, or first and not numeric), and numbers
  .parquet  the same; needs pyarrow (pip install pyarrow)
  .npy      rows only, no users: row i belongs to line i of the labels, and there must be as many

labels:
  Commas, semicolons or tabs, a header, a column of users (called user_id or user, or the first) and one line a user,
  such as RecBole's .user files. Without --attributes, every column that can be attacked is.

more settings, as --key=value (recbole-aia run --help lists them with their defaults):
  '--attack_views=[served,top_k,scores,profile]' of a run or a checkpoint: vectors, recommendation lists, scores of
  all items, and the interactions themselves, which are a ceiling and count in no worst case
  '--attackers=[logistic,mlp]'  --attack_folds=5  --attack_repeats=2  --attack_permutations=200  --attack_jobs=1
  --seed=2020  --show_progress=False  '--attributes={age: {bins: [30, 50]}}'
  of a run or a checkpoint also any key of its configuration, such as --data_path=DIR for data that have moved
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, like every other error."""
        print(f"recbole-aia: {message}. See '{self.prog} --help'.", file=sys.stderr)
        raise SystemExit(2)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        argv: the arguments; ``None`` takes those of the process.

    Returns:
        The exit code: 0; 1 where an audit's gate is closed; 2 for anything that the user can mend; 3 for a mistake
        of ours, which must not pass for a verdict.
    """
    # RecBole's own deprecations: nothing a user can mend, and they tear the progress bars.
    warnings.filterwarnings("ignore", module=r"recbole\.")
    parser, run_parser = _parsers()
    arguments, rest = parser.parse_known_args(argv)
    handle: dict[str, Callable[[argparse.Namespace, Sequence[str]], int]] = {
        "run": partial(_run, parser=run_parser),
        "audit": _audit,
        "unlearn": cli_unlearn.run,
        "export": cli_export.run,
    }
    try:
        if arguments.command in handle:
            return handle[arguments.command](arguments, rest)
        if rest:
            parser.error(f"unknown argument '{rest[0]}'")
        if arguments.command == "prepare":
            return prepare(arguments)
        from recbole_aia.doctor import doctor

        return doctor()
    except AIAError as error:
        print(f"recbole-aia: {error}", file=sys.stderr)
        return 2
    except Exception:
        traceback.print_exc()
        print("recbole-aia: this is a mistake of recbole-aia. Please report it with the lines above.", file=sys.stderr)
        return 3


def _parsers() -> tuple[_Parser, _Parser]:
    parser = _Parser(
        prog="recbole-aia",
        allow_abbrev=False,
        description="What do my user embeddings give away, and how do I stop it without hurting recommendations?",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    run = commands.add_parser(
        "run",
        help="train with and without a defense, attack both, print the table",
        description=_RUN_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
        usage="recbole-aia run --model=MODEL [--dataset=ml-100k] [--defense=none] [--key=value ...]",
    )
    run.add_argument("-h", "--help", action="store_true", help="show this help")
    run.add_argument("-m", "--model", help="BPR, DMF, LightGCN, NGCF or NeuMF")
    run.add_argument("-d", "--dataset", help="dataset name; ml-100k comes with RecBole and is the default")
    run.add_argument("--config_files", nargs="+", metavar="FILE", help="YAML files; later ones win")
    _add_audit(commands)
    cli_unlearn.add_parser(commands)
    cli_export.add_parser(commands)
    add_prepare(commands)
    commands.add_parser(
        "doctor",
        help="check this installation",
        description="Checks that RecBole and what it needs work here, and says what to do where they do not.",
        allow_abbrev=False,
    )
    return parser, run


def _add_audit(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = commands.add_parser(
        "audit",
        help="attack what is already there: embeddings of any system, a run, a checkpoint",
        description=_AUDIT_HELP,
        epilog=_AUDIT_FILES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        usage="recbole-aia audit (RUN | --checkpoint FILE | --embeddings FILE --labels FILE) [--key=value ...]",
    )
    parser.add_argument("run", nargs="?", type=Path, metavar="RUN", help="the folder of a run of recbole-aia")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="a checkpoint of recbole-aia or RecBole")
    parser.add_argument("--embeddings", type=Path, metavar="FILE", help="user embeddings, one row a user")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="the users' attributes, for --embeddings")
    parser.add_argument("--attributes", metavar="LIST", help="what to attack, such as [gender,age]")
    parser.add_argument(
        "--output_dir", type=Path, metavar="DIR", help="for results.json and users.csv (default: under runs/)"
    )
    parser.add_argument("--fail_above", type=float, metavar="X", help="exit code 1 when an advantage exceeds X")
    parser.add_argument(
        "--trust_checkpoint",
        action="store_true",
        help="load a checkpoint that RecBole pickled; such a file can run code, so know where it is from",
    )
    parser.add_argument("--config_files", nargs="+", type=Path, metavar="FILE", help="YAML files with settings")


def _audit(arguments: argparse.Namespace, rest: Sequence[str]) -> int:
    from recbole_aia import audit, subjects

    argv = [*rest, *([f"--attributes={arguments.attributes}"] if arguments.attributes is not None else [])]
    files = arguments.config_files or []
    _refuse_misspelt_options(parse_arguments(argv), list(vars(arguments)))
    ways = {"RUN": arguments.run, "--checkpoint": arguments.checkpoint, "--embeddings": arguments.embeddings}
    given = [name for name, path in ways.items() if path is not None]
    if len(given) != 1:
        what = f"{' and '.join(given)} are given" if given else "nothing is given"
        raise ConfigValueError(f"{what} to audit. Give one of RUN, --checkpoint FILE, --embeddings FILE --labels FILE.")
    if (arguments.labels is None) == (given == ["--embeddings"]):
        raise ConfigValueError("--embeddings and --labels go together; a run and a checkpoint know their labels.")
    if given == ["RUN"]:
        subject = subjects.run_subject(arguments.run, files, argv)
    elif given == ["--checkpoint"]:
        subject = subjects.checkpoint_subject(arguments.checkpoint, arguments.trust_checkpoint, files, argv)
    else:
        subject = subjects.embeddings_subject(arguments.embeddings, arguments.labels, files, argv)
    limit = arguments.fail_above
    results = audit.audit(subject, arguments.output_dir, limit)
    failures = audit.failures(results, 1.0 if limit is None else limit)
    unguarded = {f"{row['attribute']}: {name}" for row in results["attacks"] for name in row["left_out"]}
    if unguarded and limit is not None:
        print(f"recbole-aia: not guarded, too few users: {', '.join(sorted(unguarded))}", file=sys.stderr)
    if failures:
        print(f"recbole-aia: above --fail_above {limit:g}: {'; '.join(failures)}", file=sys.stderr)
    return 1 if failures else 0


def _refuse_misspelt_options(given: Mapping[str, Any], options: Sequence[str]) -> None:
    """A gate that is misspelt would stand open: ``--key=value`` is otherwise taken for a setting."""
    from recbole_aia.config import PRESENTATION_KEYS

    for key in set(given) - set(options) - KEYS.keys() - PRESENTATION_KEYS:
        close = difflib.get_close_matches(key.replace("-", "_"), options, n=1, cutoff=0.85)
        if close:
            raise ConfigValueError(f"unknown option --{key}. Did you mean --{close[0]}?")


def _run(arguments: argparse.Namespace, rest: Sequence[str], parser: argparse.ArgumentParser) -> int:
    if arguments.help:
        print(parser.format_help() + _keys_help())
        return 0
    from recbole_aia.quick_start import run_recbole_aia

    # RecBole takes several names in one quoted word.
    files = [f for word in arguments.config_files or [] for f in ([word] if Path(word).is_file() else word.split())]
    named = {key: getattr(arguments, key) for key in ("model", "dataset") if getattr(arguments, key)}
    run_recbole_aia(config_file_list=files, argv=[*(f"--{key}={value}" for key, value in named.items()), *rest])
    return 0


def _keys_help() -> str:
    from recbole_aia.config import available_defenses, properties_dir

    names = ["overall", *(f"defense/{name}" for name in available_defenses())]
    texts = [(properties_dir() / f"{name}.yaml").read_text(encoding="utf-8") for name in names]
    return "\nkeys and their defaults:\n\n" + "\n".join(texts)


if __name__ == "__main__":
    raise SystemExit(main())
