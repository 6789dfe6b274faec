"""Lets RecBole 1.2.1, last changed in 2025, run on today's NumPy, SciPy, pandas and torch.

Every shim first looks for the break that it mends. Without the break, the shim does nothing. :func:`apply` runs at
once if RecBole is imported already, and otherwise with the first import of RecBole. It may run any number of times.

Numbers such as #2215 are threads in RecBole's issue tracker. One break cannot be mended from here, and
``recbole-aia doctor`` reports it: ``recbole.quick_start`` imports Ray 2.6.3, and Ray 2.6.3 needs setuptools < 82
(#1820, #1518) and Python < 3.12.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import io
import pickle
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

_NUMPY_ALIASES = {
    "float_": "float64",
    "complex_": "complex128",
    "unicode_": "str_",
    "bool8": "bool_",  # Ray 2.6.3 reads this one
}


def restore_numpy_aliases() -> list[str]:
    """Gives NumPy 2 back the names that ``Config.compatibility_settings`` and Ray read (#2215, #2174, #2162).

    Returns:
        The names that were missing and have been added.
    """
    import numpy as np

    missing = [name for name in _NUMPY_ALIASES if name not in vars(np)]
    for name in missing:
        setattr(np, name, getattr(np, _NUMPY_ALIASES[name]))
    return missing


def restore_dok_update() -> bool:
    """Gives SciPy's ``dok_matrix`` back the ``_update`` that LightGCN, NGCF and NCL call (#2034, #2090, #2185)."""
    from scipy.sparse import dok_matrix

    if hasattr(dok_matrix, "_update"):
        return False

    def _update(self: Any, data: dict[tuple[int, int], Any]) -> None:
        # The graph models pass hundreds of thousands of int32 coordinates, and __setitem__ would check each of them.
        self._dict.update(data)

    dok_matrix._update = _update
    return True


def fill_missing_in_place() -> bool:
    """Makes ``Dataset._fill_nan`` work under pandas 3, whose copy-on-write makes RecBole's version do nothing.

    Without this shim a missing token becomes a huge negative id.
    """
    import numpy as np
    import pandas as pd

    frame = pd.DataFrame({"x": [np.nan]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame["x"].fillna(value=0.0, inplace=True)  # noqa: PD002 - RecBole makes this call
    if frame["x"].notna().all():
        return False

    from recbole.data.dataset import Dataset
    from recbole.utils import FeatureType

    def _fill_nan(self: Any) -> None:
        for feat_name in self.feat_name_list:
            feat = getattr(self, feat_name)
            for field in feat:
                kind = self.field2type[field]
                if kind == FeatureType.TOKEN:
                    feat[field] = feat[field].fillna(value=0)
                elif kind == FeatureType.FLOAT:
                    feat[field] = feat[field].fillna(value=feat[field].mean())
                else:
                    dtype = np.int64 if kind == FeatureType.TOKEN_SEQ else np.float64
                    empty = np.array([], dtype=dtype)
                    feat[field] = [empty if isinstance(x, float) else x for x in feat[field]]

    Dataset._fill_nan = _fill_nan
    return True


def save_plain_checkpoints() -> bool:
    """Lets RecBole's trainers reload their checkpoints under torch >= 2.6, whose loader takes plain data only.

    RecBole pickles its ``Config`` object into every checkpoint (#2215, #2212, #2155). The strict loader reads neither
    that object nor that pickle protocol.
    """
    if not _strict_torch_load():
        return False
    from recbole.trainer import Trainer

    if Trainer._save_checkpoint is save_plain_checkpoint:
        return False
    Trainer._save_checkpoint = save_plain_checkpoint
    return True


def save_plain_checkpoint(trainer: Any, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
    """Replaces ``Trainer._save_checkpoint``: the same keys, but only tensors and plain data as values.

    The configuration becomes a dict, so that the file loads with ``weights_only=True``. The file is written under
    another name and then renamed, so that a reader never finds half a file.
    """
    from recbole.utils import set_color

    from recbole_aia.storage.checkpoints import save_checkpoint

    config = trainer.config
    if not config["single_spec"] and config["local_rank"] != 0:
        return
    path = Path(kwargs.get("saved_model_file") or trainer.saved_model_file)
    save_checkpoint(checkpoint_state(trainer, epoch), path)
    if verbose:
        trainer.logger.info(set_color("Saving current", "blue") + f": {path}")


def checkpoint_state(trainer: Any, epoch: int) -> dict[str, Any]:
    """The content of a checkpoint: RecBole's keys, ``defense``, who the users are, and the trainer's ``kept_state``."""
    from recbole_aia.storage.plain import plain

    config, defense = plain(trainer.config.final_config_dict), getattr(trainer, "defense", None)
    if defense is not None and config.get("defense") != defense:
        # A project with a plain RecBole Config has chosen the defense by the class of its trainer.
        config |= {"defense": defense, "stage": trainer.stage}
    numbering = getattr(trainer.model, "numbering", None)
    return {
        "config": config,
        "epoch": epoch,
        "cur_step": trainer.cur_step,
        "best_valid_score": float(trainer.best_valid_score),
        "state_dict": trainer.model.state_dict(),
        "other_parameter": trainer.model.other_parameter(),
        "optimizer": trainer.optimizer.state_dict(),
        "defense": defense,
        **({} if numbering is None else {"numbering": numbering.kept()}),
        **getattr(trainer, "kept_state", {}),
    }


def download_without_a_process_group() -> bool:
    """Lets a single process download a dataset, in spite of RecBole's barrier for process groups (#1989, #2050)."""
    import torch.distributed
    from recbole.data.dataset import Dataset

    original = Dataset._download
    if getattr(original, "alone", False):
        return False

    def _download(self: Any) -> None:
        barrier = torch.distributed.barrier
        if not torch.distributed.is_initialized():
            torch.distributed.barrier = lambda *_args, **_kwargs: None
        try:
            original(self)
        finally:
            torch.distributed.barrier = barrier

    _download.alone = True  # type: ignore[attr-defined]
    Dataset._download = _download
    return True


def _strict_torch_load() -> bool:
    """Whether ``torch.load`` refuses arbitrary objects by default."""
    import torch

    buffer = io.BytesIO()
    torch.save(_Probe(), buffer)
    buffer.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.load(buffer)  # nosec B614
    except pickle.UnpicklingError:
        return True
    return False


class _Probe:
    """An object that is not plain data."""


def apply() -> None:
    """Applies every shim that this environment needs."""
    restore_numpy_aliases()
    restore_dok_update()
    fill_missing_in_place()
    save_plain_checkpoints()
    download_without_a_process_group()


def apply_with_recbole() -> None:
    """Applies every shim now if RecBole is imported already, and otherwise with its first import.

    The shims import torch and pandas. Waiting for RecBole keeps both out of a command that only prints its help.
    """
    if "recbole" in sys.modules:
        apply()
    elif not any(isinstance(finder, _RecBoleFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _RecBoleFinder())


class _RecBoleFinder(importlib.abc.MetaPathFinder):
    """Finds RecBole as Python does, and gives it a loader that applies the shims."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != "recbole":
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _RecBoleLoader(spec.loader.name, spec.loader.path)
        return spec


class _RecBoleLoader(importlib.machinery.SourceFileLoader):
    """Python's own loader; applies the shims after it has loaded RecBole."""

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        apply()
