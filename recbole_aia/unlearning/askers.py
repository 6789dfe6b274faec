"""Finds the users who ask: named in a file, or drawn by activity."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recbole_aia.data.anonymous import form_of
from recbole_aia.data.dataset import interactions_by_user
from recbole_aia.errors import ConfigValueError

KINDS = ("core", "edge", "random")


def sample_users(kind: str, share: float, activity: Tensor, seed: int) -> Tensor:
    """Draws users as benchmarks of unlearning do (CURE4Rec, 2024).

    Args:
        kind: ``core``, the most active users; ``edge``, the least active users; ``random``. Ties go to the lower id.
        share: share of all users, in (0, 1]; at least one is drawn.
        activity: number of interactions of the users ``1..n``, ``[n]``.
        seed: seed of the draw for ``random``.

    Returns:
        Internal ids in ascending order.

    Raises:
        ConfigValueError: ``kind`` or ``share`` has another value.

    Source:
        CURE4Rec (2024) for the three kinds.
    """
    if kind not in KINDS or not 0 < share <= 1:
        raise ConfigValueError(f"users {kind}:{share:g} cannot be drawn. Write core:0.1, edge:0.1 or random:0.1, say.")
    count = max(1, math.floor(share * len(activity) + 0.5))
    if kind == "random":
        order = torch.randperm(len(activity), generator=torch.Generator().manual_seed(seed))
    else:
        order = torch.argsort(activity, stable=True, descending=kind == "core")
    return order[:count].sort().values + 1


def find_users(who: str, dataset: Any, seed: int) -> list[str]:
    """The names of the users who ask, in the order of their ids.

    Args:
        who: a file with a user's name in each line, or a kind and a share such as ``core:0.1``.
        dataset: RecBole's dataset as created.
        seed: seed of the draw for ``random``.

    Raises:
        ConfigValueError: there is no such file, or a user in it is not in the dataset.
    """
    kind, _, share = who.partition(":")
    tokens, ids = dataset.field2id_token[dataset.uid_field], dataset.field2token_id[dataset.uid_field]
    if kind in KINDS and share and not Path(who).is_file():
        counts = interactions_by_user(dataset)
        try:
            part = float(share)
        except ValueError as error:
            raise ConfigValueError(f"--users={who} cannot be read. Write core:0.1, for example.") from error
        return [str(tokens[user]) for user in sample_users(kind, part, torch.from_numpy(counts), seed).tolist()]
    try:
        names = dict.fromkeys(
            line.strip() for line in Path(who).read_text(encoding="utf-8").splitlines() if line.strip()
        )
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigValueError(
            f"--users={who} cannot be read. Give a file with a user in each line, or core:0.1, edge:0.1, random:0.1."
        ) from error
    unknown = [name for name in names if name not in ids or not ids[name]]
    if unknown or not names:
        what = (
            f"{len(unknown)} of its {len(names)} users are not in the data, '{unknown[0]}' first" if names else "nobody"
        )
        raise ConfigValueError(
            f"--users={who}: {what}. Write users as {dataset.dataset_name} does: ids like {form_of(str(tokens[1]))}."
        )
    return sorted(names, key=lambda name: int(ids[name]))
