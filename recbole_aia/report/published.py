"""The numbers that RAID and AttrCloak print, from ``properties/published``."""

from __future__ import annotations

import csv
import functools

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


@functools.cache
def _of_table(paper: str, table: str) -> list[dict[str, str]]:
    return [row for row in numbers(paper) if row["table"] == table]


def published(paper: str, *, table: str = "", **about: str) -> str:
    """A printed number; a dash if the paper has none, or more than one that fits.

    Args:
        paper: one of :data:`PAPERS`.
        table: where it stands; any table if empty.
        about: other columns of the file and their values; RecBole's names of models and ours of data sets.
            ``attribute`` and ``attacker`` are empty where a number has none.
    """
    rows = _of_table(paper, table) if table else numbers(paper)
    found = [row["value"] for row in rows if all(row.get(key) == value for key, value in about.items())]
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
