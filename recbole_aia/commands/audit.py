"""The command ``recbole-aia audit``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recbole_aia.commands.options import refuse_misspelt_options, with_flags
from recbole_aia.config.text import parse_arguments
from recbole_aia.errors import ConfigValueError

_AUDIT_HELP = """\
Measures what user embeddings give away. Attackers learn from some users' embeddings and labels (gender, age, ...)
and then guess the labels of other users. Only the attackers are trained, and nothing is changed.

  any system's embeddings:   recbole-aia audit --embeddings users.npy --labels users.csv
  a run of recbole-aia:      recbole-aia audit runs/BPR-ml-100k-raid-seed2020-1a2b3c
  a trained checkpoint:      recbole-aia audit --checkpoint saved/model.pth

The table shows the advantage of each attacker for each attribute: 0 is no better than guessing, 1 is certainty. Chance
alone can reach the floor in the same row, so an advantage below it is no evidence of a leak. Read the worst case over
all attackers and views.

--before names an earlier release of the same users, such as the vectors before a defense, and may be given several
times. Attackers then also see how each user has moved. The audit says whether old and new vectors together tell more
than the old vectors alone.

The exit code is 0 for a finished audit, 1 if --fail_above is given and a worst case exceeds it, or what the movement or
activity adds, and 2 for a mistake in the input. 3 means that the program failed; it says nothing about the leak.

users.csv lists each user's true class and how sure the strongest attacker is of it. Keep it as confidential as the
labels, or give --no_labels_out, which leaves it out.
"""

_AUDIT_FILES = """\
embeddings:
  .npz      'embeddings' [users x dimensions], and 'user_tokens' with the users' names; recbole-aia's embeddings.npz
  .csv .tsv a header, a column of users (called user_id or user, or first and not numeric), and numbers
  .parquet  the same; needs pyarrow (pip install pyarrow)
  .npy      rows only, without users: row i belongs to line i of the labels, and both have equally many. It may be
            larger than memory; of more than a million users, a million are drawn and attacked

labels:
  Commas, semicolons or tabs, a header, a column of users (called user_id or user, or the first) and one line for each
  user, as in RecBole's .user files. Without --attributes, every column with usable classes is attacked.

more settings, as --key=value (recbole-aia run --help lists them with their defaults):
  '--attack_views=[served,top_k,scores,profile]' for a run or a checkpoint: vectors, recommendation lists, scores of
  all items, and the interactions themselves. The interactions are a ceiling and count in no worst case.
  top_k_popular, which does not count either, shows what lists give away without any model, because seen items are
  left out of them; top_k_unmasked is lists with seen items left in
  '--attackers=[logistic,mlp]'  --attack_folds=5  --attack_repeats=2  --attack_permutations=200  --attack_jobs=1
  --seed=2020  --show_progress=False  '--attributes={age: {bins: [30, 50]}}'
  for a run or a checkpoint also any key of its configuration, such as --data_path=DIR if the data have moved
"""


def add_parser(commands: Any) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "audit",
        help="attack what is already there: embeddings of any system, a run, a checkpoint",
        description=_AUDIT_HELP,
        epilog=_AUDIT_FILES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        usage="recbole-aia audit (RUN | --checkpoint FILE | --embeddings FILE --labels FILE) [--before FILE] "
        "[--key=value ...]",
    )
    parser.add_argument("run", nargs="?", type=Path, metavar="RUN", help="the folder of a run of recbole-aia")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="a checkpoint of recbole-aia or RecBole")
    parser.add_argument("--embeddings", type=Path, metavar="FILE", help="user embeddings, one row a user")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="the users' attributes, for --embeddings")
    parser.add_argument(
        "--before",
        type=Path,
        action="append",
        metavar="FILE",
        help="an earlier release of the same users' vectors, in any format of embeddings; repeat it for several",
    )
    parser.add_argument("--attributes", metavar="LIST", help="what to attack, such as [gender,age]")
    parser.add_argument(
        "--output_dir", type=Path, metavar="DIR", help="for results.json and users.csv (default: under runs/)"
    )
    parser.add_argument("--fail_above", type=float, metavar="X", help="exit code 1 when an advantage exceeds X")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="also write the gate as JUnit XML, for a pipeline")
    parser.add_argument("--sarif", type=Path, metavar="FILE", help="also write what fails the gate as SARIF")
    parser.add_argument(
        "--trust_checkpoint",
        action="store_true",
        help="load a checkpoint that RecBole pickled; loading it can run code, so know where it is from",
    )
    parser.add_argument("--config_files", nargs="+", type=Path, metavar="FILE", help="YAML files with settings")
    parser.set_defaults(handle=_audit)


def _audit(arguments: argparse.Namespace, rest: Sequence[str]) -> int:
    from recbole_aia.jobs import audit, subjects

    argv = [*with_flags(rest), *([f"--attributes={arguments.attributes}"] if arguments.attributes is not None else [])]
    files = arguments.config_files or []
    refuse_misspelt_options(parse_arguments(argv), list(vars(arguments)))
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
    if arguments.before:
        subject = subjects.with_earlier(subject, arguments.before)
    limit = arguments.fail_above
    if limit is None and (arguments.junit or arguments.sarif):
        raise ConfigValueError("--junit and --sarif write what a gate says. Give --fail_above X, such as 0.1.")
    results = audit.audit(subject, arguments.output_dir, limit)
    if limit is not None:
        _write_gate(results, limit, arguments)
    failures = audit.failures(results, 1.0 if limit is None else limit)
    unguarded = {f"{row['attribute']}: {name}" for row in results["attacks"] for name in row["left_out"]}
    if unguarded and limit is not None:
        print(f"recbole-aia: not guarded, too few users: {', '.join(sorted(unguarded))}", file=sys.stderr)
    if failures:
        print(f"recbole-aia: above --fail_above {limit:g}: {'; '.join(failures)}", file=sys.stderr)
    return 1 if failures else 0


def _write_gate(results: dict[str, Any], limit: float, arguments: argparse.Namespace) -> None:
    from recbole_aia.report import gate
    from recbole_aia.storage.files import write_whole

    for path, text in ((arguments.junit, gate.junit), (arguments.sarif, gate.sarif)):
        if path is not None:
            said = text(results, limit)
            write_whole(path, lambda aside, said=said: aside.write_text(said, encoding="utf-8"))  # type: ignore[misc]
