"""The attacks of a run, state by state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recbole_aia.config.types import FloatArray
from recbole_aia.data import LabelTable
from recbole_aia.errors import ConfigValueError
from recbole_aia.evaluator import AttackReport, AttackSettings, AttributeInferenceEvaluator
from recbole_aia.storage.snapshots import Answers
from recbole_aia.trainer import Trained

_SHARED = ("seed", "device", "attack_jobs", "show_progress")  # what further attacks have in common with the main one


def attacked(
    evaluator: AttributeInferenceEvaluator,
    views: Sequence[tuple[str, str, FloatArray]],
    labels: LabelTable,
    answers: Mapping[str, Answers],
) -> AttackReport:
    """Attacks the views of all states.

    Args:
        evaluator: of the attack.
        views: a state, a view's name, and its vectors, ``[n_users - 1, d]``.
        labels: the users' labels.
        answers: by state, where finished fits are found and kept.
    """
    reports = []
    for state in dict.fromkeys(state for state, *_ in views):
        evaluator.kept = answers[state]
        own = [each for each in views if each[0] == state]
        reports.append(evaluator.evaluate_views(own, labels.columns(), class_names=labels.classes))
    return AttackReport.concat(reports)


def further_evaluators(config: Any) -> dict[str, AttributeInferenceEvaluator]:
    """The evaluators of ``further_attacks`` by name.

    Raises:
        ConfigValueError: a setting that an attack does not have, or does not take.
    """
    shared, found = {key: config[key] for key in _SHARED}, {}
    for name, settings in (config["further_attacks"] or {}).items():
        try:
            AttackSettings.from_config(None, settings)  # refuses what is no setting of an attack
            found[name] = AttributeInferenceEvaluator({**shared, **settings})
        except ConfigValueError as error:
            raise ConfigValueError(f"in further_attacks.{name}: {error}") from error
    return found


def further_attacks(
    config: Any, states: Mapping[str, Trained], labels: LabelTable, answers: Mapping[str, Answers]
) -> dict[str, list[dict[str, Any]]]:
    """The rows of ``further_attacks`` on the served vectors of all states, by name."""
    views = [(state, "served", trained.served.numpy()) for state, trained in states.items()]
    return {
        name: attacked(evaluator, views, labels, answers).rows for name, evaluator in further_evaluators(config).items()
    }
