"""The attackers: who tries to read an attribute from user embeddings, all under one contract."""

from recbole_aia.evaluator.attackers import (  # noqa: F401  they register
    adversary,
    combined,
    densities,
    networks,
    papers,
    trees,
)
from recbole_aia.evaluator.attackers.base import Attacker, Job, register_attacker, registered_attackers

__all__ = ["Attacker", "Job", "register_attacker", "registered_attackers"]
