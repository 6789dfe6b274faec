"""results.json of the states of a model, and what is printed of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from recbole_aia.data import LabelTable
from recbole_aia.evaluator import AttackReport, coverage
from recbole_aia.report import SCHEMA, attack_table, group_table, holdout_verdict, utility_table, verdict, worst_cases
from recbole_aia.storage.run_folder import versions
from recbole_aia.trainer import Trained, stage_of


def run_results(
    config: Any,
    data: Any,
    labels: LabelTable,
    states: Mapping[str, Trained],
    report: AttackReport,
    seconds: dict[str, float],
    notes: list[str],
) -> dict[str, Any]:
    """The content of results.json.

    Args:
        config: the run's configuration.
        data: RecBole's dataset as created.
        labels: the users' labels.
        states: the model without and with its defense.
        report: what attackers gain.
        seconds: what each part has taken.
        notes: what whoever reads the results has to know, a line each.
    """
    return {
        "schema": SCHEMA,
        "run": {
            "model": config["model"],
            "dataset": config["dataset"],
            "defense": config["defense"],
            "stage": stage_of(config),
            "seed": config["seed"],
            "attributes": list(labels.names),
            "device": str(config["device"]),
            "versions": versions(),
            "seconds": seconds,
            "notes": notes,
        },
        "data": {
            "n_users": data.user_num - 1,
            "n_items": data.item_num - 1,
            "n_interactions": data.inter_num,
            "attributes": labels.summary(),
        },
        "utility": {state: trained.test_result for state, trained in states.items()},
        "attacks": report.rows,
        "worst_case": worst_cases(report),
    }


def findings(report: AttackReport, activity: np.ndarray | None) -> dict[str, Any]:
    """What a report says beyond its rows: a part of results.json.

    Args:
        report: of one state, or of both.
        activity: interactions of each user, ``[n_users]``; ``None`` where they are not known.
    """
    return {"comparisons": report.comparisons(), "who_leaks": report.who_leaks(activity)}


def tables(results: Mapping[str, Any]) -> str:
    """What is printed of a results.json."""
    attributes = [[row for row in results["attacks"] if row["attribute"] == name] for name in results["worst_case"]]
    said = [*results["run"]["notes"], *(line for rows in attributes for line in coverage(rows))]
    notes = "".join(f"note: {note}\n" for note in said)
    groups = f"\n{group_table(results)}\n" if results.get("groups") else ""
    said_apart = f"{apart}\n" if (apart := holdout_verdict(results)) else ""
    return f"{attack_table(results)}\n{verdict(results)}\n{said_apart}{notes}{groups}\n{utility_table(results)}"
