"""What each kind of key accepts, and what it says of anything else."""

from pathlib import PurePath

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from recbole_aia.config.attribute_keys import Attributes, Specifications
from recbole_aia.config.keys import (
    Choice,
    Count,
    Flag,
    Key,
    Names,
    Number,
    Path,
    Settings,
    Share,
    Shares,
    Text,
    check_values,
)
from recbole_aia.errors import ConfigValueError

#: Of each kind: a key, what it accepts, what it does not, how files name it, and how messages do.
KINDS = [
    (Number(1.0, "."), [0, -2.5, 1e18], ["1", True, float("inf"), float("nan"), [1]], "float", "a number"),
    (Number(1.0, ".", low=0), [0, 7.5], [-0.1], "float >= 0", "a number >= 0"),
    (Number(1.0, ".", low=0, above=True), [1e-9], [0, -1], "float > 0", "a number > 0"),
    (Number(1.0, ".", low=0, high=1), [0, 1, 0.5], [-0.1, 1.1], "float in [0, 1]", "a number from 0 to 1"),
    (Share(0.5, "."), [0.001, 0.999], [0, 1, "0.5", True, float("nan")], "float in (0, 1)", "a number between 0 and 1"),
    (
        Shares(0.5, "."),
        [0.5, [0.1, 0.9], (0.3,)],
        [[], [0.1, 1], "0.5", [True]],
        "list of float in (0, 1)",
        "a share in (0, 1) or a list of them",
    ),
    (Count(1, "."), [0, 10**9], [-1, 1.0, "1", True], "int >= 0", "a whole number >= 0"),
    (Count(3, ".", low=2), [2], [1], "int >= 2", "a whole number >= 2"),
    (Flag(True, "."), [True, False], [0, 1, "true", []], "bool", "true or false"),
    (Choice("a", ".", choices=("a", "b")), ["a", "b"], ["c", "", 1, ["a"]], "a | b", "one of a, b"),
    (Text("x", "."), ["", "any"], [1, ["x"], True], "str", "a text"),
    (Text("none", ".", what="a defense"), ["raid"], [5], "str", "a defense"),
    (
        Path("x", "."),
        ["folder", PurePath("folder")],
        ["", 3, ["folder"]],
        "path",
        "a path, with names of at most 255 bytes",
    ),
    (
        Names("x", ".", what="a view"),
        ["served", ["served", "table"], ("served",)],
        [[], [1], 3, {"served": 1}],
        "list of str",
        "a view or a list of them",
    ),
    (
        Attributes(["x"], "."),
        ["gender", ["gender"], {"age": {"bins": [3]}}],
        [[], {}, [1], 5, True, [""], ["a", "a"], {1: {}}],
        "list or dict",
        "a list of different names such as [gender,age], or a mapping of names to specifications",
    ),
    (
        Settings({}, "."),
        [{}, {"paper": {}}, {"paper": {"protocol": "raid"}}],
        [[], "raid", {"paper": "raid"}, {1: {}}, {"paper": {1: 2}}],
        "dict",
        "a mapping of names to mappings of settings, such as {paper: {protocol: raid}}",
    ),
    (Specifications({}, "."), [{}, {"age": {}}], [[], "age", 3], "dict", "a mapping of names to specifications"),
]
anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers() | st.text() | st.floats())
)


def test_every_kind_is_here():
    def below(kind):
        return {kind}.union(*map(below, kind.__subclasses__()))

    ours = {kind for kind in below(Key) if kind.__module__ in (Key.__module__, Attributes.__module__)}
    assert {type(key) for key, *_ in KINDS} == ours - {Key}


@pytest.mark.parametrize(("key", "good", "bad", "kind", "expected"), KINDS)
class TestKinds:
    def test_it_accepts_its_default_and_what_is_in_its_range(self, key, good, bad, kind, expected):
        for value in (key.default, *good):
            assert key.accepts(value), value
            key.check("name", value)

    def test_anything_else_is_refused_in_one_line_that_says_what_it_must_be(self, key, good, bad, kind, expected):
        for value in (None, *bad):
            assert not key.accepts(value), value
            with pytest.raises(ConfigValueError) as caught:
                key.check("name", value)
            assert str(caught.value) == f"name is {value!r}. It must be {expected}."

    def test_files_and_messages_name_it(self, key, good, bad, kind, expected):
        assert (key.kind, key.expected) == (kind, expected)

    def test_null_is_accepted_where_it_is_the_default_and_then_messages_offer_it(self, key, good, bad, kind, expected):
        optional = type(key)(**{**vars(key), "default": None})
        assert optional.accepts(None)
        with pytest.raises(ConfigValueError, match=r", or null\.$"):
            optional.check("name", bad[0])

    @given(anything)
    def test_no_value_makes_it_fail(self, key, good, bad, kind, expected, value):
        if key.accepts(value):
            key.check("name", value)
        else:
            with pytest.raises(ConfigValueError):
                key.check("name", value)


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False), st.floats())
def test_a_number_is_accepted_from_the_lower_to_the_upper_limit(one, other, value):
    low, high = sorted((one, other))
    assume(value == value)
    ordinary = value == 0 or 1e-18 <= abs(value) <= 1e18
    assert Number(low, ".", low=low, high=high).accepts(value) == (ordinary and low <= value <= high)


@given(st.lists(st.floats(), min_size=1))
def test_shares_are_accepted_where_each_is(values):
    assert Shares(0.5, ".").accepts(values) == all(Share(0.5, ".").accepts(value) for value in values)


def test_values_are_checked_by_their_keys_and_others_are_passed_over():
    keys = {"rank": Count(1, ".", low=1), "fast": Flag(True, ".")}
    check_values({"rank": 2, "epochs": "many"}, keys)
    with pytest.raises(ConfigValueError, match=r"rank is 0\. It must be a whole number >= 1"):
        check_values({"fast": True, "rank": 0}, keys)


def test_a_key_decides_the_defense_unless_it_says_otherwise():
    assert Flag(True, ".").decides == "defense"
    assert Flag(True, ".", "training").decides == "training"
