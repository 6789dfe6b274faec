"""recbole-aia: what user embeddings give away, and how to stop it without hurting recommendations.

Names are imported when they are first used (PEP 562), so that ``recbole-aia --help`` needs no torch. ``__init__.pyi``
lists them for editors and type checkers. Importing this package makes RecBole work on current NumPy, pandas and torch.
"""

from __future__ import annotations

import importlib
from typing import Any

from recbole_aia import compat
from recbole_aia.version import __version__

compat.apply_with_recbole()

#: Where each public name is defined.
_HOMES = {
    "AIAConfig": "config.aia_config",
    "AttackHook": "jobs.hook",
    "Attacker": "evaluator",
    "AttrCloakUnlearner": "trainer",
    "AttributeInferenceEvaluator": "evaluator",
    "CalibratedTrainer": "trainer",
    "CalibratedUnlearner": "trainer",
    "DefenseTrainer": "trainer",
    "Protection": "jobs.protection",
    "RAIDTrainer": "trainer",
    "Unlearner": "trainer",
    "UnlearningTask": "trainer",
    "UserEmbeddingView": "model",
    "learn_protection": "jobs.protect",
    "load_run": "jobs.loading",
    "protect": "jobs.protect",
    "register_attacker": "evaluator",
    "register_defense": "trainer",
    "register_view": "model",
    "run_recbole_aia": "quick_start",
}

__all__ = [
    "AIAConfig",
    "AttackHook",
    "Attacker",
    "AttrCloakUnlearner",
    "AttributeInferenceEvaluator",
    "CalibratedTrainer",
    "CalibratedUnlearner",
    "DefenseTrainer",
    "Protection",
    "RAIDTrainer",
    "Unlearner",
    "UnlearningTask",
    "UserEmbeddingView",
    "learn_protection",
    "load_run",
    "protect",
    "register_attacker",
    "register_defense",
    "register_view",
    "run_recbole_aia",
    "__version__",
    "keys",
]


def __getattr__(name: str) -> Any:
    if name == "keys":
        value: Any = importlib.import_module("recbole_aia.config.keys")
    elif name in _HOMES:
        value = getattr(importlib.import_module(f"recbole_aia.{_HOMES[name]}"), name)
    else:
        raise AttributeError(f"module 'recbole_aia' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
