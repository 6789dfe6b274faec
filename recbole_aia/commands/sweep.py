"""The command ``recbole-aia sweep``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from recbole_aia.commands.options import refuse_misspelt_options
from recbole_aia.config.text import parse_arguments, parse_value
from recbole_aia.errors import ConfigValueError

_HELP = """\
Searches the keys of a defense (Optuna's TPE) for the best recommendations whose strongest attacker stays within a
bound. Each trial is a run. Trials are judged on validation items, and the best is attacked again with other folds.

  recbole-aia sweep --model LightGCN --defense calibrated --attributes '[gender,age]' --bound 0.17
  recbole-aia sweep --model BPR --defense noise --bound 0.2 --search '{noise_scale: {low: 0.1, high: 10, log: true}}'
  recbole-aia sweep sweep.yaml --trials 50            # a file of the same keys, and of keys of the runs

--search gives each key a list of values or a range; each defense has ranges of its own, which docs/reference.md lists.
Repeat the command to go on after an interruption, or with more --trials. It needs pip install 'recbole-aia[sweep]'.
--key=value goes to every run.
"""
_OF_RUNS = ("model", "dataset", "defense", "attributes", "seed")
_OPTIONS = ("search", "trials", "bound", "output_dir")


def add_parser(commands: Any) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "sweep",
        help="the best setting of a defense within a bound",
        description=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        usage="recbole-aia sweep [SWEEP.yaml] --model MODEL --defense NAME --bound X [--search ...] [--key=value ...]",
    )
    parser.add_argument("file", nargs="?", type=Path, metavar="SWEEP", help="a YAML file; the command line wins")
    parser.add_argument("-m", "--model", help="a model with a view")
    parser.add_argument("-d", "--dataset", help="dataset name (default: ml-100k)")
    parser.add_argument("--defense", metavar="NAME", help="whose keys are searched")
    parser.add_argument("--attributes", metavar="LIST", help="what is protected and attacked, such as [gender,age]")
    parser.add_argument("--seed", metavar="N", help="of runs and of the search (default: 2020)")
    parser.add_argument("--search", metavar="KEYS", help="{key: [values], key: {low: X, high: X, log: true}}")
    parser.add_argument("--trials", metavar="N", help="how many in all (default: 20)")
    parser.add_argument("--bound", metavar="X", help="largest advantage that is allowed, from 0 to 1")
    parser.add_argument("--output_dir", type=Path, metavar="DIR", help="for study and tables (default: under sweep/)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="where the runs are kept")
    parser.set_defaults(handle=_sweep)


def _sweep(arguments: argparse.Namespace, rest: Sequence[str]) -> int:
    from recbole_aia.config.search import Sweep

    given = {name: getattr(arguments, name) for name in (*_OF_RUNS, *_OPTIONS)}
    texts = [f"--{name}={value}" for name, value in given.items() if name in _OF_RUNS and value is not None]
    keys = parse_arguments([*texts, *rest])
    refuse_misspelt_options(keys, list(vars(arguments)))
    options = {name: given[name] for name in _OPTIONS if given[name] is not None}
    options |= {name: parse_value(options[name]) for name in ("search", "trials", "bound") if name in options}
    plan = Sweep.of({**keys, **options}, arguments.file)
    if find_spec("optuna") is None:
        raise ConfigValueError("a sweep needs Optuna, which is not installed: pip install 'recbole-aia[sweep]'")
    from recbole_aia.jobs.sweep import sweep

    _, folder = sweep(plan, arguments.runs)
    print((folder / "front.md").read_text(encoding="utf-8"))
    print(f"all trials in {folder}/sweep.csv, the page in {folder}/report.html")
    return 0
