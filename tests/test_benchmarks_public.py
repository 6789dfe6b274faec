"""The benchmarks use what recbole_aia offers to everybody, and nothing private of it."""

import ast
from pathlib import Path

import pytest

BENCHMARKS = sorted((Path(__file__).parents[1] / "benchmarks").glob("*.py"))
#: Names with an underscore that are not ours: NamedTuple's public method, and what RecBole's trainers and loaders offer
#: to subclasses. RecBole has no public way to train a single epoch or to score a batch.
NOT_OURS = {"_asdict", "_dataset", "_full_sort_batch_eval", "_train_epoch"}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_no_benchmark_imports_a_private_name(path):
    imports = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.ImportFrom)]
    found = [
        f"{node.module}.{alias.name}"
        for node in imports
        if (node.module or "").split(".")[0] == "recbole_aia"
        for alias in node.names
        if any(map(is_private, [*node.module.split("."), alias.name]))
    ]
    assert found == []


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_no_benchmark_reads_a_private_attribute_of_another_object(path):
    found = [
        ast.unparse(node)
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in NOT_OURS
        if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"))
        and not ast.unparse(node.value).startswith("super()")
    ]
    assert found == []
