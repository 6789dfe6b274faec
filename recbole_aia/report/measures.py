"""The columns of a comparison's table, read from results.json files.

A measure of a table is a mapping of one of these forms:

- ``{attacker: mlp_raid, metric: f1_binary, otherwise: f1_micro, name: F1}``: an attacker's metric on the last state,
  in the main attack or, with ``attack: paper``, in that one of ``further_attacks``;
  ``otherwise`` where the attribute does not have it; ``leak_ratio: 0.2`` if it learned from several shares of users.
  ``published: {table: "2", attacker: MLP, metric: F1}`` puts the paper's number beside it: columns of
  ``properties/published`` and their values, each of which may be a mapping by model. The model, the attribute and the
  data set are the line's; ``dataset: ml-1m`` says whose number to take where the paper has none on the
  line's data set. A method's ``published`` goes before.
- ``{worst_case: true}``: the advantage of the strongest attacker, with its floor.
- ``{beyond_old: true}``: what an attacker with the old and the new vectors gains over the old ones, with its floor.
- ``{utility: ndcg@10}``: a metric of recommendation; ``{kept: ndcg@10}``: divided by the undefended model's.
- ``{seconds: true}``: of the training that the line adds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from recbole_aia.errors import ConfigValueError

LOWER, HIGHER = "lower", "higher"


@dataclass(frozen=True)
class Measure:
    """A column.

    Attributes:
        name: its heading.
        value: of a run and an attribute; ``None`` where there is none.
        better: ``lower`` or ``higher`` for what is set in bold; empty for none.
        places: digits after the point; with none, there is no interval either.
        beside: a further number of a run and an attribute, whose mean stands in brackets.
        printed: the paper's number for a line.
        of_run: whether it is the same for all attributes of a run.
    """

    name: str
    value: Callable[[Mapping[str, Any], str], float | None]
    better: str = ""
    places: int = 3
    beside: Callable[[Mapping[str, Any], str], float | None] | None = None
    printed: Mapping[str, Any] | None = None
    of_run: bool = False


def measure(given: Mapping[str, Any]) -> Measure:
    """The column that a grid's entry of ``measures`` describes."""
    name = str(given.get("name", ""))
    if given.get("worst_case"):
        return Measure(name or "worst case (floor)", partial(_worst, "advantage"), LOWER, 3, partial(_worst, "floor"))
    if given.get("beyond_old"):
        heading = name or "old and new add (floor)"
        return Measure(heading, partial(_informed, "beyond_old"), LOWER, 3, partial(_informed, "floor"))
    if "utility" in given:
        return Measure(
            name or given["utility"].upper(), partial(_utility, given["utility"]), HIGHER, 4, None,
            given.get("published"), of_run=True,
        )  # fmt: skip
    if "kept" in given:
        return Measure(name or f"{given['kept'].upper()} kept", partial(_kept, given["kept"]), HIGHER, of_run=True)
    if given.get("seconds"):
        return Measure(name or "seconds", _seconds, places=0, printed=given.get("published"), of_run=True)
    for key in ("attacker", "metric"):
        if key not in given:
            raise ConfigValueError(f"the measure {dict(given)} has no '{key}'. See recbole_aia/report/measures.py.")
    metrics = [given["metric"], given.get("otherwise", given["metric"])]
    heading = name or f"{given['attacker']} {given['metric']}"
    found = partial(_attack, given.get("attack"), given["attacker"], metrics, given.get("leak_ratio"))
    # An attacker below chance is read in reverse, so of these metrics neither the least nor the most is best.
    return Measure(heading, found, LOWER if metrics[0] == "advantage" else "", printed=given.get("published"))


def state_of(results: Mapping[str, Any]) -> str:
    """The last state of a run: ``defended``, or ``undefended`` without a defense."""
    return "defended" if "defended" in results["utility"] else "undefended"


def _attack(
    attack: str | None,
    attacker: str,
    metrics: Sequence[str],
    leak_ratio: float | None,
    results: Mapping[str, Any],
    attribute: str,
) -> float | None:
    wanted = (state_of(results), "served", attribute, attacker)
    for row in results.get("further_attacks", {}).get(attack, []) if attack else results["attacks"]:
        known = leak_ratio is None or abs(row["leak_ratio"] - leak_ratio) < 1e-9
        if known and (row["state"], row["view"], row["attribute"], row["attacker"]) == wanted:
            return next((row["metrics"][name]["mean"] for name in metrics if name in row["metrics"]), None)
    return None


def _worst(number: str, results: Mapping[str, Any], attribute: str) -> float | None:
    found: float | None = results["worst_case"].get(attribute, {}).get(state_of(results), {}).get(number)
    return found


def _informed(number: str, results: Mapping[str, Any], attribute: str) -> float | None:
    found: float | None = results.get("informed", {}).get("attributes", {}).get(attribute, {}).get(number)
    return found


def _utility(metric: str, results: Mapping[str, Any], attribute: str) -> float | None:
    found: float | None = results["utility"][state_of(results)].get(metric)
    return found


def _kept(metric: str, results: Mapping[str, Any], attribute: str) -> float | None:
    before = results["utility"]["undefended"].get(metric)
    after = results["utility"][state_of(results)].get(metric)
    return after / before if before and after is not None else None


def _seconds(results: Mapping[str, Any], attribute: str) -> float | None:
    found: float | None = results["run"]["seconds"].get(f"train_{state_of(results)}")
    return found
