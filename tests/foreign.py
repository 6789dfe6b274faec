"""Checkpoints as others write them: without names and without a seal, as RecBole and recbole-aia 0.1.0 do."""

from pathlib import Path

import torch


def nameless(path, to, **changes):
    """Writes a checkpoint of ours again without names and seal; ``changes`` replace values."""
    state = torch.load(path, weights_only=True)
    torch.save({**{key: value for key, value in state.items() if key not in ("numbering", "sha256")}, **changes}, to)
    return Path(to)
