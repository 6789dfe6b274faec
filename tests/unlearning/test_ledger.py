"""The ledger by itself: what it keeps, how it is read back, and what it refuses. No model is needed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_aia.cli import main
from recbole_aia.errors import AttributeDataError, CheckpointError, ConfigValueError
from recbole_aia.storage.files import sha256_of
from recbole_aia.unlearning.ledger import FILE, Ledger, checkpoint_sha256

EMPTY = Ledger("base.pth", "0" * 64, "1" * 64, "calibrated", ("--seed=1",), versions={"torch": "2.0"})
specs = st.none() | st.fixed_dictionaries({"field": st.text(), "bins": st.lists(st.integers())})
asked = st.tuples(st.dictionaries(st.text(), specs), st.none() | st.lists(st.text()))


class TestRequests:
    def test_numbers_are_not_given_twice(self):
        ledger = (
            EMPTY.added({"gender": None}, None).added({"age": None}, ["u1"]).withdrawn(2).added({"age": None}, None)
        )
        assert [request.id for request in ledger.requests] == [1, 3]
        assert [request.users for request in ledger.requests] == [None, None]

    def test_adding_and_withdrawing_leave_the_ledger_that_was_there(self):
        ledger = EMPTY.added({"gender": None}, ["u1"])
        assert EMPTY.requests == ()
        assert replace(ledger.withdrawn(1), next_id=1) == EMPTY
        assert len(ledger.requests) == 1

    def test_withdrawing_what_does_not_stand_says_what_does(self):
        with pytest.raises(ConfigValueError, match=r"no request 7\. Those that stand: none\."):
            EMPTY.withdrawn(7)
        with pytest.raises(ConfigValueError, match=r"no request 7\. Those that stand: 1, 2\."):
            EMPTY.added({"a": None}, None).added({"b": None}, None).withdrawn(7)

    def test_attributes_are_those_of_all_requests_in_the_order_of_their_names(self):
        old = {"field": "age", "bins": [30]}
        ledger = EMPTY.added({"old": old, "gender": None}, None).added({"gender": None, "age": None}, ["u1"])
        assert list(ledger.attributes().items()) == [("age", None), ("gender", None), ("old", old)]
        with pytest.raises(ConfigValueError, match="'old' is specified otherwise in an earlier request"):
            ledger.added({"old": {**old, "bins": [50]}}, None).attributes()

    def test_it_reads_as_a_list_of_who_asked_for_what(self):
        assert str(EMPTY).splitlines() == [
            "base base.pth (sha256 000000000000), defense calibrated --seed=1",
            "no requests: the model is the base's",
        ]
        everybody, few = str(EMPTY.added({"gender": None}, None).added({"age": None}, ["u", "v"])).splitlines()[1:]
        assert everybody.split()[0] == "1"
        assert everybody.endswith("gender  all users")
        assert few.endswith("age  2 users")


class TestFiles:
    @given(st.lists(asked, max_size=4), st.lists(st.text()))
    def test_what_is_written_reads_back(self, tmp_path_factory, requests, arguments):
        ledger = replace(EMPTY, arguments=tuple(arguments))
        for attributes, users in requests:
            ledger = ledger.added(attributes, users)
        folder = tmp_path_factory.getbasetemp()
        ledger.write(folder)
        assert Ledger.read(folder) == ledger
        assert Ledger.read(folder).digest() == ledger.digest()

    def test_the_digest_names_the_content_of_the_file(self, tmp_path):
        EMPTY.write(tmp_path)
        assert EMPTY.digest() == sha256_of(tmp_path / FILE)
        assert EMPTY.added({"age": None}, None).digest() != EMPTY.digest()

    def test_a_folder_without_one_says_how_to_begin(self, tmp_path):
        with pytest.raises(ConfigValueError, match=r"there is no ledger in .* begin with --checkpoint"):
            Ledger.read(tmp_path)

    @pytest.mark.parametrize("content", ["null", "3", '"text"', "[]", "[[1, 2]]", "{}", "{", ""])
    def test_a_file_that_is_no_ledger_is_named_in_one_line(self, content, capsys):
        Path("safe").mkdir()
        Path("safe/ledger.json").write_text(content)
        assert main(["unlearn", "--output_dir", "safe", "--list"]) == 2
        error = capsys.readouterr().err
        assert "'safe/ledger.json' is not a ledger" in error
        assert error.count("\n") == 1

    @pytest.mark.parametrize(
        "edited",
        [{"users": [5]}, {"users": "abc"}, {"attributes": ["gender"]}, {"id": "1"}, {"when": None}, {"more": 1}],
    )
    def test_a_request_that_was_edited_into_something_else_is_refused(self, tmp_path, edited):
        EMPTY.added({"gender": None}, ["u1"]).write(tmp_path)
        values = json.loads((tmp_path / FILE).read_text())
        (request,) = values["requests"]
        (tmp_path / FILE).write_text(json.dumps({**values, "requests": [{**request, **edited}]}))
        with pytest.raises(ConfigValueError, match="is not a ledger"):
            Ledger.read(tmp_path)

    @pytest.mark.parametrize(
        ("edited", "message"),
        [
            ({"base": None}, "is not a ledger"),
            ({"arguments": [1]}, "is not a ledger"),
            ({"next_id": "2"}, "is not a ledger"),
            ({"versions": {"torch": 2}}, "is not a ledger"),
            ({"trust": True}, "is not a ledger"),
            ({"schema": "recbole-aia/ledger-9"}, "has the schema recbole-aia/ledger-9, not recbole-aia/ledger-1"),
        ],
    )
    def test_one_that_was_edited_into_something_else_is_refused(self, tmp_path, edited, message):
        EMPTY.write(tmp_path)
        values = json.loads((tmp_path / FILE).read_text())
        (tmp_path / FILE).write_text(json.dumps({**values, **edited}))
        with pytest.raises(ConfigValueError, match=message):
            Ledger.read(tmp_path)


class TestWhatItWasMadeFrom:
    def test_a_base_that_has_changed_or_gone_is_refused(self, tmp_path):
        base = tmp_path / "base.pth"
        base.write_bytes(b"trained")
        ledger = replace(EMPTY, sha256=checkpoint_sha256(base))
        ledger.check_base(base)
        base.write_bytes(b"trained again")
        with pytest.raises(CheckpointError, match=r"has changed since\. Restore it"):
            ledger.check_base(base)
        base.unlink()
        with pytest.raises(CheckpointError, match="cannot be read: No such file"):
            ledger.check_base(base)

    def test_data_that_have_changed_are_refused(self):
        EMPTY.check_data("1" * 64)
        with pytest.raises(AttributeDataError, match="have changed since the ledger was begun"):
            EMPTY.check_data("2" * 64)
