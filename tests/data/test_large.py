from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from recbole_aia.data import arrays, large
from recbole_aia.data.arrays import read_npy
from recbole_aia.data.large import _Smallest, drawn, is_large
from recbole_aia.data.matrices import Matrix
from recbole_aia.errors import AttributeDataError

ASKED = {"dataset": "labels.csv", "attributes": None, "attribute_specs": None}


@pytest.fixture(autouse=True)
def _few(monkeypatch):
    monkeypatch.setattr(large, "MOST", 40)
    monkeypatch.setattr(large, "_LINES", 32)


@pytest.fixture
def labels(tmp_path):
    """Labels of 300 users, every tenth of whom has one, which is the user's number."""
    path = tmp_path / "labels.csv"
    pd.DataFrame({"age": [str(user) if user % 10 == 0 else "" for user in range(300)]}).to_csv(path, index=False)
    return path


def matrix(n=300):
    return Matrix({"given": np.arange(n, dtype=np.float32)[:, None] * [1, 2]}, None)


def test_only_a_matrix_without_names_is_large():
    assert is_large(matrix())
    assert not is_large(matrix(40))
    assert not is_large(Matrix(matrix().views, np.arange(300).astype(str)))


def test_half_is_drawn_from_all_and_half_from_those_with_a_label_row_by_row(labels):
    found, file = drawn(matrix(), labels, "e.npy", 3, ASKED)
    vectors, ages = found.views["given"], file.frame["age"].to_numpy()
    assert 20 <= len(vectors) == len(ages) <= 40
    assert (np.diff(vectors[:, 0]) > 0).all()
    known = ages != ""
    assert known.sum() >= 20
    assert (vectors[known, 0] == ages[known].astype(int)).all()
    assert (vectors[~known, 0] % 10 != 0).all()
    assert (vectors[:, 1] == 2 * vectors[:, 0]).all()


def test_the_activity_of_those_who_are_drawn_goes_with_them(labels):
    found, _ = drawn(replace(matrix(), activity=np.arange(300)), labels, "e.npz", 3, ASKED)
    assert np.array_equal(found.activity, found.drawn.rows)


def test_of_labelled_users_alone_as_many_are_drawn_as_allowed(tmp_path):
    pd.DataFrame({"age": range(300)}).to_csv(tmp_path / "all.csv", index=False)
    assert 30 < len(drawn(matrix(), tmp_path / "all.csv", "e.npy", 0, ASKED)[1].frame) <= 40


def test_a_label_is_a_value_of_an_attribute_that_is_asked_for(tmp_path):
    ages = ["30" if user % 50 == 0 else ("-1" if user % 2 else "unknown") for user in range(300)]
    pd.DataFrame({"age": ages, "town": "x"}).to_csv(tmp_path / "two.csv", index=False)
    specs = {"years": {"field": "age", "missing": ["unknown"], "bins": [20]}}
    for asked in ({"attributes": ["years"], "attribute_specs": specs}, {"attributes": specs, "attribute_specs": None}):
        found, file = drawn(matrix(), tmp_path / "two.csv", "e.npy", 0, {**ASKED, **asked})
        assert (file.frame.age == "30").sum() == 6
        assert found.drawn.of == 300
        assert (found.views["given"][:, 0] == found.drawn.rows).all()


def test_a_seed_gives_one_draw(labels):
    def rows(seed):
        return drawn(matrix(), labels, "e.npy", seed, ASKED)[0].views["given"][:, 0].tolist()

    assert rows(3) == rows(3) != rows(4)


def test_everybody_is_equally_likely():
    drawn_often, rng = np.zeros(30), np.random.default_rng(0)
    for _ in range(200):
        kept = _Smallest(6)
        for first in range(0, 30, 7):
            part = pd.DataFrame({"x": range(first, min(first + 7, 30))}, index=range(first, min(first + 7, 30)))
            kept.take(part, rng.random(len(part)))
        drawn_often[kept.frame["x"]] += 1
    assert drawn_often.sum() == 6 * 200
    assert drawn_often.min() > 18
    assert drawn_often.max() < 66


@pytest.mark.parametrize(("n", "said"), [(299, "e.npy has 299 rows and labels.csv has 300"), (301, "has 301 rows")])
def test_another_number_of_lines_is_refused(labels, n, said):
    with pytest.raises(AttributeDataError, match=said):
        drawn(matrix(n), labels, "e.npy", 0, ASKED)


def test_labels_that_cannot_be_read_are_refused(tmp_path):
    (tmp_path / "labels.csv").write_text("age\n1\n2,3\n", encoding="utf-8")
    with pytest.raises(AttributeDataError, match="labels"):
        drawn(matrix(), tmp_path / "labels.csv", "e.npy", 0, ASKED)
    with pytest.raises(AttributeDataError, match="absent"):
        drawn(matrix(), tmp_path / "absent.csv", "e.npy", 0, ASKED)


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_large_file_is_mapped_and_says_the_same(tmp_path, monkeypatch, order):
    monkeypatch.setattr(arrays, "_MAPPED", 1)
    values = np.asarray(np.random.default_rng(0).normal(size=(20, 3)), order=order)
    np.save(tmp_path / "e.npy", values)
    found = read_npy(tmp_path / "e.npy")
    assert isinstance(found, np.memmap)
    assert np.array_equal(found, values)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "e.npy").read_bytes()[:-8])
    with pytest.raises(AttributeDataError, match="ends too early"):
        read_npy(tmp_path / "cut.npy")
