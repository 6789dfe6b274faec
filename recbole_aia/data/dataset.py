"""RecBole's datasets and loaders, without its pickle caches."""

from __future__ import annotations

import glob
import hashlib
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np
from recbole.data.dataloader import FullSortEvalDataLoader, TrainDataLoader
from recbole.data.dataset import Dataset
from recbole.data.utils import create_samplers, get_dataloader

from recbole_aia.data.atomic_text import atomic_header
from recbole_aia.data.checked import CheckedDataset, load_needed_columns, refuse_empty
from recbole_aia.data.download import obtain
from recbole_aia.data.loader import (
    CompactSampler,
    FastTrainDataLoader,
    PatientSampler,
    WideFullSortEvalDataLoader,
    full_users,
)
from recbole_aia.data.mapped import MappedInteraction
from recbole_aia.data.numbering import Numbering
from recbole_aia.data.sharded import ShardedDataset, shards_of
from recbole_aia.errors import AIAError, AttributeDataError, ConfigValueError
from recbole_aia.storage.files import sha256_of

# What RecBole raises for files and settings that do not fit each other.
_MISREAD = (AssertionError, AttributeError, IndexError, KeyError, NotImplementedError, TypeError, ValueError)
_ADVICE = {
    "Some feat is empty, please check the filtering settings.": "no interaction is left after filtering. Widen "
    "user_inter_num_interval, item_inter_num_interval or val_interval, or give a file with lines."
}


def create_dataset(config: Any) -> Dataset:
    """Loads the dataset of a configuration from its shards, or else from its atomic files.

    ``obtain`` downloads the atomic files if they are missing.

    RecBole's own factory would load a pickle that lies in ``checkpoint_dir``. Such a pickle can run code, and it does
    not follow changed settings.

    Raises:
        AttributeDataError: the dataset's files are missing, or hold no interactions after filtering.
        ConfigValueError: the configuration does not fit the files.
    """
    folder, name = Path(config["data_path"]), config["dataset"]
    shards = shards_of(config)
    files = [folder / f"{name}.{part}.inter" for part in config["benchmark_filename"] or ()]
    if shards is not None:
        files = [shards.folder]
    elif not files:
        files = [folder / f"{name}.inter"]
        if not files[0].is_file():
            obtain(name, folder)
    try:
        for file in files:
            load_needed_columns(config, file, atomic_header(file, config) if shards is None else shards.columns)
        dataset = CheckedDataset(config) if shards is None else ShardedDataset(config, shards)
    except AIAError:
        raise
    except FileNotFoundError as error:
        raise AttributeDataError(f"there is no file '{error.filename}'. Check data_path and dataset.") from error
    except _MISREAD as error:
        said = str(error.args[0] if error.args else error)
        raise ConfigValueError(f"cannot load {files[0].name}: {_ADVICE.get(said, said)}") from error
    if shards is not None and (folder / f"{name}.inter").is_file():
        said = f"'{shards.folder}' is used, and '{name}.inter' beside it is not read. Remove one of them."
        getLogger().warning(said)
    dataset.numbering = Numbering.of(dataset)
    return dataset


def prepare_loaders(config: Any, dataset: Dataset, *, scores_users: bool = False) -> tuple[Any, Any, Any]:
    """Splits a dataset and builds RecBole's training, validation and test loaders.

    The function repeats ``recbole.data.data_preparation`` without its pickled loaders. The steps come in the same
    order, so that every random number is the same. Unless ``fast`` is false, our faster loaders replace RecBole's
    wherever they give the same numbers.

    Args:
        config: the run's configuration.
        dataset: the dataset as created; this function changes it.
        scores_users: whether the model scores all items for many users at once, rather than pair by pair.
    """
    parts = dataset.build()
    refuse_empty(config, [len(part) for part in parts])
    samplers, full = _samplers(config, dataset, parts)
    shuffle = (config["shuffle"], False, False)
    loaders = [
        _loader_class(config, phase, scores_users, full)(config, part, sampler, shuffle=mixed)
        for phase, part, sampler, mixed in zip(("train", "valid", "test"), parts, samplers, shuffle, strict=True)
    ]
    return loaders[0], loaders[1], loaders[2]


def _samplers(config: Any, dataset: Dataset, parts: list[Dataset]) -> tuple[list[Any], bool]:
    """The samplers of the three parts, and whether a user has interacted with all items in training.

    Raises:
        AttributeDataError: all users have interacted with all items in training.
    """
    if config["repeatable"]:
        return list(create_samplers(config, dataset, parts)), False
    kind = CompactSampler if isinstance(parts[0].inter_feat, MappedInteraction) else PatientSampler
    phases = ("train", "valid", "test")
    asked = [config[f"{phase}_neg_sample_args"]["distribution"] for phase in phases]
    drawn = next((each for each in asked if each != "none"), None)
    if drawn is None:
        return [None] * 3, False
    alpha = config["train_neg_sample_args"]["alpha"] if asked[0] != "none" else 1.0
    base = kind(list(phases), parts, drawn, alpha)
    samplers = []
    for phase, distribution in zip(phases, asked, strict=True):
        if distribution != "none":
            base.set_distribution(distribution)
        samplers.append(base.set_phase(phase) if distribution != "none" else None)
    full = full_users(samplers[0])
    if full is not None and full[1:].all():
        raise AttributeDataError(f"all users of {config['dataset']} have interacted with all items. Add items.")
    return samplers, full is not None


def _loader_class(config: Any, phase: str, scores_users: bool, full: bool) -> Any:
    ours = {TrainDataLoader: FastTrainDataLoader}
    if scores_users:
        ours[FullSortEvalDataLoader] = WideFullSortEvalDataLoader
    stock = get_dataloader(config, phase)
    return ours.get(stock, stock) if config["fast"] or (full and phase == "train") else stock


def interactions_by_user(dataset: Any) -> np.ndarray:
    """Number of interactions of each user, ``[n_users - 1]``, without RecBole's padding user."""
    users = np.asarray(dataset.inter_feat[dataset.uid_field])
    return np.bincount(users, minlength=dataset.user_num)[1:]


def files_digest(config: Any) -> str:
    """SHA-256 over the names and the digests of a dataset's ``.user`` file and its shards, or its ``.inter`` files."""
    shards = shards_of(config)
    kinds = (".inter", ".user") if shards is None else (".user",)
    found = sorted(Path(config["data_path"]).glob(f"{glob.escape(config['dataset'])}.*"))
    files = [file for file in found if file.suffix in kinds]
    digest = hashlib.sha256()
    for file in [*files, *([] if shards is None else shards.files())]:
        digest.update(f"{file.name} {sha256_of(file)}\n".encode())
    return digest.hexdigest()


def interactions_digest(train_data: Any) -> str:
    """The first 16 digits of SHA-256 over the training interactions. Equal digests show equal training data."""
    dataset = train_data.dataset
    features = dataset.inter_feat
    digest = hashlib.sha256()
    for field in (dataset.uid_field, dataset.iid_field):
        digest.update(np.ascontiguousarray(features[field].numpy()).tobytes())
    return digest.hexdigest()[:16]
