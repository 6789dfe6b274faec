"""The results of attacks, to print, tabulate or write."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
from numpy.typing import NDArray
from texttable import Texttable

from recbole_aia.config.run_keys import REFERENCES
from recbole_aia.config.types import BoolArray, IntArray
from recbole_aia.evaluator import leakers
from recbole_aia.evaluator.class_densities import class_densities
from recbole_aia.evaluator.evidence import Evidence, compare
from recbole_aia.evaluator.statistics import floor95
from recbole_aia.storage.files import write_whole

_DENSITY_VIEWS = ("served", "given", "table")  # of which densities are made, the first that was attacked


@dataclass(frozen=True)
class AttackReport:
    """Results of attacks, one row for each state, view, attribute and attacker.

    Attributes:
        rows: plain dicts as in the ``attacks`` of results.json. Besides its keys, ``missing`` counts the
            users without a label and ``left_out`` the members of classes too small to attack, ``<5`` below five;
            ``training_users`` is the most users learned from in a fold.
        evidence: the data behind each row; not written. Rows read from a file have none, and then there are no
            comparisons, no users, and no floor of a worst case.
        skipped: attributes that could not be attacked, and why.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list, repr=False, compare=False)
    skipped: dict[str, str] = field(default_factory=dict)

    @classmethod
    def concat(cls, reports: Iterable[AttackReport]) -> AttackReport:
        """One report of several, in their order."""
        parts = list(reports)
        rows = [row for part in parts for row in part.rows]
        evidence = [each for part in parts for each in part.evidence]
        skipped = {name: reason for part in parts for name, reason in part.skipped.items()}
        return cls(rows, evidence if len(evidence) == len(rows) else [], skipped)

    def __add__(self, other: AttackReport) -> AttackReport:
        return self.concat([self, other])

    def where(self, **values: str | float) -> AttackReport:
        """The rows that have these values, as in ``report.where(state="defended")``."""
        kept = [all(row[key] == value for key, value in values.items()) for row in self.rows]
        return type(self)(list(compress(self.rows, kept)), list(compress(self.evidence, kept)))

    def worst_case(self) -> dict[str, dict[str, Any]]:
        """The strongest attacker of each attribute over all rows, and its advantage.

        A report of several states should be narrowed first (:meth:`where`).

        Returns:
            ``{attribute: {"attacker": name, "view": name, "advantage": mean, "floor": floor}}``; the earlier row
            wins a tie. The floor is higher than that of each row, because the largest of several advantages is chosen.
        """
        worst: dict[str, dict[str, Any]] = {}
        for attribute in dict.fromkeys(row["attribute"] for row in self.rows):
            part = self.where(attribute=attribute)
            row = max(part.rows, key=_advantage)
            worst[attribute] = {"attacker": row["attacker"], "view": row["view"], "advantage": _advantage(row)}
            if part.evidence:
                worst[attribute]["floor"] = floor95([each.null for each in part.evidence])
        return worst

    def comparisons(self, before: str = "undefended", after: str = "defended") -> list[dict[str, Any]]:
        """Tests what the defense changes, attacker by attacker; see :func:`~recbole_aia.evaluator.evidence.compare`."""
        return compare(self.rows, self.evidence, before, after) if self.evidence else []

    def who_leaks(self, activity: IntArray | None = None) -> list[dict[str, Any]]:
        """The groups of users and the dimensions that leak most; see :mod:`~recbole_aia.evaluator.leakers`."""
        return [leakers.summary(row, each, activity) for row, each in self._strongest()]

    def densities(self) -> list[dict[str, Any]]:
        """How the users of each class lie along the direction that tells most, for each state and attribute.

        Each state has a direction of its own: an attacker of the defended vectors learns from the defended vectors.
        It is that of the served vectors, else of those of a file, else of the table; see
        :func:`~recbole_aia.evaluator.class_densities.class_densities`. Without evidence there is none.
        """
        found: dict[tuple[str, str], tuple[str, Evidence]] = {}
        for view, (row, each) in product(_DENSITY_VIEWS, zip(self.rows, self.evidence, strict=False)):
            if row["view"] == view:
                found.setdefault((row["state"], row["attribute"]), (view, each))
        return [
            {
                "state": state,
                "view": view,
                "attribute": attribute,
                **class_densities(each.embeddings, each.held_out.attribute, each.held_out.fold_of[0]),
            }
            for (state, attribute), (view, each) in found.items()
        ]

    def users(
        self, tokens: Sequence[str] | NDArray[np.str_] | None = None, activity: IntArray | None = None
    ) -> pd.DataFrame:
        """How sure the strongest attacker is of each user; see :mod:`~recbole_aia.evaluator.leakers`."""
        frames = [leakers.users(row, each, tokens, activity) for row, each in self._strongest()]
        return pd.concat(frames) if frames else pd.DataFrame(columns=leakers.COLUMNS)

    def among(self, users: BoolArray) -> list[dict[str, Any]]:
        """The advantage among some ``users [n_users]`` of attackers trained on everybody; a line for each row.

        See :func:`~recbole_aia.evaluator.leakers.among`.
        """
        return [leakers.among(row, each, users) for row, each in zip(self.rows, self.evidence, strict=False)]

    def worst_among(self, users: BoolArray) -> dict[str, dict[str, Any] | None]:
        """As :meth:`worst_case`, among some ``users [n_users]``; None where they are too few.

        See :func:`~recbole_aia.evaluator.leakers.worst_among`. Without evidence there is none.
        """
        parts = {name: self.where(attribute=name) for name in dict.fromkeys(row["attribute"] for row in self.rows)}
        return {name: leakers.worst_among(part.rows, part.evidence, users) for name, part in parts.items()}

    def _strongest(self) -> list[tuple[dict[str, Any], Evidence]]:
        """The row with the largest advantage of each state and attribute, and the data behind it.

        Empty without evidence. Attacks on references do not count, because no model gives them away.
        """
        strongest: dict[tuple[str, ...], tuple[dict[str, Any], Evidence]] = {}
        for row, each in zip(self.rows, self.evidence, strict=False):
            key = (row["state"], row["attribute"])
            if row["view"] in REFERENCES:
                continue
            if key not in strongest or _advantage(row) > _advantage(strongest[key][0]):
                strongest[key] = (row, each)
        return list(strongest.values())

    def to_frame(self) -> pd.DataFrame:
        """A tidy table: one line for each row and metric, with its interval and the floors."""
        return pd.DataFrame(
            [
                {
                    **{key: row[key] for key in leakers.KEYS},
                    "n_users": row["n_users"],
                    "metric": metric,
                    "mean": value["mean"],
                    "ci95_low": value["ci95"][0],
                    "ci95_high": value["ci95"][1],
                    **row["floor"],
                }
                for row in self.rows
                for metric, value in row["metrics"].items()
            ]
        )

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """The rows as JSON, ``{"attacks": [...]}``; also written to a file, whole or not at all."""
        text = json.dumps({"attacks": self.rows}, indent=2, allow_nan=False)
        if path is not None:
            write_whole(Path(path), lambda aside: aside.write_text(text + "\n", encoding="utf-8"))
        return text

    def __str__(self) -> str:
        """A table within 100 columns (F1 is the macro mean), the worst case, and what was not attacked."""
        groups = list(dict.fromkeys((row["state"], row["view"], row["leak_ratio"]) for row in self.rows))
        several = len({ratio for *_, ratio in groups}) > 1
        blocks = []
        for state, view, ratio in groups:
            part = self.where(state=state, view=view, leak_ratio=ratio)
            known = f", attackers know {ratio:.0%} of the users" if several else ""
            blocks.append(f"{state}, {view} embeddings{known}\n{_table(part.rows)}\n{_notes(part)}")
        blocks += [f"{name}: not attacked. {reason}" for name, reason in self.skipped.items()]
        return "\n\n".join(blocks) or "no attack"


def _advantage(row: Mapping[str, Any]) -> float:
    gain: float = row["metrics"]["advantage"]["mean"]
    return gain


def _table(rows: list[dict[str, Any]]) -> str:
    table = Texttable(max_width=100)
    table.set_deco(Texttable.HEADER | Texttable.BORDER)
    header = ["attribute", "attacker", "AUC", "BAcc", "F1", "advantage", "floor"]
    table.set_cols_dtype(["t"] * len(header))
    table.set_cols_align(["l", "l"] + ["r"] * (len(header) - 2))
    table.header(header)
    for row in rows:
        metrics, floor = row["metrics"], row["floor"]["permuted_advantage95"]
        table.add_row(
            [
                row["attribute"],
                row["attacker"],
                interval_text(metrics["auc"], digits=2),
                *(f"{metrics[m]['mean']:.3f}" for m in ("balanced_accuracy", "f1_macro")),
                interval_text(metrics["advantage"], digits=2),
                f"{floor:.3f}",
            ]
        )
    return str(table.draw())


def interval_text(metric: Mapping[str, Any], digits: int = 3) -> str:
    """An estimate and its 95 % interval, such as ``0.512 [0.388, 0.637]``.

    Args:
        metric: with ``mean`` and ``ci95``, as in a row.
        digits: of the interval's ends, >= 0.
    """
    low, high = metric["ci95"]
    return f"{metric['mean']:.3f} [{low:.{digits}f}, {high:.{digits}f}]"


def _verdict(worst: dict[str, Any], attackers: int) -> str:
    if "floor" not in worst:
        return ""
    side = "above" if worst["advantage"] > worst["floor"] else "within"
    return f", {side} its floor {worst['floor']:.3f} (the best of {attackers})"


def coverage(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines that say which users were not attacked or not learned from, and why; none where all were.

    Args:
        rows: of a report, all of one attribute.
    """
    row, lines = rows[0], []
    if row["missing"]:
        lines.append(f"{row['attribute']}: {row['missing']} users without a label, not attacked")
    if row["left_out"]:
        small = ", ".join(f"{name} ({count})" for name, count in row["left_out"].items())
        lines.append(f"{row['attribute']}: classes with too few users, not attacked: {small}")
    sampled = [r for r in rows if r["training_users"] < int(r["n_users"] * r["leak_ratio"])]
    if sampled:
        drawn, known = max(r["training_users"] for r in sampled), max(int(r["n_users"] * r["leak_ratio"]) for r in rows)
        names = ", ".join(dict.fromkeys(r["attacker"] for r in sampled))
        lines.append(f"{row['attribute']}: {names} learned from {drawn:,} of {known:,} users a fold, drawn by class")
    return lines


def _notes(report: AttackReport) -> str:
    lines = []
    for attribute, worst in report.worst_case().items():
        rows = report.where(attribute=attribute).rows
        row = next(row for row in rows if row["attacker"] == worst["attacker"])
        gain = f"advantage {worst['advantage']:.3f}{_verdict(worst, len(rows))}"
        lines.append(f"{attribute}: worst case {worst['attacker']}, {gain}")
        lines.append(f"{attribute}: {row['n_users']} users, majority {row['floor']['majority']:.3f}")
        lines += coverage(rows)
    return "\n".join(lines)
