"""What `import recbole_aia.losses` loads, and what it offers."""

import subprocess
import sys

import recbole_aia.losses
from recbole_aia.losses import (
    adversaries,
    attrcloak,
    calibrated,
    erasure,
    local_privacy,
    mechanisms,
    pairs,
    raid,
    sliced,
)


def test_pot_is_loaded_only_by_couplings_that_use_it():
    script = """
import sys
from recbole_aia.losses import *
import torch
assert "ot" not in sys.modules, "by the import"
classes = [torch.randn(9, 2, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]
barycenter = penalized_barycenter(classes, n_atoms=3)
solve_coupling("semi_dual", classes, barycenter)
assert "ot" not in sys.modules, "by a coupling that does not use it"
solve_coupling("exact", classes, barycenter)
assert "ot" in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_every_public_name_of_a_method_is_a_public_name_of_the_losses():
    methods = {name for package in (attrcloak, calibrated, raid) for name in package.__all__}
    singles = {
        name
        for module in (adversaries, erasure, local_privacy, mechanisms, pairs, sliced)
        for name, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__ and not name.startswith("_")
    }
    assert set(recbole_aia.losses.__all__) == methods | singles
