"""Twins have the sizes that papers print, and those sizes are the ones in our data files of papers."""

import csv
from math import sqrt

import numpy as np
import pytest

from recbole_aia.config.properties import properties_dir
from recbole_aia.data.twins import SHAPES, Shape, is_known, twin


def published():
    """Table 1 of RAID, by dataset, attribute (or nothing) and what is counted."""
    with (properties_dir() / "published" / "raid.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["table"] == "1"]
    return {(row["dataset"], row["attribute"], row["metric"]): float(row["value"]) for row in rows}


@pytest.mark.parametrize("name", dict.fromkeys(dataset for dataset, *_ in published()))
def test_the_sizes_are_those_of_the_papers_table(name):
    shape, table = SHAPES[name], published()
    for metric in ("users", "items", "interactions"):
        assert getattr(shape, metric) == table[name, "", metric]
    assert 1 - shape.interactions / shape.users / shape.items == pytest.approx(table[name, "", "sparsity"], abs=1e-4)
    classes = {key: count for key, count in table.items() if key[2] == "classes"}
    for each in shape.attributes:
        assert len(each.classes) == classes.pop((name, each.name, "classes"))
    assert not [key for key in classes if key[0] == name]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_attribute_has_a_weight_for_each_class(shape):
    for each in shape.attributes:
        assert len(each.weights) == len(each.classes)
        assert not is_known(each) or sum(each.weights) >= shape.users


def test_a_twin_has_the_users_items_interactions_and_classes_of_its_shape():
    shape, data = SHAPES["ml-100k"], twin("ml-100k")
    assert [len(set(data.users)), len(set(data.items)), len(data.users)] == [943, 1682, 100_000]
    assert np.bincount(data.users).min() >= shape.fewest
    for each, labels in zip(shape.attributes, data.labels.T, strict=True):
        assert tuple(np.bincount(labels)) == each.weights


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_smaller_twin_has_as_many_interactions_for_each_user(shape: Shape):
    small = shape.scaled(0.04)
    assert small.users == pytest.approx(0.04 * shape.users, abs=0.5)
    assert small.items == pytest.approx(sqrt(0.04) * shape.items, abs=0.5)
    assert small.interactions / small.users == pytest.approx(shape.interactions / shape.users, rel=0.02)
