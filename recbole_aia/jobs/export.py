"""The job ``export``: writes a model of ours as a checkpoint of RecBole, for programs without this package."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from recbole.config import Config

from recbole_aia.config.registry import known_keys
from recbole_aia.config.text import to_yaml
from recbole_aia.errors import CheckpointError, ConfigValueError
from recbole_aia.jobs.loading import load_run
from recbole_aia.storage.checkpoints import checkpoint_file, load_checkpoint
from recbole_aia.storage.files import write_whole
from recbole_aia.storage.run_folder import kept_values


def export_recbole(path: Path, out: Path) -> None:
    """Writes a checkpoint that ``recbole.quick_start.load_data_and_model`` opens.

    The checkpoint holds a pickled ``recbole.config.Config`` without our keys. From torch 2.6 on, RecBole 1.2.1 opens
    pickles, even its own, only if ``TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1`` is set.

    Args:
        path: a run's folder, or a checkpoint of recbole-aia.
        out: the file to write.

    Raises:
        ConfigValueError: ``out`` exists already, or cannot be written.
        CheckpointError: ``path`` cannot be read, or holds released users, for which RecBole's models have no place,
            or the data's rows stand in another order than at its training, which RecBole could not know.
    """
    if out.exists():
        raise ConfigValueError(f"'{out}' exists already. Give another --out, or remove it.")
    if not out.parent.is_dir():
        raise ConfigValueError(f"there is no folder '{out.parent}'. Make it, or give another --out.")
    path = checkpoint_file(path)
    run, state = load_run(path), load_checkpoint(path)
    if run.dataset.renumbered:
        raise CheckpointError(
            f"the rows of {run.config['dataset']}.inter stand in another order than when '{path}' was trained, and "
            "RecBole, which goes by that order, would give its vectors to wrong people. Give that file, or serve "
            "embeddings.npz."
        )
    if getattr(run.model, "released_users", None) is not None:
        raise CheckpointError(
            f"the users of '{path}' are released, and RecBole's {run.config['model']} would compute them anew, "
            "unprotected. Serve embeddings.npz, or unlearn with another --target."
        )
    stock = {
        "config": _stock_config(run.config),
        # The base of an unlearning may have been kept without these values of its training.
        "epoch": state.get("epoch", 0),
        "cur_step": state.get("cur_step", 0),
        "best_valid_score": state.get("best_valid_score", float("-inf")),
        "state_dict": state["state_dict"],
        # RecBole's models keep caches of scores here, and compute them again when they are missing.
        "other_parameter": None,
        "optimizer": state.get("optimizer") or torch.optim.Adam(run.model.parameters()).state_dict(),
    }
    try:
        write_whole(out, lambda aside: torch.save(stock, aside, pickle_protocol=4))
    except (OSError, RuntimeError) as error:  # torch raises RuntimeError if it cannot open the file or the disk is full
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise ConfigValueError(f"cannot write '{out}': {reason}. Give another --out.") from error


def _stock_config(config: Any) -> Config:
    ours = known_keys()
    values = {key: value for key, value in kept_values(config.final_config_dict).items() if key not in ours}
    with tempfile.TemporaryDirectory() as folder:
        # The values go through a file, because RecBole runs texts in a config_dict through eval.
        file = Path(folder) / "config.yaml"
        file.write_text(to_yaml(values), encoding="utf-8")
        with _without_command_line():
            return Config(config_file_list=[str(file)])


@contextmanager
def _without_command_line() -> Iterator[None]:
    """Inside, the process has no command-line arguments, which RecBole's ``Config`` would read."""
    arguments = sys.argv
    sys.argv = arguments[:1]
    try:
        yield
    finally:
        sys.argv = arguments
