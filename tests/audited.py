"""What tests of audits share: the command with settings that take little time, and reading what it found."""

import json
from pathlib import Path

import jsonschema
import pandas as pd
import recbole

from recbole_aia.cli import main
from recbole_aia.report import results_schema

USERS = Path(recbole.__file__).parent / "dataset_example" / "ml-100k" / "ml-100k.user"
QUICK = ["--attackers=[logistic]", "--attack_folds=3", "--attack_repeats=1", "--attack_jobs=1", "--show_progress=False"]


def audit(*arguments):
    return main(["audit", *map(str, arguments), *QUICK])


def results(folder="out"):
    found = json.loads((Path(folder) / "results.json").read_text())
    jsonschema.validate(found, results_schema())
    return found


def gains(found, view="served"):
    rows = [row for row in found["attacks"] if row["view"] == view]
    return {row["attribute"]: row["metrics"]["advantage"]["mean"] for row in rows}


def aligned(tokens):
    """RecBole's user file in the order of the tokens."""
    return pd.read_csv(USERS, sep="\t", dtype=str).set_index("user_id:token").loc[list(tokens)].reset_index()
