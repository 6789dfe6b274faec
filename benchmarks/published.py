"""The numbers that RAID and AttrCloak print, from ``properties/published``."""

from __future__ import annotations

import csv
import functools
from dataclasses import dataclass

from recbole_aia.config.properties import properties_dir


@functools.cache
def numbers(paper: str) -> list[dict[str, str]]:
    """All printed numbers of a paper: ``table`` says where a number stands, the other columns what it is about.

    RAID's NCF is NeuMF. AttrCloak's tables are those of its slides; a number that they lack has the setting ``poster``.
    """
    with (properties_dir() / "published" / f"{paper}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@dataclass(frozen=True)
class Published:
    """The printed numbers of one method on one model and dataset.

    Attributes:
        paper: a file's name, ``raid`` or ``attrcloak``.
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
