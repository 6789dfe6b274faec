from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from recbole_aia.config.text import (
    SafeLoader,
    own_arguments,
    parse_arguments,
    parse_texts,
    parse_value,
    read_yaml,
    refuse_arguments,
    to_yaml,
    to_yaml_line,
)
from recbole_aia.errors import ConfigValueError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[gender,age]", ["gender", "age"]),
        ("gender", "gender"),
        ("1e-3", 1e-3),
        ("5", 5),
        ("0.5", 0.5),
        ("True", True),
        ("None", None),
        ("{'split': {'LS': 'valid_and_test'}}", {"split": {"LS": "valid_and_test"}}),
        ("{'RS':[0.8,0.1,0.1]}", {"RS": [0.8, 0.1, 0.1]}),
        ("key", "key"),
        ("sys.path", "sys.path"),
    ],
)
def test_values_are_yaml(text, value):
    assert parse_value(text) == value


@given(st.text())
@example("2024-13-45")
@example("0b_")
@example("!!int foo")
@example("{a, a}")
def test_no_text_makes_the_parser_fail(text):
    with suppress(ConfigValueError):  # a key given twice, say
        parse_value(text)


class TestYamlThatCannotBeMeant:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("{a: 1, a: 2}", "gives the key 'a' twice"),
            ("{a: {b: 1, b: 2}}", "gives the key 'b' twice"),
            ("&a [*a]", "holds a value inside itself"),
            ("&a {b: [*a]}", "holds a value inside itself"),
            ("[" * 60 + "]" * 60, "is nested too deeply"),
            (
                "[&a [1,1,1,1,1,1,1,1,1,1]" + "".join(f", &b{k} [{','.join(['*a'] * 40)}]" for k in range(40)) + "]",
                "aliases",
            ),
        ],
    )
    def test_it_is_refused_in_one_line(self, text, message):
        with pytest.raises(ConfigValueError, match=message) as caught:
            parse_value(text)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        "text",
        [
            "{a: &x [1, 2], b: *x}",
            "{a: &x {b: 1}, c: {<<: *x, d: 2}}",
            "{a: &x {b: 1}, c: {<<: *x, b: 2}}",
            "{1: a, '1': b}",
            "[" * 40 + "]" * 40,
            "[" + "a, " * 3_000 + "a]",
        ],
    )
    def test_ordinary_yaml_is_read_as_before(self, text):
        assert parse_value(text) == yaml.safe_load(text)


def test_an_equals_sign_in_a_value_survives():
    assert parse_arguments(["--path=a=b"]) == {"path": "a=b"}


@pytest.mark.parametrize("argument", ["--flag", "gender", "-x=1", "--=1"])
def test_an_argument_of_another_form_is_refused(argument):
    with pytest.raises(ConfigValueError, match="Write --key=value"):
        parse_arguments([argument])


@pytest.mark.parametrize("name", ["2024", "2024-01-05", "1e3"])
def test_names_and_paths_stay_text(name):
    assert parse_arguments([f"--output_dir={name}", f"--dataset={name}"]) == {"output_dir": name, "dataset": name}


@given(st.dictionaries(st.text(), st.text() | st.sampled_from(["1e3", "yes", "None", "0x1", "1_000", ".5e-2"])))
def test_what_is_written_reads_back(values):
    assert parse_value(to_yaml({"k": values})) == {"k": values}


@given(st.text() | st.integers() | st.booleans() | st.floats(allow_nan=False) | st.lists(st.text()))
def test_a_line_of_yaml_reads_back(value):
    line = to_yaml_line("key", value)
    assert "\n" not in line
    assert yaml.load(line, SafeLoader) == {"key": value}


def test_null_is_written_short():
    assert to_yaml_line("key", None) == "key: ~"


@pytest.mark.parametrize("code", ["__import__('os').mkdir('ran')", "!!python/object/apply:os.mkdir ['ran']"])
def test_code_stays_text(code, tmp_path):
    assert parse_value(code) == code
    assert parse_arguments([f"--x={code}"]) == parse_texts({"x": code}) == {"x": code}
    assert not (tmp_path / "ran").exists()


def test_intervals_stay_text_which_recbole_reads_itself():
    assert parse_texts({"user_inter_num_interval": "[5,9]", "topk": "[5,9]"}) == {
        "user_inter_num_interval": "[5,9]", "topk": [5, 9],
    }  # fmt: skip


def test_a_key_that_is_given_twice_must_mean_the_same():
    assert parse_arguments(["--epochs=3", "--epochs=3"]) == {"epochs": 3}
    with pytest.raises(ConfigValueError, match=r"--epochs is given twice, as '3' and as '4'\. Keep one"):
        parse_arguments(["--epochs=3", "--epochs=4"])


def test_arguments_of_somebody_else_are_passed_over(monkeypatch, caplog):
    monkeypatch.setattr("sys.argv", ["pytest", "-q", "--epochs=9", "tests"])
    assert own_arguments() == ["--epochs=9"]
    assert "[-q tests] will not be used" in caplog.text
    monkeypatch.setattr("sys.argv", ["/lib/ipykernel_launcher.py", "--f=kernel.json"])
    assert own_arguments() == []


def test_arguments_that_a_command_does_not_know_are_refused():
    refuse_arguments("doctor", [])
    with pytest.raises(ConfigValueError, match=r"unknown argument '--fix'\. See 'recbole-aia doctor --help'"):
        refuse_arguments("doctor", ["--fix", "now"])


class TestFiles:
    def test_one_with_nothing_in_it_has_no_keys(self, tmp_path):
        (tmp_path / "empty.yaml").write_text("# nothing\n")
        assert read_yaml(tmp_path / "empty.yaml") == {}

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (None, "'odd.yaml' does not exist"),
            (b"epochs: [1\nseed: 2\n", "'odd.yaml' line 2 is not valid YAML"),
            (b"x: !!python/object/apply:os.mkdir ['ran']", "not valid YAML"),
            (b"epochs: 3 # \xe9", "not UTF-8"),
            (b"1: 2", "key: value"),
            (b"- a", "key: value"),
        ],
    )
    def test_one_that_is_missing_or_broken_is_named_in_one_line(self, content, message, tmp_path):
        path = Path("odd.yaml")
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ConfigValueError, match=message) as caught:
            read_yaml(path)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "ran").exists()
