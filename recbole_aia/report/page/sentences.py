"""What a page says in words, made from the numbers of a results.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from recbole_aia.config.run_keys import REFERENCES
from recbole_aia.report.four_views import four_lines

_BLIND = 0.5  # a floor above which even a large leak stays within it
_SURE = 0.05  # level of a test
_ALMOST_ALL = 0.99
# What an attacker holds, by view.
_HELD = {
    "served": "the vectors that produce the scores (served)",
    "table": "the raw parameters (table)",
    "both": "served and raw vectors (both)",
    "top_k": "the recommendation lists (top_k)",
    "top_k_unmasked": "lists with seen items (top_k_unmasked)",
    "scores": "all scores (scores)",
}


class Verdict(NamedTuple):
    """What is said of an attribute.

    Attributes:
        attribute: its name.
        is_protected: whether the last state shows no more than guessing does; ``None`` where nothing can be told.
        headline: in three words.
        text: in full.
    """

    attribute: str
    is_protected: bool | None
    headline: str
    text: str


def last_state(results: Mapping[str, Any]) -> str:
    """``defended`` if there is such a state, else ``undefended``."""
    states = {row["state"] for row in results["attacks"]}
    return "defended" if "defended" in states else "undefended"


def auc_text(advantage: float) -> str:
    """An advantage as the share of pairs that an attacker tells apart."""
    return f"{100 * (0.5 + advantage / 2):.0f} of 100 pairs"


def verdicts(results: Mapping[str, Any]) -> list[Verdict]:
    """Whether each attribute is protected in the last state."""
    state = last_state(results)
    found = []
    for name, states in results["worst_case"].items():
        if state not in states:
            continue
        case = states[state]
        floor, gain = case.get("floor"), case["advantage"]
        informed = results.get("informed", {}).get("attributes", {}).get(name, {})
        if floor is None:
            is_protected, headline = None, "no floor known"
        elif floor > _BLIND:
            is_protected, headline = None, "too few users to tell"
        elif gain > floor:
            is_protected, headline = False, "not protected"
        elif informed.get("verdict") == "above":
            is_protected, headline = False, "not protected from whoever has old vectors"
        else:
            is_protected, headline = True, "nothing found"
        text = (
            f"The strongest of the attackers that were tried ({case['attacker']} on {case['view']}) tells the users of "
            f"two classes of {name} apart in {auc_text(gain)}; guessing gives 50, and luck up to "
            f"{'an unknown number' if floor is None else f'{100 * (0.5 + floor / 2):.0f}'} with so many attackers."
        )
        found.append(Verdict(name, is_protected, headline, text))
    return found


def how_much(results: Mapping[str, Any]) -> list[str]:
    """How much leaks, before a defense where there is one, and now."""
    said = []
    for name, states in results["worst_case"].items():
        before, after = states.get("undefended"), states.get("defended")
        if before and after:
            said.append(
                f"{name}: before the defense the strongest attacker told {auc_text(before['advantage'])} apart, after "
                f"it {auc_text(after['advantage'])}. {_kind_of_answer(results, name, after)}"
            )
        elif before:
            said.append(f"{name}: the strongest attacker tells {auc_text(before['advantage'])} apart.")
    return said


def _kind_of_answer(results: Mapping[str, Any], name: str, case: Mapping[str, Any]) -> str:
    """Says where the strongest attacker's answers come out reversed."""
    for row in results["attacks"]:
        same = (row["state"], row["attribute"], row["attacker"], row["view"])
        if same == ("defended", name, case["attacker"], case["view"]):
            auc = row["metrics"]["auc"]["mean"]
            if auc < 0.5 and "floor" in case and case["advantage"] > case["floor"]:
                return "Its answers come out reversed, and whoever expects that inverts them: this is a leak, too."
    return ""


def to_whom(results: Mapping[str, Any]) -> list[str]:
    """Who the attackers are, and what they hold."""
    state = last_state(results)
    rows = [row for row in results["attacks"] if row["state"] == state]
    if not rows:
        return []
    views = list(dict.fromkeys(row["view"] for row in rows if row["view"] not in REFERENCES))
    attackers = list(dict.fromkeys(row["attacker"] for row in rows))
    known = max(row["leak_ratio"] for row in rows)
    return [
        f"An attacker holds {_listed([_HELD.get(view, view) for view in views], 'or')} of every user, and knows the "
        f"attribute of {100 * known:.0f} % of the users. Tried: {_listed(attackers)}."
    ]


def what_changed(results: Mapping[str, Any]) -> list[str]:
    """What the defense changed, by paired tests, and what it wrote down."""
    said = []
    for name in dict.fromkeys(line["attribute"] for line in results.get("comparisons", [])):
        family = [line for line in results["comparisons"] if line["attribute"] == name]
        less = sum(line["difference"]["mean"] < 0 and line["p_holm"] < _SURE for line in family)
        more = sum(line["difference"]["mean"] > 0 and line["p_holm"] < _SURE for line in family)
        text = f"{name}: {less} of {len(family)} attacks gain less than before"
        said.append(f"{text} (p < 0.05, Holm){f', and {more} gain more' if more else ''}.")
    for name, cases in results.get("informed", {}).get("attributes", {}).items():
        if "beyond_old" not in cases:
            continue
        gain, floor = cases["beyond_old"], cases["floor"]
        if cases["verdict"] == "above":
            said.append(
                f"{name}: whoever has the old vectors as well learns more than these tell, by {gain:+.3f} of advantage "
                f"(chance: {floor:.3f}). Destroy old vectors, or keep them as confidential as the labels."
            )
        elif floor <= _BLIND:
            said.append(
                f"{name}: old and new vectors together give {gain:+.3f} of advantage beyond the old ones alone; chance "
                f"gives up to {floor:.3f}."
            )
    return said


def what_it_cost(results: Mapping[str, Any]) -> list[str]:
    """What recommendations lost."""
    utility = results.get("utility", {})
    if not {"undefended", "defended"} <= utility.keys():
        return []
    before, after = utility["undefended"], utility["defended"]
    said = []
    for metric in ("ndcg@10", "hit@10"):
        if before.get(metric) and metric in after:
            share = after[metric] / before[metric]
            word = "whole" if share >= _ALMOST_ALL else f"to {100 * share:.0f} %"
            said.append(
                f"{metric.upper()} on test items is kept {word}: {before[metric]:.4f} before and {after[metric]:.4f} "
                "after."
            )
    return said


def who_is_served(results: Mapping[str, Any]) -> list[str]:
    """The largest gap between two classes in what they are recommended, before and after."""
    said = []
    for attribute, states in results.get("fairness", {}).items():
        for metric in next(iter(states.values())):
            gaps = {state: metrics[metric]["gap"] for state, metrics in states.items()}
            parts = [
                f"{gap['mean']:.4f} {'before' if state == 'undefended' else 'after'} "
                f"({gap['best']} over {gap['worst']}, 95 % interval {gap['ci95'][0]:.4f} to {gap['ci95'][1]:.4f})"
                for state, gap in gaps.items()
            ]
            name = metric.upper()
            said.append(f"{attribute}: the best served class has more {name} than the worst by {', '.join(parts)}.")
    return said


def those_who_asked(results: Mapping[str, Any]) -> list[str]:
    """The four views of an unlearning."""
    return [f"{line[0].upper()}{line[1:]}." for line in four_lines(results)]


def how_sure(results: Mapping[str, Any]) -> list[str]:
    """Users, seeds and floors behind the numbers."""
    run, users = results["run"], results["data"]["n_users"]
    floors = [states[last_state(results)]["floor"] for states in results["worst_case"].values()
              if "floor" in states.get(last_state(results), {})]  # fmt: skip
    said = [f"{users:,} users, one run with seed {run['seed']}. Another seed moves every number here; run several."]
    if floors:
        said.append(
            f"With so many users, luck alone reaches an advantage of {max(floors):.3f}. Smaller leaks cannot be seen."
        )
    return said


def not_protected(results: Mapping[str, Any]) -> list[str]:
    """What is not protected, or was not looked at."""
    said = [f"{each.attribute}: {each.headline}." for each in verdicts(results) if not each.is_protected]
    hidden = set(results["run"]["attributes"])
    others = [name for name in results["worst_case"] if name not in hidden]
    if others:
        said.append(f"The defense was not asked to hide {_listed(others)}.")
    views = {row["view"] for row in results["attacks"]}
    unseen = [
        text for view, text in (("top_k", "recommendation lists"), ("table", "raw parameters")) if view not in views
    ]
    if unseen:
        said.append(f"Not attacked here: {_listed(unseen)}.")
    said += [note if note.endswith(".") else f"{note}." for note in results["run"].get("notes", [])]
    said.append("Attackers that were not tried may find more. This is a measurement, and no proof.")
    return said


def _listed(names: Sequence[str], word: str = "and") -> str:
    if len(names) < 2:
        return names[0] if names else "nothing"
    return f"{', '.join(names[:-1])} {word} {names[-1]}"
