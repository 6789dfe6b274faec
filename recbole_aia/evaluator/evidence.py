"""The held-out answers behind the rows of a report, kept in memory for later questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recbole_aia.config.types import FloatArray
from recbole_aia.evaluator.protocol import HeldOut
from recbole_aia.evaluator.statistics import corrected_difference, holm

_PAIR = ("view", "attribute", "attacker", "leak_ratio")


@dataclass(frozen=True)
class Evidence:
    """The data behind one row of a report.

    Attributes:
        embeddings: what was attacked, ``[n_users, d]``.
        held_out: the attacker's answers about users that it had not seen.
        gains: advantage of every fold, ``[repeats * folds]``; classes keep the sign that they have on average.
        null: advantages of chance, ``[P]``; all attackers of an attribute share the permutations.
        test_train_ratio: number of held-out users over number of users to learn from.
    """

    embeddings: FloatArray
    held_out: HeldOut
    gains: FloatArray
    null: FloatArray
    test_train_ratio: float


def compare(
    rows: Sequence[Mapping[str, Any]], evidence: Sequence[Evidence], before: str, after: str
) -> list[dict[str, Any]]:
    """Tests, attacker by attacker and on the same held-out folds, what a defense changes.

    Args:
        rows: of a report, both states among them.
        evidence: one for each row.
        before: a state, such as ``undefended``.
        after: the state compared with it.

    Returns:
        For each view, attribute, attacker and leak ratio that both states have: the ``difference`` of the
        advantage, after less before, with its interval; ``p_value`` of the corrected resampled t-test, two-sided;
        ``p_holm``, adjusted for all comparisons of an attribute: attackers, views and leak ratios.
    """
    found = {(row["state"], *(row[key] for key in _PAIR)): each for row, each in zip(rows, evidence, strict=True)}
    lines = []
    for (state, *pair), first in found.items():
        second = found.get((after, *pair))
        if state != before or second is None:
            continue
        change = corrected_difference(first.gains, second.gains, first.test_train_ratio)
        lines.append(
            {
                **dict(zip(_PAIR, pair, strict=True)),
                "difference": {"mean": change.mean, "ci95": [change.low, change.high]},
                "p_value": change.p_value,
            }
        )
    for attribute in {line["attribute"] for line in lines}:
        members = [line for line in lines if line["attribute"] == attribute]
        for line, adjusted in zip(members, holm([line["p_value"] for line in members]), strict=True):
            line["p_holm"] = adjusted
    return lines
