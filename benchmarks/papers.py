"""The papers' tables: every method on their models, by their measure and by ours, beside what they print.

    python -m benchmarks.papers raid --out raid.jsonl
    python -m benchmarks.papers attrcloak --out attrcloak.jsonl

Runs what is missing in ``--out``, seed by seed, and prints the table of all runs that are there. ``--models``,
``--methods`` and ``--seeds`` take a part; ``--print`` runs nothing. Arguments after ``--`` go to every run.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from benchmarks.adversary import FreshAdversary
from benchmarks.quality import interval
from recbole_aia import AIAConfig, AttributeInferenceEvaluator, register_attacker, run_recbole_aia
from recbole_aia.data import create_dataset, load_labels
from recbole_aia.errors import AIAError
from recbole_aia.report.published import Published

Arguments = tuple[str, ...]

_RUN = (
    "--eval_args={split: {LS: valid_and_test}, order: TO, group_by: user, mode: full}",
    "--topk=[5,10,15,20]",
    "--attackers=[logistic,svm,random_forest,quadratic]",
    "--attack_repeats=1",
    "--attack_views=served",
    "--show_progress=False",
    "--state=warning",
)
# Epochs after which NDCG@10 on validation items fell, in steps of five; the best of them is kept.
_MODELS: dict[str, Arguments] = {
    "DMF": ("--epochs=25", "--eval_step=5", "--stopping_step=100"),
    "NeuMF": ("--epochs=45", "--eval_step=5", "--stopping_step=100"),
    "LightGCN": ("--epochs=40", "--eval_step=5", "--stopping_step=100"),
}
_GRAPH = ("LightGCN",)


@dataclass(frozen=True)
class Method:
    """A line of a table.

    Attributes:
        arguments: of its run.
        published: its name in the paper, if the paper has it.
        models: models that it works on; empty: all.
        own_epochs: whether its preset says how many epochs there are.
    """

    arguments: Arguments
    published: str = ""
    models: Arguments = ()
    own_epochs: bool = False


def _defense(name: str, *more: str, published: str = "", models: Arguments = (), own_epochs: bool = False) -> Method:
    return Method((f"--defense={name}", *more), published, models, own_epochs)


_POST = "--stage=post"
_UNDEFENDED = Method(("--defense=none",), "Original")
_CALIBRATED = _defense("calibrated", _POST)
_RAID: dict[str, Method] = {
    "undefended": _UNDEFENDED,
    "RAID, literal": _defense("raid", "--preset=paper", published="RAID", own_epochs=True),
    "RAID, literal with Adam": _defense("raid", "--preset=paper-adam", published="RAID", own_epochs=True),
    "RAID, ours": _defense("raid"),
    "noise of DP (epsilon 50)": _defense("dp", "--dp_epsilon=50", published="DP-PoT", models=("DMF", "NeuMF")),
    "noise on the table": _defense("noise", "--target=table", published="DP-PoT", models=_GRAPH),
    "U2U-R": _defense("u2u", "--preset=paper", published="AU-PoT"),
    "D2D-R": _defense("d2d", "--preset=paper", published="AU-PoT"),
    "Adv-InT": _defense("adversarial", "--preset=paper", published="Adv-InT"),
    "AdvX": _defense("adversarial", "--preset=advx"),
    "adversarial, ours": _defense("adversarial"),
    "adversarial, ours, after training": _defense("adversarial", _POST),
    "RAP": _defense("rap", models=("DMF", "LightGCN")),
    "SWD": _defense("swd", "--preset=paper"),
    "SWD, stopped at chance": _defense("swd", "--calibrate=True"),
    "LEACE": _defense("leace"),
    "BlurMe": _defense("blurme", models=("NeuMF",)),
    "PerBlur": _defense("blurme", "--blurme_variant=perblur", "--blurme_share=0.05", models=("NeuMF",)),
    "records removed": _defense("record", models=("NeuMF",)),
    "AttrCloak, literal": _defense("attrcloak", "--preset=paper"),
    "AttrCloak, ours": _defense("attrcloak"),
    "calibrated, in training": _defense("calibrated", "--stage=in"),
    "calibrated, after training": _CALIBRATED,
}
_ATTRCLOAK: dict[str, Method] = {
    "undefended": _UNDEFENDED,
    "AttrCloak, literal": _defense("attrcloak", "--preset=paper", published="AttrCloak-DD"),
    "AttrCloak, ours": _defense("attrcloak", published="AttrCloak-DD"),
    "RAP": _defense("rap", published="RAP", models=_GRAPH),
    "BlurMe": _defense("blurme", published="BlurMe", models=("NeuMF",)),
    "AttrCloak data-free, literal": _defense("attrcloak", "--preset=paper-data-free", published="AttrCloak-DF"),
    "AttrCloak data-free, ours": _defense("attrcloak", "--attrcloak_mode=data_free", published="AttrCloak-DF"),
    "U2U-R": _defense("u2u", "--preset=paper", published="U2U-R"),
    "D2D-R": _defense("d2d", "--preset=paper", published="D2D-R"),
    "calibrated, after training": _CALIBRATED,
}


@dataclass(frozen=True)
class Shown:
    """A measure as a paper prints it.

    Attributes:
        attacker: ours.
        of_two: our metric for an attribute of two classes.
        of_more: our metric for an attribute of more classes.
        printed_attacker: the paper's name of the attacker.
        printed: the paper's name of the metric.
        tables: the paper's tables of it, by model.
    """

    attacker: str
    of_two: str
    of_more: str
    printed_attacker: str
    printed: str
    tables: dict[str, str]


@dataclass(frozen=True)
class Table:
    """A table: its grid, and how the paper measures.

    Attributes:
        models: of the grid.
        methods: by name.
        run: arguments of every run.
        protocol: of the paper's measure.
        repeats: of its folds in each run; ``None``: the paper's.
        printed_on: the data set of the paper's numbers, where it is another than ours.
        shown: the printed measures by heading.
    """

    models: Arguments
    methods: dict[str, Method]
    run: Arguments
    protocol: str
    repeats: int | None
    printed_on: str
    shown: dict[str, Shown]


_TABLE_2 = dict.fromkeys(_MODELS, "2")
_TABLES_4_AND_7 = {"NeuMF": "IV", "LightGCN": "VII"}
TABLES = {
    "raid": Table(
        ("DMF", "NeuMF", "LightGCN"),
        _RAID,
        ("--attributes=[gender,age]",),
        "raid",
        None,
        "ml-1m",
        {
            "F1": Shown("mlp_raid", "f1_binary", "f1_micro", "MLP", "F1", _TABLE_2),
            "BAcc": Shown("mlp_raid", "balanced_accuracy", "balanced_accuracy", "MLP", "BAcc", _TABLE_2),
        },
    ),
    "attrcloak": Table(
        ("NeuMF", "LightGCN"),
        _ATTRCLOAK,
        ("--attributes=[gender,age,occupation]", "--attribute_specs={age: {bins: [18, 25, 35, 45, 50, 56]}}"),
        "attrcloak",
        1,
        "",
        {
            "XGBoost": Shown("xgboost_raid", "f1_micro", "f1_micro", "XGBoost", "accuracy", _TABLES_4_AND_7),
            "MLP": Shown("mlp_raid", "f1_micro", "f1_micro", "MLP", "accuracy", _TABLES_4_AND_7),
        },
    ),
}
#: Attackers of the papers' measure in a run: those of RAID's tables 2 and 6, and AttrCloak's two.
_ATTACKERS = {
    "raid": ["mlp_raid", "decision_tree_raid", "svm_raid", "naive_bayes_raid", "knn_raid"],
    "attrcloak": ["xgboost_raid", "mlp_raid"],
}


def main() -> None:
    """Runs what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--models", nargs="+")
    parser.add_argument("--methods", nargs="+")
    parser.add_argument("--seeds", nargs="+", type=int, default=[2020, 2021, 2022])
    parser.add_argument("--print", action="store_true", help="run nothing")
    parser.add_argument("rest", nargs="*", help="after --: arguments of every run")
    arguments = parser.parse_intermixed_args()
    table = TABLES[arguments.table]
    keys = [
        {
            "table": arguments.table, "dataset": arguments.dataset, "model": model, "method": name, "seed": seed,
            "arguments": [
                *_RUN, *(() if method.own_epochs else _MODELS[model]), *table.run, *method.arguments, *arguments.rest,
            ],
        }
        for seed in arguments.seeds
        for model in arguments.models or table.models
        for name, method in table.methods.items()
        if (not method.models or model in method.models) and name in (arguments.methods or table.methods)
    ]  # fmt: skip
    rows = _read(arguments.out)
    for key in [] if arguments.print else keys:
        if not any(row["key"] == key for row in rows):
            rows.append({"key": key, **_run(key, table)})
            with arguments.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    print_table(table, arguments.dataset, [row for row in rows if row["key"] in keys and "results" in row])
    for row in rows:
        if "failed" in row:
            print(f"\n{row['key']['model']}, {row['key']['method']}, seed {row['key']['seed']}: {row['failed']}")


def _run(key: dict[str, Any], table: Table) -> dict[str, Any]:
    """A run and the paper's measure of its vectors; the error's line where it is refused."""
    with tempfile.TemporaryDirectory() as folder:
        argv = [*key["arguments"], f"--seed={key['seed']}", f"--output_dir={folder}/run"]
        try:
            results = run_recbole_aia(key["model"], key["dataset"], argv=argv)["aia"]
        except AIAError as error:
            return {"failed": str(error)}
        config = AIAConfig(key["model"], key["dataset"], argv=argv)
        labels = load_labels(config, create_dataset(config))
        vectors = np.load(f"{folder}/run/embeddings.npz")["embeddings"]
    return {"results": _kept(results), **_published(vectors, labels, key["seed"], table)}


def _published(vectors: Any, labels: Any, seed: int, table: Table) -> dict[str, Any]:
    """The paper's attackers, and a fresh adversary of the kind that adversarial training fights."""
    repeats = {} if table.repeats is None else {"attack_repeats": table.repeats}
    paper = AttributeInferenceEvaluator(
        protocol=table.protocol, attackers=_ATTACKERS[table.protocol], seed=seed, show_progress=False, **repeats
    )
    fresh = AttributeInferenceEvaluator(
        attackers=[FreshAdversary.name], attack_repeats=1, seed=seed, show_progress=False
    )
    return {
        name: [
            {"attribute": row["attribute"], "attacker": row["attacker"],
             **{metric: value["mean"] for metric, value in row["metrics"].items()}}
            for row in evaluator.evaluate(vectors, labels.columns(), class_names=labels.classes).rows
        ]
        for name, evaluator in (("paper", paper), ("fresh", fresh))
    }  # fmt: skip


def _kept(results: dict[str, Any]) -> dict[str, Any]:
    """What the tables need of a results.json."""
    kept = {name: results[name] for name in ("utility", "worst_case", "informed") if name in results}
    return {**kept, "seconds": results["run"]["seconds"], "stage": results["run"]["stage"]}


def print_table(table: Table, dataset: str, rows: Sequence[dict[str, Any]]) -> None:
    """Prints the table in Markdown: a line for each model, method and attribute."""
    place = table.printed_on or dataset
    where = "published" if place == dataset else f"published, {place}"
    measures = [f"{name} ({where})" for name in table.shown]
    further = ["worst case (floor)", "old and new add (floor)", "NDCG@10", "kept", "seconds"]
    heads = ["model", "method", "attribute", *measures, *further]
    print(f"| {' | '.join(heads)} |\n|{' --- |' * len(heads)}")
    for model in table.models:
        for name, method in table.methods.items():
            group = [row for row in rows if (row["key"]["model"], row["key"]["method"]) == (model, name)]
            for attribute in group[0]["results"]["worst_case"] if group else ():
                line = _line(table, group, attribute, Published(table.protocol, place, model, method.published))
                print(f"| {model} | {name} | {attribute} | {' | '.join(line)} |")


def _line(table: Table, group: list[dict[str, Any]], attribute: str, published: Published) -> list[str]:
    cells = []
    for shown in table.shown.values():
        subject = (attribute, shown.attacker)
        rows = [row for each in group for row in each["paper"] if (row["attribute"], row["attacker"]) == subject]
        ours = [row[shown.of_two if shown.of_two in row else shown.of_more] for row in rows]
        printed = published.value(shown.tables[published.model], shown.printed, attribute, shown.printed_attacker)
        cells.append(f"{interval(ours)} ({printed})")
    results = [each["results"] for each in group]
    state = "defended" if "defended" in results[0]["utility"] else "undefended"
    worst = [each["worst_case"][attribute][state] for each in results]
    floor = mean(each["floor"] for each in worst)
    cells.append(f"{interval([each['advantage'] for each in worst])} ({floor:.3f})")
    cells.append(_added(results, attribute))
    cells.append(f"{mean(each['utility'][state]['ndcg@10'] for each in results):.4f}")
    kept = [each["utility"][state]["ndcg@10"] / each["utility"]["undefended"]["ndcg@10"] for each in results]
    seconds = mean(each["seconds"][f"train_{state}"] for each in results)
    return [*cells, interval(kept), f"{seconds:.0f}"]


def _added(results: Sequence[dict[str, Any]], attribute: str) -> str:
    """What old and new vectors tell beyond the old ones, and what chance adds."""
    found = [each["informed"]["attributes"][attribute] for each in results if "informed" in each]
    if not found:
        return ""
    return f"{interval([each['beyond_old'] for each in found])} ({mean(each['floor'] for each in found):.3f})"


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


if __name__ == "__main__":
    register_attacker(FreshAdversary)
    sys.exit(main())
