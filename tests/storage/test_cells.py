import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_aia.storage.cells import escaped, unescaped
from recbole_aia.storage.run_folder import read_activity, write_activity


@pytest.mark.parametrize("text", ["=cmd|'/C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "'=1"])
def test_a_cell_that_a_spreadsheet_would_run_begins_with_a_quote(text):
    assert escaped(pd.DataFrame({"user": [text]}))["user"].tolist() == [f"'{text}"]


def test_other_texts_and_numbers_stay():
    frame = pd.DataFrame({"user": ["u1", "O'Neill", "'quoted'", "1=2"], "n": [-1, 0, 1, 2]})
    pd.testing.assert_frame_equal(escaped(frame), frame)


@given(st.lists(st.text("'=+-@\t\rab", max_size=4)))
def test_every_text_reads_back_as_it_was(texts):
    frame = pd.DataFrame({"user": pd.Series(texts, dtype=str)})
    assert unescaped(escaped(frame))["user"].tolist() == texts


def test_activity_of_users_with_such_names_is_found_again(tmp_path):
    tokens, activity = pd.Series(["=1+1", "@me", "-1", "u"]).to_numpy(str), pd.Series([3, 1, 4, 1]).to_numpy()
    write_activity(tmp_path / "activity.csv", tokens, activity)
    assert "\n'=1+1,3\n" in (tmp_path / "activity.csv").read_text()
    assert read_activity(tmp_path / "activity.csv", tokens).tolist() == [3, 1, 4, 1]
