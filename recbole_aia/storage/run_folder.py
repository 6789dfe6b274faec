"""The folder that a job leaves: checks whose it is, and writes configuration, embeddings and log.

This module does not decide which files there are. ``jobs/run.py`` decides which files a run writes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from recbole.utils import init_logger
from recbole.utils.logger import RemoveColorFilter

from recbole_aia.config.registry import presentation_keys
from recbole_aia.config.text import parse_value, to_yaml
from recbole_aia.errors import AttributeDataError, ConfigValueError
from recbole_aia.storage.cells import escaped, unescaped
from recbole_aia.storage.files import private_file, private_folder, write_whole
from recbole_aia.storage.plain import plain
from recbole_aia.version import __version__

# Keys that RecBole derives from other keys, and one that is not a run's own; config.yaml leaves them out.
_DERIVED = {
    "MODEL_TYPE", "MODEL_INPUT_TYPE", "eval_type", "device", "single_spec", "local_rank", "valid_metric_bigger",
    "valid_neg_sample_args", "test_neg_sample_args",
    "resume",  # it is about the command, not about the run
}  # fmt: skip
#: The file of the users' activity beside their vectors. It is the owner's; the vectors may be served without it.
ACTIVITY = "activity.csv"
_VERSIONS = ("recbole", "torch", "numpy", "scipy", "pandas", "scikit-learn", "xgboost", "POT")


def make_folder(folder: Path, keys: str = "--output_dir") -> None:
    """Makes a folder and tries to write in it.

    Args:
        folder: the folder.
        keys: the keys or options that the message names as the cause.

    Raises:
        ConfigValueError: the folder cannot be made or written to.
    """
    try:
        private_folder(folder)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise ConfigValueError(f"cannot write to '{folder}': {reason}. Give another {keys}.") from error


def check_free(folder: Path, names: Sequence[str], way: str = "Give another --output_dir") -> None:
    """Raises :class:`ConfigValueError` if a folder holds a file of one of these names; ``way`` says what to do."""
    held = next((name for name in names if (folder / name).exists()), None)
    if held is not None:
        raise ConfigValueError(f"'{folder}' holds another run's {held}. {way}, or remove it.")


def kept_values(config_dict: Mapping[str, Any]) -> dict[str, Any]:
    """The plain values of a configuration from which it can be built again.

    Args:
        config_dict: the ``final_config_dict`` of a configuration of ours or RecBole's.
    """
    values = {key: value for key, value in plain(dict(config_dict)).items() if key not in _DERIVED}
    if values["dataset"] == "ml-100k":
        values.pop("data_path", None)
    elif values.get("data_path"):
        # RecBole appends the dataset's name to data_path when it reads the key, so the name is taken off here.
        values["data_path"] = str(Path(values["data_path"]).parent)
    return values


def config_text(config: Any) -> str:
    """A configuration as YAML, from which it can be built again."""
    return to_yaml(kept_values(config.final_config_dict))


def write_config(config: Any, folder: Path, comment: str) -> None:
    """Writes config.yaml; its first line is ``comment``, which says what the file is for."""
    text = f"# {comment}\n{config_text(config)}"
    write_whole(folder / "config.yaml", lambda aside: aside.write_text(text, encoding="utf-8"))


def config_digest(text: str) -> str:
    """Six hexadecimal digits of SHA-256 over the keys that decide a run's numbers.

    Keys that decide only how a run is shown or where it is kept do not count.

    Args:
        text: the result of :func:`config_text`, or the content of a config.yaml.
    """
    shown = presentation_keys()
    values = {key: value for key, value in parse_value(text).items() if key not in shown}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:6]


def kept_place(config: Any, runs: Path = Path("runs")) -> Path:
    """The folder in which a run is kept and found again; its name holds the hash of what decides the run's numbers."""
    digest = config_digest(config_text(config))
    return runs / f"{config['model']}-{config['dataset']}-{config['defense']}-seed{config['seed']}-{digest}"


def kept_results(folder: Path, data: str = "") -> dict[str, Any] | None:
    """The results.json of a finished run in a folder; ``None`` without one of the packages that are installed now.

    ``data`` is the digest of the data set's files, if it is known: a run of other data is none.
    """
    try:
        results: dict[str, Any] = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        found: Mapping[str, str] = results["run"]["versions"]
        own = results["data"].get("sha256", data)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    now = {name: version for name, version in versions().items() if name != "python"}
    return results if now.items() <= found.items() and (own == data or not data) else None


def written_digest(folder: Path) -> str | None:
    """:func:`config_digest` of the config.yaml in a folder; ``None`` where there is none, or none that can be read."""
    try:
        return config_digest((folder / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, AttributeError, TypeError):  # no UTF-8, no mapping, or values that are no JSON
        return None


def write_embeddings(
    path: Path,
    tokens: NDArray[np.str_],
    served: NDArray[np.floating[Any]],
    table: NDArray[np.floating[Any]] | None,
) -> None:
    """Writes the users' vectors to an npz file without pickled objects, and nothing else: the file is served.

    Args:
        path: the file.
        tokens: the users' original ids, ``[n]``.
        served: the vectors that produce the scores, ``[n, d]``.
        table: the raw parameters, ``[n, d']``; ``None`` if the model has no table, or serves released vectors, which
            replace it.
    """
    arrays = {"user_tokens": tokens, "embeddings": served.astype(np.float32)}
    if table is not None:
        arrays["table"] = table.astype(np.float32)
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def write_activity(path: Path, tokens: NDArray[np.str_], activity: NDArray[np.integer[Any]]) -> None:
    """Writes how many interactions each user has, for the owner: whoever knows it reads more from vectors.

    Args:
        path: the file, :data:`ACTIVITY` in the folder of :func:`write_embeddings`.
        tokens: the users' original ids, ``[n]``.
        activity: number of interactions of each user, ``[n]``.
    """
    escaped(pd.DataFrame({"user": tokens, "interactions": activity})).to_csv(path, index=False, encoding="utf-8")


def read_activity(path: Path, tokens: NDArray[np.str_]) -> NDArray[np.int64] | None:
    """Number of interactions of each user ``[n]`` in a file of :func:`write_activity`; ``None`` if there is no file.

    Raises:
        AttributeDataError: the file cannot be read, or lacks one of ``tokens [n]``.
    """
    if not path.is_file():
        return None
    try:
        frame = unescaped(pd.read_csv(path, dtype={"user": str, "interactions": np.int64}, keep_default_na=False))
        found: NDArray[np.int64] = frame.set_index("user")["interactions"].loc[tokens.tolist()].to_numpy()
        if (found < 0).any() or found.shape != tokens.shape:
            raise ValueError("a user has less than no interactions, or two numbers of them")
    except (OSError, ValueError, KeyError, OverflowError) as error:
        raise AttributeDataError(
            f"'{path}' does not hold user and interactions of each user of embeddings.npz. Remove it, or audit without."
        ) from error
    return found


def versions() -> dict[str, str]:
    """The versions of Python, of recbole-aia and of the packages that it computes with, for results.json."""
    return {
        "python": platform.python_version(),
        "recbole-aia": __version__,
        **{name: package_version(name) or "unknown" for name in _VERSIONS},
    }


def package_version(name: str) -> str | None:
    """The version of a package; ``None`` if it is not installed.

    A module can come with a distribution of another name, as xgboost does with xgboost-cpu. The version then is that
    distribution's.
    """
    with suppress(PackageNotFoundError):
        return version(name)
    # packages_distributions reads the metadata of every installed package, so it comes last.
    for distribution in packages_distributions().get(name, ()):
        with suppress(PackageNotFoundError):
            return version(distribution)
    return None


@contextmanager
def run_log(config: Any, folder: Path) -> Iterator[None]:
    """Inside, RecBole's logging is set up and also writes a file in the run's folder.

    At the end all of it is removed, so that the logs of two runs do not mix. The file is called run.log if the block
    succeeds, and failed.log if it fails. A log that cannot be written fails no run.
    """
    root = logging.getLogger()
    before, level, complain = list(root.handlers), root.level, logging.raiseExceptions
    init_logger(config)
    root.setLevel((config["state"] or "info").upper())
    aside = folder / f".{os.getpid()}.run.log"
    private_file(aside)
    file = logging.FileHandler(aside, mode="w", encoding="utf-8")
    file.addFilter(RemoveColorFilter())
    file.setFormatter(logging.Formatter("%(asctime)-15s %(levelname)s  %(message)s", "%a %d %b %Y %H:%M:%S"))
    root.addHandler(file)
    name, logging.raiseExceptions = "failed.log", False  # a traceback for each line for which a full disk has no room
    try:
        yield
        name = "run.log"
    finally:
        for handler in [h for h in root.handlers if h not in before]:
            root.removeHandler(handler)
            with suppress(OSError):
                handler.close()
        root.setLevel(level)
        logging.raiseExceptions = complain
        with suppress(OSError):
            os.replace(aside, folder / name)
            if name == "run.log":  # an earlier try has failed or was interrupted, and this one has not
                (folder / "failed.log").unlink(missing_ok=True)
