"""The numbers that RAID and AttrCloak print, from ``properties/published``."""

from __future__ import annotations

import csv
import functools
from dataclasses import dataclass

from recbole_aia.config.properties import properties_dir

#: The papers, by the names of their files.
PAPERS = ("raid", "attrcloak")


@functools.cache
def numbers(paper: str) -> list[dict[str, str]]:
    """All printed numbers of a paper: ``table`` says where a number stands, the other columns what it is about.

    RAID's NCF is NeuMF. AttrCloak's tables are those of its slides; a number that they lack has the setting ``poster``.
    Values are as printed, with all their digits.

    Args:
        paper: one of :data:`PAPERS`.
    """
    with (properties_dir() / "published" / f"{paper}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@dataclass(frozen=True)
class Published:
    """The printed numbers of one method on one model and dataset.

    Attributes:
        paper: one of :data:`PAPERS`.
        dataset: as we call it.
        model: as RecBole calls it.
        method: as the paper calls it; empty if it has no such method.
    """

    paper: str
    dataset: str
    model: str
    method: str

    def value(self, table: str, metric: str, attribute: str = "", attacker: str = "") -> str:
        """The printed number; a dash if the paper has none."""
        wanted = {
            "table": table, "dataset": self.dataset, "model": self.model, "method": self.method, "metric": metric,
            "attribute": attribute, "attacker": attacker,
        }  # fmt: skip
        found = [row["value"] for row in numbers(self.paper) if all(row[k] == v for k, v in wanted.items())]
        return found[0] if len(found) == 1 else "-"


def below_chance(margin: float = 0.03) -> list[tuple[dict[str, str], float]]:
    """RAID's printed balanced accuracies after RAID that lie below chance by more than ``margin``, and chance.

    They stand in tables 2 and 6 to 8. KuaiSAR is left out: its floors do not fit its numbers of classes.
    """
    chance = {(row["dataset"], row["attribute"]): 1 / int(row["value"]) for row in _classes()}
    return [
        (row, chance[row["dataset"], row["attribute"]])
        for row in numbers("raid")
        if (row["metric"], row["method"]) == ("BAcc", "RAID")
        and (row["dataset"], row["attribute"]) in chance
        and row["table"] in ("2", "6", "7", "8")
        and float(row["value"]) < chance[row["dataset"], row["attribute"]] - margin
    ]


def _classes() -> list[dict[str, str]]:
    """The lines of RAID's table 1 with the number of classes of an attribute."""
    return [row for row in numbers("raid") if row["metric"] == "classes" and row["dataset"] != "kuaisar"]
