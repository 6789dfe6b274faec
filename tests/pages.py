"""Results as pages need them, small and made up."""

from dataclasses import replace

from recbole_aia.config.grid import Grid
from recbole_aia.report.compared import Compared
from recbole_aia.report.swept import Confirmed, Swept, Tried

HOSTILE = "<script>alert(1)</script>"


def attack(state, attribute, gain, auc, attacker="svm", ratio=0.8):
    names = ("balanced_accuracy", "f1_macro", "f1_micro")
    metrics = {name: {"mean": 0.5, "ci95": [0.4, 0.6]} for name in names}
    metrics |= {"advantage": {"mean": gain, "ci95": [0, 1]}, "auc": {"mean": auc, "ci95": [0, 1]}}
    return {
        "state": state, "view": "served", "attribute": attribute, "attacker": attacker, "leak_ratio": ratio,
        "n_users": 100, "metrics": metrics, "auc_per_class": {"F": auc}, "seconds": 1.0,
        "floor": {"majority": 0.5, "permuted_advantage95": 0.1},
    }  # fmt: skip


def results(attribute="gender", after=0.05, auc=0.52, **more):
    """The content of a run's results.json with one attribute and one attacker."""
    cases = {"undefended": (0.5, 0.75), "defended": (after, auc)}
    return {
        "schema": "recbole-aia/1",
        "run": {
            "model": "BPR", "dataset": "ml-100k", "defense": "raid", "stage": "in", "seed": 1,
            "attributes": [attribute], "device": "cpu", "notes": [],
            "versions": {"recbole-aia": "0.2.0"}, "seconds": {"attack": 1.0, "train_defended": 2.0},
        },
        "data": {
            "n_users": 100, "n_items": 10, "n_interactions": 1000,
            "attributes": {attribute: {"classes": {"F": 60, "M": "<5"}, "missing": 3}},
        },
        "utility": {state: {"ndcg@10": value} for state, value in (("undefended", 0.1), ("defended", 0.09))},
        "attacks": [attack(state, attribute, *numbers) for state, numbers in cases.items()],
        "worst_case": {
            attribute: {
                state: {"attacker": "svm", "view": "served", "advantage": gain, "floor": 0.1}
                for state, (gain, _) in cases.items()
            }
        },
        **more,
    }  # fmt: skip


def densities(state, attribute, told="M"):
    """The densities of two classes, one grid value each."""
    classes = {"F": 60, told: 40}
    return {
        "state": state, "view": "served", "attribute": attribute, "told": told, "auc": 0.75, "grid": [-1.0, 0.0, 1.0],
        "classes": {
            name: {"n_users": count, "bandwidth": 0.4, "mean": 0.1, "density": [0.1, 0.3, 0.2]}
            for name, count in classes.items()
        },
    }  # fmt: skip


def epoch(number, phase=1, refreshed=(), **losses):
    """An epoch of a training."""
    losses = {"rec": 2.0 / (number + 1), **losses}
    valid = 0.1 + number / 100 if number % 2 else None
    return {"epoch": number, "phase": phase, "losses": losses, "valid": valid, "refreshed": list(refreshed)}


def full(attribute="gender", **more):
    """A run with everything that figures are made of."""
    found = results(attribute, **more)
    found["attacks"] += [
        attack(state, attribute, gain, 0.6, ratio=0.2) for state, gain in (("undefended", 0.3), ("defended", 0.02))
    ]
    found["densities"] = [densities(state, attribute) for state in ("undefended", "defended")]
    raid = f"raid {attribute}"
    after = [epoch(0), epoch(1), epoch(2, 2, [raid], **{raid: 1.5}), epoch(3, 2, **{raid: 1.0}),
             epoch(4, 2, [raid], **{raid: 0.5})]  # fmt: skip
    states = {"undefended": [epoch(number) for number in range(5)], "defended": after}
    found["curves"] = {"metric": "ndcg@10", "states": states}
    groups = [
        {"interactions": [5 * k, 5 * k + 4], "n_users": 4 + k, "advantage": 0.1 * k, "floor": 0.1} for k in range(3)
    ]
    found["who_leaks"] = [
        {"state": state, "view": "served", "attribute": attribute, "attacker": "svm", "leak_ratio": 0.8,
         "groups": groups, "dimensions": [], "dimension_floor": 0.1}
        for state in ("undefended", "defended")
    ]  # fmt: skip
    return found


def varied():
    """The runs of a grid that varies a key, and the grid."""
    keys = {"models": ["BPR"], "seeds": [1, 2], "methods": {"none": {"defense": "none"}, "raid": {"defense": "raid"}}}
    grid = Grid.of({**keys, "vary": {"raid_eta": [0.5, 1.0, 10.0]}}, "test")
    gains = {"none": 0.5, "raid raid_eta=0.5": 0.3, "raid raid_eta=1.0": 0.2, "raid raid_eta=10.0": 0.1}
    runs = []
    for cell in grid.cells():
        gain = gains[cell.method]
        found = results(after=gain * (1 + cell.seed / 100))
        found["utility"]["defended"]["ndcg@10"] = 0.1 - gain * cell.seed / 100
        runs.append(Compared(cell, found))
    return grid, runs


def audited():
    """The content of an audit's results.json."""
    found = results(audit={"kind": "embeddings", "path": "e.npz", "labels": "l.csv", "notes": []})
    found["attacks"] = found["attacks"][:1]
    found["worst_case"]["gender"].pop("defended")
    del found["utility"]
    return found


def hostile():
    """A run whose names would be elements if they were not text."""
    found = full(HOSTILE)
    found["densities"] = [densities(state, HOSTILE, HOSTILE) for state in ("undefended", "defended")]
    found["data"]["attributes"][HOSTILE]["classes"] = {HOSTILE: 50, "b": 50}
    found["run"]["dataset"] = HOSTILE
    return found


def swept(bound=0.2, again=0.22):
    """A sweep of four finished trials, of which the last two are within the bound, a pruned and a failed one."""
    numbers = [(0.30, 0.5, 0.5), (0.28, 0.4, 0.6), (0.20, 0.2, 0.2), (0.10, 0.1, 0.7)]  # validation, advantage, scale
    finished = [
        Tried(number, {"noise_scale": scale}, "finished", validation, validation / 0.4, advantage, 0.05, "gender")
        for number, (validation, advantage, scale) in enumerate(numbers)
    ]
    pruned = Tried(4, {"noise_scale": 3.0}, "pruned", validation=0.01)
    failed = Tried(5, {"noise_scale": 4.0}, "failed", reason="<b>no</b> | table")
    found = Swept("noise on BPR, ml-100k", "NDCG@10", bound, ["noise_scale"], [*finished, pruned, failed])
    confirmed = Confirmed(2021, again, 0.06, {"undefended": 0.41, "defended": 0.19})
    return replace(found, confirmed=confirmed) if found.best else found
