"""What ``import recbole_aia`` gives and costs: names are loaded when they are used, and RecBole works either way."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import recbole_aia

HEAVY = {"torch", "pandas", "scipy", "sklearn", "xgboost", "ot", "recbole"}


def loaded(code):
    """The packages that a fresh Python has after some code."""
    code += "\nimport sys\nprint(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return set(done.stdout.splitlines()[-1].split())


def test_importing_the_package_loads_no_heavy_library():
    assert not loaded("import recbole_aia") & HEAVY


def test_a_trainer_loads_no_library_of_boosted_trees():
    found = loaded("from recbole_aia import RAIDTrainer")
    assert "torch" in found
    assert "xgboost" not in found


@pytest.mark.parametrize("name", recbole_aia.__all__)
def test_every_public_name_can_be_imported_and_is_listed(name):
    assert getattr(recbole_aia, name) is not None
    assert name in dir(recbole_aia)


def test_editors_and_type_checkers_see_the_same_names():
    stub = Path(recbole_aia.__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    imported = [alias for node in ast.parse(stub).body for alias in node.names]
    # "X as X" is how a stub says that a name is public.
    assert {alias.asname for alias in imported} == set(recbole_aia.__all__)
    assert all(alias.asname == alias.name for alias in imported)


def test_dir_lists_names_that_nobody_has_used_yet():
    code = "import recbole_aia\nassert set(recbole_aia.__all__) <= set(dir(recbole_aia))"
    assert "torch" not in loaded(code)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'recbole_aia' has no attribute 'RIADTrainer'"):
        recbole_aia.RIADTrainer  # noqa: B018
    with pytest.raises(ImportError):
        exec("from recbole_aia import RIADTrainer")


@pytest.mark.parametrize("order", [("recbole_aia", "recbole"), ("recbole", "recbole_aia")])
def test_recbole_works_whichever_is_imported_first(order):
    """Under NumPy 2, the names that RecBole's ``Config`` reads are gone without the shims."""
    code = "\n".join(f"import {name}" for name in order)
    code += (
        "\nfrom recbole.config import Config"
        "\nimport numpy as np"
        "\nassert np.float_ is np.float64"
        "\nfrom recbole.trainer import Trainer"
        "\nfrom recbole_aia.compat import save_plain_checkpoint"
        "\nassert Trainer._save_checkpoint is save_plain_checkpoint"
        "\nConfig('BPR', 'ml-100k')"
    )
    assert "recbole" in loaded(code)
