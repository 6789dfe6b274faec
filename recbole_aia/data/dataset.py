"""RecBole's datasets and loaders, without its pickle caches."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from recbole.data.dataloader import FullSortEvalDataLoader, TrainDataLoader
from recbole.data.dataset import Dataset
from recbole.data.utils import create_samplers, get_dataloader

from recbole_aia.data.download import obtain
from recbole_aia.data.loader import FastTrainDataLoader, WideFullSortEvalDataLoader
from recbole_aia.data.numbering import Numbering
from recbole_aia.errors import ConfigValueError
from recbole_aia.storage.files import sha256_of


def create_dataset(config: Any) -> Dataset:
    """Loads the dataset of a configuration from its atomic files; ``obtain`` downloads them if they are missing.

    RecBole's own factory would load a pickle that lies in ``checkpoint_dir``. Such a pickle can run code, and it does
    not follow changed settings.

    Raises:
        AttributeDataError: the dataset's files are missing, or hold no interactions after filtering.
        ConfigValueError: the configuration does not fit the files.
    """
    folder = Path(config["data_path"])
    file = folder / f"{config['dataset']}.inter"
    if not config["benchmark_filename"] and not file.is_file():
        obtain(config["dataset"], folder)
    try:
        dataset = Dataset(config)
    except (KeyError, ValueError) as error:
        raise ConfigValueError(f"cannot load {file.name}: {error.args[0] if error.args else error}") from error
    dataset.numbering = Numbering.of(dataset)
    if dataset.time_field not in dataset.field2type and config["eval_args"]["order"] == "TO":
        raise ConfigValueError(
            f"{file.name} has no '{dataset.time_field}', by which eval_args.order TO sorts. "
            'Set "--eval_args={split: {LS: valid_and_test}, order: RO, group_by: user, mode: full}".'
        )
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
    samplers = create_samplers(config, dataset, parts)
    shuffle = (config["shuffle"], False, False)
    loaders = [
        _loader_class(config, phase, scores_users)(config, part, sampler, shuffle=mixed)
        for phase, part, sampler, mixed in zip(("train", "valid", "test"), parts, samplers, shuffle, strict=True)
    ]
    return loaders[0], loaders[1], loaders[2]


def _loader_class(config: Any, phase: str, scores_users: bool) -> Any:
    ours = {TrainDataLoader: FastTrainDataLoader}
    if scores_users:
        ours[FullSortEvalDataLoader] = WideFullSortEvalDataLoader
    stock = get_dataloader(config, phase)
    return ours.get(stock, stock) if config["fast"] else stock


def interactions_by_user(dataset: Any) -> np.ndarray:
    """Number of interactions of each user, ``[n_users - 1]``, without RecBole's padding user."""
    users = np.asarray(dataset.inter_feat[dataset.uid_field])
    return np.bincount(users, minlength=dataset.user_num)[1:]


def files_digest(config: Any) -> str:
    """SHA-256 over the names and the digests of a dataset's ``.inter`` and ``.user`` files."""
    files = sorted(Path(config["data_path"]).glob("*"))
    digest = hashlib.sha256()
    for file in files:
        if file.name.startswith(f"{config['dataset']}.") and file.suffix in (".inter", ".user"):
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
