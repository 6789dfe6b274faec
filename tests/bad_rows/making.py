"""A row of the table of bad inputs, and helpers that make its files in the working folder.

``run("--epochs=-1", "epochs is -1")`` is a row: the arguments beyond a small run, and words of the message. A file is
made by a function in ``make``. ``ACCEPTED`` instead of words says that the input is sensible and works.
"""

from __future__ import annotations

import os
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ACCEPTED = "works"
INTER, USER = Path("dataset/synthetic/synthetic.inter"), Path("dataset/synthetic/synthetic.user")
QUICK = (
    "--attackers=[logistic]", "--attack_repeats=1", "--attack_folds=3", "--attack_permutations=20", "--attack_jobs=1",
    "--show_progress=False",
)  # fmt: skip
SMALL = ("--epochs=1", "--train_batch_size=8192", "--output_dir=o", *QUICK)
FULL = "order: RO, group_by: user, mode: full"


class Row(NamedTuple):
    """One input: how its files are made, the command, and words of the message, or :data:`ACCEPTED`."""

    case: str
    arguments: tuple[str, ...]
    words: str
    make: Callable[[], Any] | None = None


def run(*given: str, make: Callable[[], Any] | None = None, case: str = "") -> Row:
    """A small run with further arguments; the last of ``given`` are the words."""
    *arguments, words = given
    keys = {argument.partition("=")[0] for argument in arguments}
    base = ("--model=BPR", "--dataset=synthetic", *SMALL)
    kept = [each for each in base if each.partition("=")[0] not in keys]
    return Row(f"run {case or ' '.join(arguments)}", ("run", *kept, *arguments), words, make)


def config(text: str, words: str, case: str = "") -> Row:
    """A small run with a config file of this content."""
    return run("--config_files", "c.yaml", words, make=lambda: put("c.yaml", text), case=f"yaml {case or text[:60]!r}")


def audit(*given: str, make: Callable[[], Any] | None = None, case: str = "") -> Row:
    """An audit of ``e.npz`` and ``l.user``; an argument such as ``e.npy`` names other embeddings."""
    *arguments, words = given
    file = next((each for each in arguments if each.startswith("e.")), "e.npz")
    labels = next((each for each in arguments if each.startswith("l.")), "l.user")
    rest = [each for each in arguments if each not in (file, labels)]
    keys = {argument.partition("=")[0] for argument in rest}
    kept = [each for each in QUICK if each.partition("=")[0] not in keys]
    full = ("audit", "--embeddings", file, "--labels", labels, "--output_dir=o", *kept, *rest)
    return Row(f"audit {case or ' '.join(arguments)}", full, words, make)


def command(*given: str, make: Callable[[], Any] | None = None, case: str = "") -> Row:
    """Any command."""
    *arguments, words = given
    return Row(case or " ".join(arguments), tuple(arguments), words, make)


def split(way: str, rest: str = FULL) -> str:
    """``--eval_args`` with a split."""
    return f"--eval_args={{split: {way}, {rest}}}"


def put(path: str | Path, content: str | bytes, encoding: str = "utf-8") -> None:
    """Writes a file."""
    Path(path).write_bytes(content.encode(encoding) if isinstance(content, str) else content)


def edited(path: Path, edit: Callable[[list[str]], list[str]], encoding: str = "utf-8") -> Callable[[], None]:
    """Makes a file of the data wrong: ``edit`` changes its lines."""
    return lambda: put(path, "\n".join(edit(path.read_text().splitlines())) + "\n", encoding)


def swapped(path: Path, old: str, new: str, count: int = -1) -> Callable[[], None]:
    """Replaces a text in a file of the data."""
    return lambda: put(path, path.read_text().replace(old, new, count))


def line(path: Path, number: int, text: str) -> Callable[[], None]:
    """Replaces one line, counted from 1, in a file of the data."""
    return edited(path, lambda lines: [*lines[: number - 1], text, *lines[number:]])


def vectors(n: int = 60, d: int = 4) -> np.ndarray:
    """Embeddings of users ``[n, d]``."""
    return np.random.default_rng(1).normal(size=(n, d)).astype(np.float32)


def tokens(n: int = 60) -> np.ndarray:
    """The users of :func:`labels`."""
    return np.array([str(user) for user in range(1, n + 1)])


def labels(n: int = 60, header: str = "user_id:token\tg:token", name: str = "l.user") -> None:
    """Labels of two classes."""
    put(name, "\n".join([header, *(f"{user}\t{'ab'[user % 2]}" for user in range(1, n + 1))]) + "\n")


def npz(name: str = "e.npz", **arrays: Any) -> Callable[[], None]:
    """An npz file and labels; arrays replace the good ones, and ``None`` leaves one out."""

    def make() -> None:
        labels()
        given = {"user_tokens": tokens(), "embeddings": vectors(), **arrays}
        np.savez(name, **{key: array for key, array in given.items() if array is not None})

    return make


def members(*entries: tuple[str, bytes], kind: int = zipfile.ZIP_STORED) -> Callable[[], None]:
    """An npz file from the bytes of its members."""

    def make() -> None:
        labels()
        with zipfile.ZipFile("e.npz", "w", kind) as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # zipfile warns of the name that is given twice
            for name, content in entries:
                archive.writestr(name, content)

    return make


def table(text: str, name: str = "e.csv", encoding: str = "utf-8") -> Callable[[], None]:
    """A file of embeddings as text, and labels."""
    return lambda: (labels(), put(name, text, encoding))


def labelled(text: str | bytes, name: str = "l.user") -> Callable[[], None]:
    """Good embeddings, and labels as text."""
    return lambda: (npz()(), put(name, text))


def pipe(name: str) -> Callable[[], None]:
    """A named pipe that nobody writes to, and labels and embeddings beside it."""

    def make() -> None:
        npz()()
        Path(name).unlink(missing_ok=True)
        os.mkfifo(name)

    return make
