"""Lines of a file are split into values."""

from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_aia.data.converters.lines import Block
from recbole_aia.data.converters.split import plain

values = st.text(st.characters(codec="utf-8", exclude_characters="\t\n"), max_size=5) | st.sampled_from(
    ["", '"', "NA", "1.0", "\ufeffx", "a\rb", "\x00", " "]
)


@settings(deadline=None)
@given(st.lists(st.tuples(values, values, values.filter(lambda text: not text.endswith("\r"))), min_size=1))
def test_lines_are_split_at_separators_and_at_nothing_else(rows):
    data = "".join("\t".join(row) + "\n" for row in rows).encode()
    columns = plain(Block(data, 7), 3, [2, 0], "\t", "utf-8")
    assert list(zip(*columns.texts, strict=True)) == [(row[2], row[0]) for row in rows]
    assert columns.lines.tolist() == list(range(7, 7 + len(rows)))
    assert columns.malformed == []


def test_a_block_without_a_whole_row_has_none():
    columns = plain(Block(b"x\n", 1), 2, [1, 0], "\t", "utf-8")
    assert columns.texts == [[], []]
    assert columns.malformed == [(1, "1 value instead of 2")]
