"""What tests of unlearning share: settings that take little time, and what two folders have in common."""

from pathlib import Path

import torch

FAST = [
    "--attackers=[logistic]",
    "--attack_folds=2",
    "--attack_repeats=1",
    "--attack_jobs=1",
    "--attack_permutations=20",
]
PLAIN = [*FAST, "--show_progress=False"]
QUICK = [*PLAIN, "--unlearn_max_steps=10"]  # for defenses that descend


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def tensors(folder):
    state = torch.load(Path(folder) / "checkpoint.pth", weights_only=True)
    return {**state["state_dict"], **{k: v for k, v in state["other_parameter"].items() if v is not None}}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
