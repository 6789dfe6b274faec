"""Ids survive: from the raw file to RecBole and back."""

import io

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from miniatures import PLAIN, as_csv, recbole_config, write_raw

from recbole_aia.data import create_dataset
from recbole_aia.data.converters import prepare
from recbole_aia.data.converters.tokens import original, written


@settings(deadline=None)
@given(st.text(st.characters()))
def test_any_id_comes_back_and_is_text_that_a_file_can_hold(token):
    assert original(written(token)) == token
    assert written(token).encode().decode() == written(token)


@settings(deadline=None)
@given(st.lists(st.text(min_size=1), min_size=1, max_size=20, unique=True))
def test_a_written_id_is_read_by_recboles_reader_as_it_is(tokens):
    texts = [written(token) for token in tokens]
    assert len(set(texts)) == len(tokens)
    file = io.StringIO("user_id:token\tx:token\n" + "".join(f"{text}\t1\n" for text in texts), newline="")
    frame = pd.read_csv(file, delimiter="\t", dtype=str, engine="python")
    assert frame["user_id:token"].tolist() == texts
    assert [text.strip() for text in texts] == texts


@pytest.mark.parametrize("token", ["AC/DC", "Sigur Rós", "東京事変", "Guns N' Roses", "a \\ b", 'The "5" Six', "-1"])
def test_an_ordinary_id_is_written_as_it_is(token):
    assert written(token) == token


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        # Python 3.10's csv reader knows no NUL.
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8),
        min_size=3,
        max_size=12,
        unique=True,
    )
)
def test_any_unicode_id_goes_from_the_raw_file_to_recbole_and_back(tmp_path_factory, tokens):
    folder = tmp_path_factory.mktemp("ids")
    rows = [(user, item, 1) for k, user in enumerate(tokens) for item in (tokens[k - 1], tokens[k - 2])]
    groups = [(user, "ab"[k % 2]) for k, user in enumerate(tokens)]
    files = {
        "inter.csv": "user_id,item_id,rating\n" + as_csv(rows),
        "users.csv": "user_id,group\n" + as_csv(groups),
    }
    prepare(PLAIN, write_raw(folder, files), folder)
    dataset = create_dataset(recbole_config("plain", folder))
    pairs = zip(*(dataset.inter_feat[name].tolist() for name in ("user_id", "item_id")), strict=True)
    found = {
        tuple(
            original(str(dataset.id2token(field, code)))
            for field, code in zip(("user_id", "item_id"), pair, strict=True)
        )
        for pair in pairs
    }
    assert found == {(user, item) for user, item, _ in rows}
