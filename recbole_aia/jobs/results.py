"""Makes the content of results.json, and the text that is printed of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from recbole_aia.config.run_keys import LISTS, MASK
from recbole_aia.data import LabelTable, files_digest
from recbole_aia.evaluator import AttackReport, coverage
from recbole_aia.report import (
    SCHEMA,
    attack_table,
    fairness,
    fairness_lines,
    group_table,
    holdout_verdict,
    informed_verdict,
    utility_table,
    verdict,
    worst_cases,
)
from recbole_aia.report.four_views import four_lines
from recbole_aia.report.worst import list_cases, without_views
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
        states: the trained model by state, ``undefended`` and ``defended``.
        report: what attackers gain, with the lists that nobody asked for.
        seconds: seconds that each part has taken.
        notes: lines that a reader of the results has to know.
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
            "sha256": files_digest(config),
            "attributes": labels.summary(),
        },
        "utility": {state: trained.test_result for state, trained in states.items()},
        **_validation(states),
        **_fairness(states, labels),
        "attacks": report.rows,
        "worst_case": worst_cases(counted(report, config)),
        **list_cases(report),
        "densities": report.densities(),
        **_curves(config, states),
    }


def _curves(config: Any, states: Mapping[str, Trained]) -> dict[str, Any]:
    """What each state's training has recorded of its epochs, if one of them did."""
    known = {state: trained.curves for state, trained in states.items() if trained.curves}
    return {"curves": {"metric": config["valid_metric"].lower(), "states": known}} if known else {}


def _validation(states: Mapping[str, Trained]) -> dict[str, Any]:
    """What a choice among runs may look at, where every state was validated; the test metrics are not for choosing."""
    found = {state: trained.valid_result for state, trained in states.items()}
    return {"validation": found} if all(found.values()) else {}


def _fairness(states: Mapping[str, Trained], labels: LabelTable) -> dict[str, Any]:
    """How well each class is served in each state, if every state knows it of each user."""
    by_state = {
        state: {name: values.numpy() for name, values in trained.per_user.items()} for state, trained in states.items()
    }
    found = fairness(by_state, labels.columns(), labels.classes)
    return {"fairness": found} if found else {}


def counted(report: AttackReport, config: Any) -> AttackReport:
    """The attacks that count in worst case, comparisons and groups: all if ``attack_views`` was given.

    Lists that a run attacks by itself stand beside them, because no defense of vectors changes what their mask shows.
    """
    return without_views(report, (LISTS, MASK)) if config["attack_views"] is None else report


def findings(report: AttackReport, activity: np.ndarray | None) -> dict[str, Any]:
    """The parts of results.json that come from a report besides its rows: comparisons, and which users leak.

    Args:
        report: the attacks on one state or on both.
        activity: number of interactions of each user, ``[n_users]``; ``None`` if unknown.
    """
    return {"comparisons": report.comparisons(), "who_leaks": report.who_leaks(activity)}


def tables(results: Mapping[str, Any]) -> str:
    """The text that is printed of a results.json: tables, verdict and notes."""
    attributes = [[row for row in results["attacks"] if row["attribute"] == name] for name in results["worst_case"]]
    said = [*results["run"]["notes"], *(line for rows in attributes for line in coverage(rows))]
    notes = "".join(f"note: {note}\n" for note in said)
    groups = f"\n{group_table(results)}\n" if results.get("groups") else ""
    served = "".join(f"\n{line}" for line in (*fairness_lines(results), *four_lines(results)))
    said_apart = "".join(f"{said}\n" for said in (informed_verdict(results), holdout_verdict(results)) if said)
    return f"{attack_table(results)}\n{verdict(results)}\n{said_apart}{notes}{groups}\n{utility_table(results)}{served}"
