"""Contract suites: what views, defenses and attackers promise, as test classes that others inherit. pytest is needed.

Each suite uses ml-100k as RecBole ships it, writes in pytest's temporary folder only, and needs no fixtures of yours.

Example:
    >>> from recbole_aia import CalibratedUnlearner
    >>> from recbole_aia.testing import UnlearnerContract
    >>> class TestMine(UnlearnerContract):
    ...     defense = CalibratedUnlearner
"""

import pytest

# Before the suites are imported: pytest then says what a failing assertion has compared.
for _room in ("attackers", "base", "defenses", "views"):
    pytest.register_assert_rewrite(f"{__name__}.{_room}")

from recbole_aia.testing.attackers import AttackerContract, planted  # noqa: E402
from recbole_aia.testing.base import Contract, ml_100k, short_config, split_once  # noqa: E402
from recbole_aia.testing.defenses import DefenseContract, UnlearnerContract  # noqa: E402
from recbole_aia.testing.views import ViewContract  # noqa: E402

__all__ = [
    "AttackerContract",
    "Contract",
    "DefenseContract",
    "UnlearnerContract",
    "ViewContract",
    "ml_100k",
    "planted",
    "short_config",
    "split_once",
]
