"""Any file is accepted with a sensible result, or refused in one line. ``benchmarks/fuzz.sh`` tries far more.

Hypothesis makes files of the right form with wrong content, and changes whole files; ``FUZZ_EXAMPLES=1000`` in the
environment tries that many of each kind.
"""

import io
import json
import os
import random
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, scalar_dtypes

from benchmarks.fuzzing import corpus
from benchmarks.fuzzing.mutation import in_member, mutated
from benchmarks.fuzzing.targets import TARGETS, FindingError, Target, run
from recbole_aia.config.registry import known_keys
from recbole_aia.config.text import to_yaml
from recbole_aia.errors import AIAError, ConfigValueError

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "12"))
few = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
    report_multiple_bugs=False,
)

RECBOLE_KEYS = [
    "epochs", "train_batch_size", "learning_rate", "topk", "metrics", "valid_metric", "eval_args", "load_col", "seed",
    "embedding_size", "train_neg_sample_args", "user_inter_num_interval", "val_interval", "metric_decimal_place",
]  # fmt: skip
WORDS = st.sampled_from(
    ["", "nan", "-1", "1e999", "NDCG@10", "full", "RO", "user_id", "[5,inf)", "=1+1", "\x85", "\r\n"]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=8) | st.dates()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3), max_leaves=6
)


@given(st.dictionaries(st.sampled_from([*known_keys(), *RECBOLE_KEYS]), VALUES, max_size=3))
@few
def test_configurations_of_any_values(values):
    run(TARGETS["config"], to_yaml(values).encode("utf-8", "surrogatepass"))


CELLS = st.sampled_from(
    ["u1", "i1", "1.5", "", " ", "nan", "inf", "-1", "1e400", '"', '"a\tb"', "F", "30", "\ufeff", "é", "\0"]
)
HEADERS = st.permutations(["user_id:token", "item_id:token", "rating:float", "timestamp:float"])


@given(HEADERS, st.integers(1, 4), st.lists(st.lists(CELLS, min_size=3, max_size=5), max_size=5), st.booleans())
@few
def test_interactions_of_any_cells(header, columns, rows, whole):
    text = "\n".join(map("\t".join, [header[:columns], *rows]))
    if whole:
        text = corpus.INTERACTIONS + "\n".join("\t".join(row[:4]) for row in rows)
    run(TARGETS["inter"], text.encode())


@pytest.mark.parametrize(("target", "separator"), [("user", "\t"), ("labels", ","), ("labels", ";")])
@given(data=st.data())
@few
def test_tables_of_labels_of_any_cells(target, separator, data):
    names = data.draw(st.lists(st.sampled_from(["user_id:token", "age:token", "gender:token", "user", ""]), max_size=4))
    rows = data.draw(st.lists(st.lists(CELLS, max_size=4), max_size=6))
    whole = corpus.PEOPLE.replace("\t", separator).splitlines()
    lines = [*(whole if data.draw(st.booleans()) else [separator.join(names)]), *map(separator.join, rows)]
    run(TARGETS[target], "\n".join(lines).encode())


ARRAYS = arrays(scalar_dtypes(), array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))


@given(
    st.dictionaries(st.sampled_from(["embeddings", "user_tokens", "table", "interactions", "a/b"]), ARRAYS, max_size=4)
)
@few
def test_archives_of_any_arrays(found):
    file = io.BytesIO()
    np.savez(file, **found)
    run(TARGETS["npz"], file.getvalue())


def replaced(values, data):
    """Plain data with one value somewhere in them replaced."""
    if isinstance(values, dict) and values and data.draw(st.integers(0, 3)):
        key = data.draw(st.sampled_from(sorted(values, key=str)))
        if not data.draw(st.integers(0, 5)):
            return {name: value for name, value in values.items() if name != key}
        return {**values, key: replaced(values[key], data)}
    if isinstance(values, list) and values and data.draw(st.integers(0, 3)):
        place = data.draw(st.integers(0, len(values) - 1))
        return [replaced(value, data) if at == place else value for at, value in enumerate(values)]
    return data.draw(VALUES)


@given(data=st.data())
@few
def test_ledgers_with_any_value_replaced(data):
    values = replaced(json.loads(corpus.ledgers()[0]), data)
    run(TARGETS["ledger"], json.dumps(values, default=str).encode("utf-8", "surrogatepass"))


@given(data=st.data())
@few
def test_checkpoints_with_any_value_or_weight_replaced(data):
    state = torch.load(io.BytesIO(corpus.checkpoints()[1]), weights_only=True)
    part = data.draw(st.sampled_from(["config", "state_dict", "whole"]))
    if part == "state_dict":
        name = data.draw(st.sampled_from(sorted(state["state_dict"])))
        array = data.draw(arrays(st.sampled_from([np.float32, np.complex64, np.int64]), array_shapes(max_side=4)))
        state["state_dict"][name] = torch.from_numpy(array.copy())
    elif part == "config":
        state["config"] = replaced(dict(state["config"]), data)
    else:
        state = {**state, data.draw(st.sampled_from(sorted(state))): data.draw(VALUES.filter(_is_plain))}
    file = io.BytesIO()
    torch.save(state, file)
    run(TARGETS["checkpoint"], file.getvalue())


def _is_plain(value):
    return "date" not in repr(type(value)) and "datetime" not in repr(value)


@pytest.mark.parametrize("name", TARGETS)
@given(number=st.integers(0, 2**32))
@few
def test_files_with_bits_flipped_cut_copied_or_words_put_in(name, number):
    rng = random.Random(number)
    run(TARGETS[name], mutated(rng.choice(TARGETS[name].seeds()), rng))


@pytest.mark.parametrize("name", TARGETS)
def test_every_whole_file_is_accepted(name):
    refused = [content for content in TARGETS[name].seeds() if not run(TARGETS[name], content)]
    # A user who is not there; a key without its model; weights without names that were hardly trained.
    assert len(refused) <= (name in ("activity", "config", "checkpoint"))


class TestTheFuzzerItself:
    def test_finds_other_errors_messages_of_several_lines_and_nonsense(self):
        class TwoLines(AIAError):
            def __str__(self):
                return "this is wrong.\nMend it."

        errors = {b"key": KeyError("x"), b"lines": TwoLines(), b"none": AssertionError()}

        def parse(path):
            raise errors[path.read_bytes()]

        for content in (b"key", b"lines", b"none"):
            with pytest.raises(FindingError):
                run(Target("file", parse, list), content)

    def test_lets_pass_what_is_accepted_or_refused_in_one_line(self):
        def parse(path):
            if path.read_bytes():
                raise ConfigValueError("this is wrong. Mend it.")

        assert run(Target("file", parse, list), b"")
        assert not run(Target("file", parse, list), b"x")

    def test_changes_members_of_an_archive_behind_right_checksums(self):
        content = corpus.npz_matrices()[0]
        changed = in_member(content, random.Random(0), lambda data, _: data[::-1])
        before, after = zipfile.ZipFile(io.BytesIO(content)), zipfile.ZipFile(io.BytesIO(changed))
        assert after.testzip() is None
        assert sum(before.read(name) != after.read(name) for name in before.namelist()) == 1
