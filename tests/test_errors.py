"""Messages of errors are one line, whatever is in them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_aia.errors import AIAError, one_line, shown


@given(st.text())
def test_a_message_is_one_line(text):
    message = str(AIAError(text))
    assert message.isprintable()
    assert message == text or not text.isprintable()


@pytest.mark.parametrize("text", ["ordinary", "東京, Zürich", "a 'quoted' \\ text"])
def test_ordinary_text_stays_as_it_is(text):
    assert one_line(text) == text


def test_a_long_value_is_shown_by_its_beginning_and_its_end():
    assert shown("x" * 5000) == "'" + "x" * 59 + "..." + "x" * 59 + "'"
    assert shown([1, 2]) == "[1, 2]"
    assert shown(10**5000) == "a int"
