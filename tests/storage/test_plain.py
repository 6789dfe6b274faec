import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_aia.storage.plain import plain

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(np.float64(0.5), float), (np.int64(3), int), (torch.device("cpu"), str), ((1, 2), list), ({1: {2}}, dict)],
)
def test_plain_leaves_only_plain_data(value, expected):
    assert type(plain(value)) is expected


@given(values)
def test_plain_data_stay_as_they_are(value):
    assert plain(value) == value
    assert json.loads(json.dumps(plain(value))) == value


def test_what_is_nested_is_reduced_as_well():
    assert plain({1: [np.int64(2), (torch.device("cpu"),)]}) == {"1": [2, ["cpu"]]}
