"""The parsers that are fuzzed. A file is either accepted with a sensible result, or refused in one line."""

from __future__ import annotations

import copy
import logging
import os
import signal
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import recbole_aia  # noqa: F401 - the shims come first
from benchmarks.fuzzing import corpus
from recbole_aia import AIAConfig, Protection, load_run
from recbole_aia.config.text import parse_arguments, read_yaml
from recbole_aia.data import create_dataset, prepare_loaders, read_labels
from recbole_aia.data.converters import prepare
from recbole_aia.data.converters.csv_tables import csv_tables
from recbole_aia.data.label_files import match_rows, read_label_file, tabled_labels
from recbole_aia.data.matrices import Matrix, read_matrix
from recbole_aia.errors import AIAError
from recbole_aia.evaluator import checked_embeddings
from recbole_aia.storage.checkpoints import load_checkpoint
from recbole_aia.storage.run_folder import read_activity
from recbole_aia.unlearning.ledger import FILE, Ledger

_LONGEST = 20  # seconds that a file may take
_TOKENS = np.array([f"u{user}" for user in range(corpus.USERS)])


class FindingError(Exception):
    """What a parser must not do: raise anything but an error of ours of one line, accept nonsense, or hang."""


@dataclass(frozen=True)
class Target:
    """A parser.

    Attributes:
        file: the name of the file that it reads, in a folder of its own.
        parse: reads the file and asserts that what it read makes sense.
        seeds: files to begin with.
    """

    file: str
    parse: Callable[[Path], object]
    seeds: Callable[[], list[bytes]]


def run(target: Target, content: bytes) -> bool:
    """Lets a target read a file of this content.

    Returns:
        Whether the file was accepted.

    Raises:
        FindingError: the parser has a fault.
    """
    with _folder() as folder:
        path = folder / target.file
        path.write_bytes(content)
        try:
            with _limited():
                target.parse(path)
        except AIAError as error:
            if not str(error).strip() or len(str(error).splitlines()) != 1:
                raise FindingError(f"a message of {len(str(error).splitlines())} lines: {error!r}") from error
            return False
        except Exception as error:
            raise FindingError(f"{type(error).__name__}: {error}") from error
    return True


@contextmanager
def _folder() -> Iterator[Path]:
    """An empty folder, which is the working folder meanwhile: RecBole writes logs and makes folders there."""
    before = Path.cwd()
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        os.chdir(folder)
        try:
            yield Path(folder)
        finally:
            os.chdir(before)
            logging.disable(logging.NOTSET)


@contextmanager
def _limited() -> Iterator[None]:
    """Raises in a block that takes too long. Only the main thread gets signals."""

    def stop(*_: Any) -> None:
        raise TimeoutError(f"more than {_LONGEST} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(_LONGEST)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _config(path: Path) -> None:
    config = AIAConfig("BPR", "fuzz", config_file_list=[path], argv=[])
    assert isinstance(config["attack_permutations"], int)
    assert isinstance(config["topk"], list)


def _yaml(path: Path) -> None:
    assert all(isinstance(key, str) for key in read_yaml(path))


def _arguments(path: Path) -> None:
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    assert isinstance(parse_arguments(text.split("\0")), dict)


def _interactions(path: Path) -> None:
    path.with_name("fuzz.user").write_text(corpus.PEOPLE)
    config = _small(path.parent.parent, path.parent.name)
    os.rename(path, path.with_name(f"{path.parent.name}.inter"))
    dataset = create_dataset(config)
    assert dataset.user_num > 1
    assert dataset.item_num > 1
    loaders = prepare_loaders(config, copy.deepcopy(dataset))
    assert sum(len(loader.dataset) for loader in loaders) == dataset.inter_num > 0
    for field in ("timestamp", "rating"):
        if field in dataset.inter_feat:
            assert np.isfinite(np.asarray(dataset.inter_feat[field], dtype=np.float64)).all()


def _small(data: Path, name: str) -> AIAConfig:
    values = {**corpus.SMALL, "data_path": str(data)}
    return AIAConfig("BPR", name, config_dict=values, argv=[])


def _people(path: Path) -> None:
    wanted: dict[str, Any] = {"dataset": "fuzz", "attributes": ["gender", "age"], "USER_ID_FIELD": "user_id"}
    wanted |= {"attribute_specs": {"age": {"field": "age", "bins": [32]}}, "field_separator": "\t", "encoding": "utf-8"}
    config = _Values(wanted)
    _sensible(read_labels(config, path, {token: row for row, token in enumerate(_TOKENS, 1)}, len(_TOKENS) + 1))


class _Values(dict[str, Any]):
    """A configuration of plain values; RecBole's has None for what is missing."""

    def __missing__(self, key: str) -> None:
        return None


def _labels(path: Path) -> None:
    vectors = Matrix({"given": np.ones((len(_TOKENS), 2))}, _TOKENS)
    rows, frame = match_rows(vectors, read_label_file(path), ("e.npz", path.name))
    asked = {"dataset": path.name, "attributes": None, "attribute_specs": None}
    _sensible(tabled_labels(frame, rows, len(_TOKENS) + 1, asked)[0])


def _sensible(labels: Any) -> None:
    for name in labels.names:
        column = labels.column(name)
        assert column[0] == -1
        assert -1 <= int(column.min()) <= int(column.max()) < len(labels.classes[name])


def _matrix(path: Path) -> None:
    matrix = read_matrix(path)
    vectors = next(iter(matrix.views.values()))
    assert matrix.tokens is None or len(set(matrix.tokens.tolist())) == len(vectors)
    assert np.isfinite(checked_embeddings(vectors)).all()


def _map(path: Path) -> None:
    protection = Protection.load(path)
    width = len(protection.center)
    moved = protection.transform(np.zeros((3, width)))
    assert moved.shape == (3, width)
    assert np.isfinite(moved).all()


def _activity(path: Path) -> None:
    found = read_activity(path, _TOKENS)
    assert found is not None
    assert found.shape == _TOKENS.shape
    assert (found >= 0).all()


def _ledger(path: Path) -> None:
    ledger = Ledger.read(path.parent)
    assert "\0" not in str(ledger.attributes())
    assert len(ledger.digest()) == 64
    assert "base" in str(ledger)
    assert ledger.next_id > max((request.id for request in ledger.requests), default=0)


def _weights(path: Path) -> None:
    for value in load_checkpoint(path)["state_dict"].values():
        assert isinstance(value, torch.Tensor)
        assert torch.isfinite(value).all()


def _checkpoint(path: Path) -> None:
    data = path.parent / "data"
    (data / "fuzz").mkdir(parents=True)
    (data / "fuzz" / "fuzz.inter").write_text(corpus.INTERACTIONS)
    (data / "fuzz" / "fuzz.user").write_text(corpus.PEOPLE)
    run = load_run(path, argv=[f"--data_path={data}", "--gpu_id="])
    assert all(torch.isfinite(value).all() for value in run.model.state_dict().values())


def _raw(path: Path) -> None:
    path.with_name("users.csv").write_text(corpus.CUSTOMERS)
    columns = {"user": "user", "item": "item", "time": "time", "rating": "stars"}
    converter = csv_tables("shop", path.name, "users.csv", columns, ["kind"])
    summary = prepare(converter, path.parent, path.parent / "out")
    assert summary.kept["interactions"] > 0


TARGETS: dict[str, Target] = {
    "yaml": Target("config.yaml", _yaml, corpus.yamls),
    "config": Target("config.yaml", _config, corpus.yamls),
    "arguments": Target("arguments", _arguments, corpus.arguments),
    "inter": Target("fuzz.inter", _interactions, corpus.interactions),
    "user": Target("fuzz.user", _people, corpus.people),
    "labels": Target("labels.csv", _labels, corpus.label_files),
    "csv": Target("embeddings.csv", _matrix, corpus.csv_matrices),
    "npz": Target("embeddings.npz", _matrix, corpus.npz_matrices),
    "npy": Target("embeddings.npy", _matrix, corpus.npy_matrices),
    "map": Target("map.npz", _map, corpus.maps),
    "activity": Target("activity.csv", _activity, corpus.activities),
    "ledger": Target(FILE, _ledger, corpus.ledgers),
    "weights": Target("checkpoint.pth", _weights, corpus.checkpoints),
    "checkpoint": Target("checkpoint.pth", _checkpoint, corpus.checkpoints),
    "raw": Target("orders.csv", _raw, corpus.orders),
}
