"""Attribute inference attacks on user embeddings, and how sure their results are."""

from recbole_aia.evaluator.attackers import Attacker, register_attacker, registered_attackers
from recbole_aia.evaluator.evaluator import AttributeInferenceEvaluator
from recbole_aia.evaluator.report import AttackReport, coverage
from recbole_aia.evaluator.settings import AttackSettings

__all__ = [
    "AttackReport",
    "AttackSettings",
    "Attacker",
    "AttributeInferenceEvaluator",
    "coverage",
    "register_attacker",
    "registered_attackers",
]
