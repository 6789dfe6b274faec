"""Why a defense has to stop at chance: the figures and numbers of docs/finding.md, from an undefended BPR.

    python -m benchmarks.finding --out docs/figures

Prints one JSON line for each step of the page. Takes two to three minutes, or less if ``saved/`` has the undefended
twin.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold
from torch import Tensor

from recbole_aia import AIAConfig, AttributeInferenceEvaluator
from recbole_aia.data import create_dataset, load_labels
from recbole_aia.losses import ClassDiscrepancy, align_vectors
from recbole_aia.losses.calibrated.transport import mean_and_covariance, transport_map
from recbole_aia.trainer import undefended_twin

ATTACKERS = ("logistic", "quadratic", "random_forest")
STEPS = (0, 5, 10, 20, 50, 100)  # numbers of alignment steps after which users are attacked
FOLDS = 5
GROUPS = 500  # number of random groups, each of the size of the smaller class
CLASSES = {"F": "women", "M": "men"}
COLORS = ("#b2472f", "#2f6db2")  # colors of the two classes
GREEN = "#2e7d32"
INK = "0.35"

Floats = NDArray[np.floating[Any]]


def main() -> None:
    """Computes everything, prints it, draws it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/figures"))
    parser.add_argument("--seed", type=int, default=2020)
    arguments = parser.parse_args()
    users, labels, names = undefended(arguments.seed)
    discrepancy = ClassDiscrepancy(users, labels[:, None])
    states = {
        "undefended": users,
        "same means": matched(users, labels, covariances=False),
        "same means and covariances": matched(users, labels, covariances=True),
    }
    attacks = {state: Attack(where, labels) for state, where in states.items()}
    for state, attack in attacks.items():
        say(state, auc=attack.auc, largest_statistic=largest(discrepancy, states[state]),
            moved=moved(users, states[state]))  # fmt: skip
    sides = held_out(states["same means"], labels)
    say("held out", **sides)
    descent: dict[int, Attack] = {}
    for steps in STEPS:
        where, outcome = align_vectors(users, discrepancy, steps)
        attack = descent[outcome.steps] = Attack(where, labels)
        say("descent", steps=outcome.steps, auc=attack.auc, floor=attack.floor,
            largest_statistic=largest(discrepancy, where), moved=moved(users, where))  # fmt: skip
        if outcome.steps < steps:
            break
    states["calibrated"] = where
    chance = random_groups(users, labels)
    marks = {state: float(of_means(discrepancy, where)[0]) for state, where in states.items()}
    say("random groups", groups=GROUPS, mean=round(float(chance.mean()), 2), deviation=round(float(chance.std()), 2),
        smallest=round(float(chance.min()), 1),
        statistic={state: round(value, 1) for state, value in marks.items()})  # fmt: skip
    arguments.out.mkdir(parents=True, exist_ok=True)
    draw_undefended(attacks["undefended"], labels, names, arguments.out / "finding_undefended.svg")
    draw_matched(attacks["same means"], labels, names, sides, arguments.out / "finding_matched.svg")
    draw_chance(chance, marks, arguments.out / "finding_chance.svg")
    draw_descent(descent, attacks, arguments.out / "finding_descent.svg")


def undefended(seed: int) -> tuple[Tensor, Tensor, list[str]]:
    """The users' vectors ``[n, d]`` in an undefended BPR on ml-100k, their gender ``[n]``, and the class names."""
    values = {"seed": seed, "attributes": ["gender"], "show_progress": False, "gpu_id": ""}
    config = AIAConfig("BPR", "ml-100k", config_dict=values, argv=[])
    data = create_dataset(config)
    labels = load_labels(config, data)
    names = [CLASSES[name] for name in labels.classes["gender"]]
    return undefended_twin(config, data)[0].served.float(), labels.column("gender")[1:], names


class Attack:
    """The attackers' answers for held-out users.

    Attributes:
        auc: the mean AUC over folds, by attacker.
        floor: the largest floor of the attackers; 95 of 100 guesses have ``2 |AUC - 1/2|`` below an attacker's floor.
        scores: log-odds that the logistic attacker gives to the second class, ``[n]``.
    """

    def __init__(self, users: Tensor, labels: Tensor) -> None:
        evaluator = AttributeInferenceEvaluator(
            attackers=ATTACKERS, attack_folds=FOLDS, attack_repeats=1, attack_jobs=1, show_progress=False
        )
        report = evaluator.evaluate(users.numpy(), {"gender": labels.numpy()})
        self.auc = {row["attacker"]: round(row["metrics"]["auc"]["mean"], 3) for row in report.rows}
        self.floor = round(max(row["floor"]["permuted_advantage95"] for row in report.rows), 3)
        said = report.evidence[ATTACKERS.index("logistic")].held_out.scores[0]
        self.scores: Floats = np.log(said[:, 1] / said[:, 0])


def matched(users: Tensor, labels: Tensor, *, covariances: bool) -> Tensor:
    """Users ``[n, d]`` whose classes have exactly the mean of all users, and with ``covariances`` their covariance."""
    mean, covariance = mean_and_covariance(users)
    result = users.clone()
    for k in labels.unique():
        own, spread = mean_and_covariance(users[labels == k])
        centered = users[labels == k] - own.to(users)
        result[labels == k] = mean.to(users) + (
            centered @ transport_map(spread, covariance).to(users) if covariances else centered
        )
    return result


def held_out(users: Tensor, labels: Tensor) -> dict[str, list[float]]:
    """Positions of the classes' means among training users and among held-out users; averages over folds.

    Positions are measured along the line through the two training means, from the mean of all users, in standard
    deviations of the users.
    """
    standardized = ((users - users.mean(0)) / users.std(0)).numpy()
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(standardized, labels.numpy())
    sides = []
    for train, test in folds:
        means = [[standardized[part][labels.numpy()[part] == k].mean(0) for k in (0, 1)] for part in (train, test)]
        line = means[0][1] - means[0][0]
        line /= np.linalg.norm(line)
        sides.append([[float(mean @ line) / float((standardized @ line).std()) for mean in pair] for pair in means])
    learned, judged = np.mean(sides, axis=0).round(3).tolist()
    return {"learned_from": learned, "held_out": judged}


def random_groups(users: Tensor, labels: Tensor) -> Floats:
    """The statistic of the means for random groups of the classes' sizes, ``[GROUPS]``."""
    generator = torch.Generator().manual_seed(0)
    permuted = torch.stack([labels[torch.randperm(len(labels), generator=generator)] for _ in range(GROUPS)], dim=1)
    values: Floats = of_means(ClassDiscrepancy(users, permuted, exact_users=0), users)[::2].numpy()
    return values


def of_means(discrepancy: ClassDiscrepancy, users: Tensor) -> Tensor:
    """The statistic of the means of whitened users, for each class."""
    return discrepancy(users)[discrepancy.kernels.index("white linear")]


def largest(discrepancy: ClassDiscrepancy, users: Tensor) -> float:
    """The statistic that is farthest from chance, which is 0."""
    values = discrepancy(users).flatten()
    return round(float(values[values.abs().argmax()]), 2)


def moved(before: Tensor, after: Tensor) -> float:
    """The root mean square of the users' moves, in standard deviations of each dimension."""
    return round(float(((after - before) / before.std(0)).square().mean().sqrt()), 3)


def say(step: str, **values: Any) -> None:
    """Prints a JSON line."""
    print(json.dumps({"step": step, **values}), flush=True)


@contextmanager
def drawing(path: Path, width: float, height: float, columns: int = 1, **options: Any) -> Iterator[list[Any]]:
    """Gives the panels of a figure, and saves the figure at the end of the block."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "recbole-aia"  # the same numbers give the same file
    figure = Figure(figsize=(width, height), layout="constrained")
    panels = figure.subplots(1, columns, squeeze=False, **options)[0]
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
    yield list(panels)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _scores(panel: Any, attack: Attack, labels: Tensor, names: list[str]) -> None:
    from scipy.stats import gaussian_kde

    grid = np.linspace(np.quantile(attack.scores, 0.001), np.quantile(attack.scores, 0.999), 200)
    for k, (name, color) in enumerate(zip(names, COLORS, strict=True)):
        own = attack.scores[labels.numpy() == k]
        heights = gaussian_kde(own)(grid)
        panel.fill_between(grid, heights, color=color, alpha=0.18, linewidth=0)
        panel.plot(grid, heights, color=color, label=f"{name} ({len(own)} users)")
        panel.plot([own.mean()] * 2, [0, heights.max()], color=color, linewidth=1, linestyle="--")
    panel.set(xlabel=f"attacker's log-odds for {names[1]}, users held out", ylabel="users of the class", yticks=[])
    panel.set_ylim(bottom=0, top=panel.get_ylim()[1] * 1.3)
    panel.legend(loc="upper left", frameon=False, fontsize=9)
    panel.text(0.98, 0.95, f"AUC {attack.auc['logistic']:.2f}", transform=panel.transAxes, ha="right", va="top")


def draw_undefended(attack: Attack, labels: Tensor, names: list[str], path: Path) -> None:
    """Draws the distribution of the logistic attacker's scores by class."""
    with drawing(path, 5.2, 2.9) as [panel]:
        _scores(panel, attack, labels, names)


def draw_matched(attack: Attack, labels: Tensor, names: list[str], sides: dict[str, list[float]], path: Path) -> None:
    """Draws the attacker's scores after exact matching, and beside them the means of training and held-out users."""
    with drawing(path, 9.4, 2.9, columns=2) as [panel, why]:
        _scores(panel, attack, labels, names)
        why.axvline(0, color=INK, linewidth=1)
        for k, color in enumerate(COLORS):
            height = 1 - k
            why.plot([sides["learned_from"][k], sides["held_out"][k]], [height] * 2, color=color, linewidth=1)
            why.plot(sides["learned_from"][k], height, "o", color=color, markersize=8)
            why.plot(sides["held_out"][k], height, "o", color=color, markersize=8, markerfacecolor="white")
            why.annotate("learned from", (sides["learned_from"][k], height), (0, 9), textcoords="offset points",
                         ha="right" if sides["learned_from"][k] < 0 else "left", fontsize=9)  # fmt: skip
            why.annotate("held out", (sides["held_out"][k], height), (0, 9), textcoords="offset points", ha="center",
                         fontsize=9)  # fmt: skip
        reach = 1.35 * max(map(abs, sides["held_out"]))
        why.set(xlim=(-reach, reach), ylim=(-0.5, 1.7), yticks=[1, 0], yticklabels=names)
        why.set(xlabel="mean of the class along what the attacker learns;\n0 is the mean of everyone")
        why.tick_params(left=False)
        why.spines["left"].set_visible(False)


def draw_chance(chance: Floats, marks: dict[str, float], path: Path) -> None:
    """Draws the statistic of random groups, and marks the statistic of the classes."""
    with drawing(path, 7.6, 2.9) as [panel]:
        heights = panel.hist(chance, bins=24, color="0.8", density=True)[0]
        named = {"exact match": "same means", "calibrated": "calibrated", "undefended": "undefended"}
        for (name, state), color in zip(named.items(), (COLORS[1], GREEN, COLORS[0]), strict=True):
            value = marks[state]
            panel.plot([value] * 2, [0, 1.12 * heights.max()], color=color, linewidth=2)
            panel.annotate(f"{name}\n{value:+.1f}", (value, 1.15 * heights.max()), ha="center", va="bottom",
                           color=color, fontsize=9)  # fmt: skip
        panel.annotate(f"{GROUPS} random groups", (float(chance.max()), 0.4 * heights.max()), (6, 0),
                       textcoords="offset points", fontsize=9, color=INK)  # fmt: skip
        panel.set(xlabel="distance of the classes' means, in standard deviations of random groups", yticks=[])
        panel.set_ylim(0, 1.6 * heights.max())
        panel.spines["left"].set_visible(False)


def draw_descent(descent: dict[int, Attack], attacks: Mapping[str, Attack], path: Path) -> None:
    """Draws the AUC of each attacker step by step, and beside it the AUC after exact matching."""
    with drawing(path, 7.6, 3.2, columns=2, sharey=True, width_ratios=[2.6, 1]) as [panel, exact]:
        for attacker, mark, color in zip(ATTACKERS, "osD", (COLORS[1], COLORS[0], GREEN), strict=True):
            values = [attack.auc[attacker] for attack in descent.values()]
            style = {"marker": mark, "color": color, "markersize": 5}
            panel.plot(range(len(descent)), values, label=attacker.replace("_", " "), **style)
            matches = [attack.auc[attacker] for state, attack in attacks.items() if state != "undefended"]
            exact.plot(range(len(matches)), matches, linestyle="none", **style)
        half = max(attack.floor for attack in descent.values()) / 2
        for each in (panel, exact):
            each.axhspan(0.5 - half, 0.5 + half, color="0.9", linewidth=0, zorder=0)
            each.axhline(0.5, color=INK, linewidth=1, linestyle="--", zorder=0)
        panel.annotate(
            "95 of 100 guesses", (0, 0.5 - half), (0, -11), textcoords="offset points", fontsize=9, color=INK
        )
        panel.set(xlabel="steps of the calibrated alignment", ylabel="AUC, gender")
        panel.set_xticks(range(len(descent)), [*map(str, list(descent)[:-1]), f"{list(descent)[-1]} (end)"])
        panel.legend(loc="upper right", frameon=False, fontsize=9)
        exact.set(xlabel="exact matching", xlim=(-0.6, 1.6))
        exact.set_xticks([0, 1], ["means", "means and\ncovariances"], fontsize=9)


if __name__ == "__main__":
    main()
