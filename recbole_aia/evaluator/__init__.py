"""Attribute inference attacks on user embeddings, and how sure their results are."""

from recbole_aia.evaluator.attackers import Attacker, Job, register_attacker, registered_attackers
from recbole_aia.evaluator.evaluator import AttributeInferenceEvaluator, checked_embeddings
from recbole_aia.evaluator.informed import informed_attack
from recbole_aia.evaluator.informed_views import informed_views
from recbole_aia.evaluator.labels import encode_labels, label_columns
from recbole_aia.evaluator.report import AttackReport, coverage
from recbole_aia.evaluator.settings import AttackSettings

__all__ = [
    "AttackReport",
    "AttackSettings",
    "Attacker",
    "AttributeInferenceEvaluator",
    "Job",
    "checked_embeddings",
    "coverage",
    "encode_labels",
    "informed_attack",
    "informed_views",
    "label_columns",
    "register_attacker",
    "registered_attackers",
]
