"""What of the raw rows counts: repeated pairs, the core, several values of a user, and classes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from miniatures import PLAIN, Plain, recbole_config, write_raw

from recbole_aia.data import create_dataset, load_labels
from recbole_aia.data.converters import Options, prepare
from recbole_aia.data.converters.interactions import Interactions, core, merge_repeated
from recbole_aia.data.converters.profiles import resolve


def test_plays_of_a_repeated_pair_are_summed_and_the_last_time_counts():
    many = Interactions(
        np.array([1, 0, 1, 1], np.int32),
        np.array([2, 0, 2, 1], np.int32),
        {"plays": np.array([1.0, 2, 3, 4]), "timestamp": np.array([9.0, 1, 5, 2])},
    )
    merged = merge_repeated(many, {"plays": "sum"})
    assert merged.users.tolist() == [1, 0, 1]
    assert merged.numbers["plays"].tolist() == [4, 2, 4]
    assert merged.numbers["timestamp"].tolist() == [9, 1, 2]


def test_the_last_rating_counts_by_time_and_not_by_place():
    many = Interactions(
        np.zeros(2, np.int32),
        np.zeros(2, np.int32),
        {"rating": np.array([5.0, 1]), "timestamp": np.array([9.0, 3])},
    )
    assert merge_repeated(many, {"rating": "last"}).numbers["rating"].tolist() == [5]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=60, unique=True), st.integers(1, 4))
def test_the_core_is_the_largest_part_that_is_dense_enough(pairs, least):
    users, items = (np.array([pair[k] for pair in pairs], np.int32) for k in (0, 1))
    kept = core(Interactions(users, items, {}), least)
    # By hand: whoever is not dense enough goes, one at a time.
    left = set(pairs)
    while True:
        thin = {p for p in left if sum(q[0] == p[0] for q in left) < least or sum(q[1] == p[1] for q in left) < least}
        if not thin:
            break
        left -= {min(thin)}
    assert {pair for pair, stays in zip(pairs, kept.tolist(), strict=True) if stays} == left


@pytest.mark.parametrize(
    ("policy", "values", "counts"),
    [
        ("majority", [1, -1, 0, -1], {"users": 2, "no_majority": 1}),
        ("last", [2, 1, 0, -1], {"users": 2}),
        ("drop", [-1, -1, 0, -1], {"users": 2}),
    ],
)
def test_a_user_with_several_values_gets_what_the_policy_says(policy, values, counts):
    users, found = np.array([0, 0, 0, 1, 1, 2, 2]), np.array([1, 2, 1, 1, 0, 0, 0])
    times = np.array([1.0, 9, 3, 5, 4, 0, 0])
    chosen, conflicts = resolve(users, found, times, 4, policy)
    assert chosen.tolist() == values
    assert conflicts == counts


def test_a_user_who_stands_in_the_table_of_users_twice_is_one_user(tmp_path):
    files = {
        "inter.csv": "user_id,item_id,rating\nu,i,1\nv,i,1\n",
        "users.csv": "user_id,group\nu,a\nv,b\nu,b\nu,a\nv,b\n",
    }
    summary = prepare(PLAIN, write_raw(tmp_path, files), tmp_path / "out")
    assert (tmp_path / "out/plain/plain.user").read_text().splitlines()[1:] == ["u\ta", "v\tb"]
    assert summary.conflicts == {"group": {"users": 1}}


def test_namibia_is_no_missing_value(tmp_path):
    users = "user_id,group\n" + "".join(f"{u},{'NA' if u % 2 else 'DE'}\n" for u in range(12))
    rows = "user_id,item_id,rating\n" + "".join(f"{u},{i},1\n" for u in range(12) for i in range(3))
    prepare(PLAIN, write_raw(tmp_path, {"inter.csv": rows, "users.csv": users}), tmp_path)
    config = recbole_config("plain", tmp_path)
    assert load_labels(config, create_dataset(config)).counts("group") == {"DE": 6, "NA": 6}


def test_classes_can_be_few_of_the_values(tmp_path):
    class Few(Plain):
        def specifications(self):
            return {"group": {"field": "group", "classes": ["a"]}}, ["group"]

    files = {"inter.csv": "user_id,item_id,rating\nu,i,1\n", "users.csv": "user_id,group\nu,a\nv,b\nw,c\n"}
    converter = Few(**{**vars(PLAIN)})
    summary = prepare(converter, write_raw(tmp_path, files), tmp_path)
    assert summary.raw == {"group": {"missing": 2, "unknown": 2}}


def test_a_user_without_a_row_of_labels_stays_where_labels_are_not_asked_for(tmp_path):
    files = {
        "inter.csv": "user_id,item_id,rating\nu,i,1\nv,i,1\nw,i,1\n",
        "users.csv": "user_id,group\nu,a\nv,\n",
    }
    write_raw(tmp_path, files)
    summary = prepare(PLAIN, tmp_path, tmp_path / "all", Options(labels="none"))
    assert (tmp_path / "all/plain/plain.user").read_text().splitlines()[1:] == ["u\ta", "v\t", "w\t"]
    assert summary.attributes["group"] == {"classes": {"a": 1}, "missing": 2}
    summary = prepare(PLAIN, tmp_path, tmp_path / "labelled")
    assert dict(summary.dropped) == {
        "of users who are not in the table of users": 1,
        "of users without a label": 1,
    }
