import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_aia import protect
from recbole_aia.config.natural import natural_key
from recbole_aia.data.specs import AttributeSpec
from recbole_aia.evaluator import encode_labels

texts = st.one_of(st.text(), st.from_regex(r"[<+-]?[0-9]{1,3}(\.[0-9]{1,2})?([ -][0-9a-z]{0,3})?", fullmatch=True))

ORDERS = [
    ["5-9", "10-19", "20-29", "100+"],
    ["<5", "<10", ">=10"],
    ["-10", "-2.5", "-1.5", "0", ".25", "0.5", "1e2", "1e3"],
    ["1.25", "1.5", "1.75-2.5", "1.75-10"],
    ["0-4", "5", "6-9"],
    ["7", "10", "M", "under 7", "under 10"],
    ["A2b", "A10a", "A10b", "B1"],
    ["07", "7", "8"],
]


@pytest.mark.parametrize("order", ORDERS)
def test_numbers_in_texts_compare_by_value(order):
    assert sorted(reversed(order), key=natural_key) == order


@given(st.lists(st.text().filter(lambda text: not any(letter.isdecimal() for letter in text))))
def test_texts_without_digits_keep_their_order(words):
    assert sorted(words, key=natural_key) == sorted(words)


@given(texts, texts, texts)
def test_it_is_a_total_order(one, other, third):
    first, second, last = map(natural_key, (one, other, third))
    assert (first < second) + (first == second) + (first > second) == 1
    assert (first == second) == (one == other)
    assert not (first < second < last) or first < last


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False)))
def test_numbers_written_out_are_in_the_order_of_the_numbers(numbers):
    assert [float(text) for text in sorted(map(str, numbers), key=natural_key)] == sorted(numbers)


@pytest.mark.parametrize("order", ORDERS)
def test_classes_are_in_natural_order_for_attacks_and_in_data_files(order):
    labels = np.repeat(order, 6)[::-1]
    assert list(encode_labels("age", labels, len(labels), folds=2).class_names) == order
    assert AttributeSpec("age", "age").encode(pd.Series(labels)).classes == order


def test_the_order_of_words_is_pythons():
    jobs = ["artist", "Writer", "doctor"]
    assert list(encode_labels("job", jobs * 3, 9, folds=2).class_names) == ["Writer", "artist", "doctor"]


def test_protect_takes_ranges_in_the_order_of_their_numbers():
    rng = np.random.default_rng(0)
    codes = rng.permutation(np.arange(200) % 4)
    points = rng.normal(size=(200, 4)) + codes[:, None]
    ranges = np.array(["5-9", "10-19", "20-29", "100+"])[codes]
    np.testing.assert_array_equal(protect(points, ranges, max_steps=3), protect(points, codes, max_steps=3))
