"""What the attacks found, ready to print, tabulate or write."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd  # type: ignore[import-untyped]
from texttable import Texttable

from recbole_aia.files import write_whole

_KEYS = ("state", "view", "attribute", "attacker")


@dataclass(frozen=True)
class AttackReport:
    """Results of attacks, one row for each state, view, attribute and attacker.

    Attributes:
        rows: plain dicts as in the ``attacks`` of results.json. Besides its keys, ``missing`` counts the
            users without a label and ``left_out`` the members of classes too small to attack; where there is
            ``training_users``, so many users at most were learned from in a fold.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def concat(cls, reports: Iterable[AttackReport]) -> AttackReport:
        """One report of several, in their order."""
        return cls([row for report in reports for row in report.rows])

    def __add__(self, other: AttackReport) -> AttackReport:
        return self.concat([self, other])

    def where(self, **values: str) -> AttackReport:
        """The rows that have these values, as in ``report.where(state="defended")``."""
        return type(self)([row for row in self.rows if all(row[key] == value for key, value in values.items())])

    def worst_case(self) -> dict[str, dict[str, Any]]:
        """The strongest attacker of each attribute over all rows, and its advantage.

        A report of several states should be narrowed first (:meth:`where`).

        Returns:
            ``{attribute: {"attacker": name, "advantage": mean}}``; the earlier row wins a tie.
        """
        worst: dict[str, dict[str, Any]] = {}
        for row in self.rows:
            gain = row["metrics"]["advantage"]["mean"]
            if row["attribute"] not in worst or gain > worst[row["attribute"]]["advantage"]:
                worst[row["attribute"]] = {"attacker": row["attacker"], "advantage": gain}
        return worst

    def to_frame(self) -> pd.DataFrame:
        """A tidy table: one line for each row and metric, with its interval and the floors."""
        return pd.DataFrame(
            [
                {
                    **{key: row[key] for key in _KEYS},
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
        groups = list(dict.fromkeys((row["state"], row["view"]) for row in self.rows))
        blocks = []
        for state, view in groups:
            part = self.where(state=state, view=view)
            blocks.append(f"{state}, {view} embeddings\n{_table(part.rows)}\n{_notes(part)}")
        return "\n\n".join(blocks) or "no attack"


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
                _interval(metrics["auc"]),
                *(f"{metrics[m]['mean']:.3f}" for m in ("balanced_accuracy", "f1_macro")),
                _interval(metrics["advantage"]),
                f"{floor:.3f}",
            ]
        )
    return str(table.draw())


def _interval(metric: dict[str, Any]) -> str:
    low, high = metric["ci95"]
    return f"{metric['mean']:.3f} ({low:.2f}-{high:.2f})"


def _notes(report: AttackReport) -> str:
    lines = []
    for attribute, worst in report.worst_case().items():
        rows = report.where(attribute=attribute).rows
        row = next(row for row in rows if row["attacker"] == worst["attacker"])
        floor = row["floor"]["permuted_advantage95"]
        side = "above" if worst["advantage"] > floor else "within"
        lines.append(
            f"{attribute}: worst case {worst['attacker']}, advantage {worst['advantage']:.3f}, {side} its "
            f"floor {floor:.3f}; majority {row['floor']['majority']:.3f}; {row['n_users']} users"
        )
        if row["missing"]:
            lines.append(f"{attribute}: {row['missing']} users without a label, not attacked")
        if row["left_out"]:
            small = ", ".join(f"{name} ({count})" for name, count in row["left_out"].items())
            lines.append(f"{attribute}: classes with too few users, not attacked: {small}")
        sampled = [r for r in rows if r.get("training_users", r["n_users"]) < int(r["n_users"] * r["leak_ratio"])]
        if sampled:
            drawn, users = max(r["training_users"] for r in sampled), int(row["n_users"] * row["leak_ratio"])
            names = ", ".join(r["attacker"] for r in sampled)
            lines.append(f"{attribute}: {names} learned from {drawn:,} of {users:,} users a fold, drawn by class")
    return "\n".join(lines)
