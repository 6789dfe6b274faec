"""Edits of a training split: interactions that are added and removed, in memory and as atomic files."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.data.utils import create_samplers

from recbole_aia.config.text import to_yaml
from recbole_aia.config.types import IntArray
from recbole_aia.data.atomic import write_dataset
from recbole_aia.data.sharded import shards_of
from recbole_aia.errors import ConfigValueError
from recbole_aia.storage.plain import plain

_HOW_READ = ("eval_args", "attributes", "attribute_specs")  # keys of how a dataset is read that RecBole does not list


@dataclass(frozen=True)
class Edits:
    """Interactions by internal ids, pairs of user and item.

    Attributes:
        added: ``[k, 2]``.
        removed: ``[l, 2]``.
    """

    added: IntArray
    removed: IntArray


def profiles_of(dataset: Any) -> sp.csr_matrix:
    """The users of a split and their items, ones, ``[n_users, n_items]`` with the padding user and item."""
    matrix = sp.csr_matrix(dataset.inter_matrix(form="csr"))
    matrix.sum_duplicates()
    matrix.data = np.ones(len(matrix.data))
    return matrix


def edited_split(split: Dataset, edits: Edits) -> Dataset:
    """A copy of a split with the edits; an added interaction has the other values of its user's first one."""
    features, user, item = split.inter_feat, split.uid_field, split.iid_field
    users, items = features[user].numpy(), features[item].numpy()
    keep = ~np.isin(_keys(users, items, split), _keys(edits.removed[:, 0], edits.removed[:, 1], split))
    order = np.argsort(users, kind="stable")
    donors = order[np.searchsorted(users[order], edits.added[:, 0])]
    rows = torch.from_numpy(np.concatenate([np.flatnonzero(keep), donors]))
    columns = {name: features[name][rows] for name in features.columns}
    columns[item] = torch.cat([columns[item][: int(keep.sum())], torch.from_numpy(edits.added[:, 1].astype(np.int64))])
    return split.copy(Interaction(columns))


def edited_loader(config: Any, loader: Any, edits: Edits) -> Any:
    """A training loader like ``loader`` for the edited split. Its negatives are no items of the edited profiles."""
    split = edited_split(loader.dataset, edits)
    sampler = create_samplers(config, split, [split, split, split])[0]
    return type(loader)(config, split, sampler, shuffle=config["shuffle"])


def write_edited(out: Path, name: str, dataset: Any, edits: Edits) -> Path:
    """Writes a dataset with the edits as RecBole's atomic files, all or none.

    Lines that no edit is about stay as they are, those of validation and test among them. An added interaction is its
    user's first line with another item, and stands before all others, so that a split by time puts it into training.
    ``name.yaml`` has the settings with which the original is read and split.

    Args:
        out: the folder of datasets.
        name: of the new dataset; its files are ``out/name/name.*``.
        dataset: RecBole's dataset, which has the ids and the folder of the original files.
        edits: of its training split.

    Returns:
        ``out/name``.

    Raises:
        ConfigValueError: ``out/name`` holds something else, ``out`` cannot be written to, or the dataset is in shards.
    """
    source, original = Path(dataset.dataset_path), dataset.dataset_name
    separator = dataset.config["field_separator"] or "\t"
    encoding = dataset.config["encoding"] or "utf-8"
    if shards_of(dataset.config) is not None:
        raise ConfigValueError(
            f"{original} is in shards, and only text can be edited. Prepare it without --shards, or leave the key out "
            f"that asks for '{name}'."
        )
    frame = pd.read_csv(
        source / f"{original}.inter", sep=separator, dtype=str, keep_default_na=False, encoding=encoding
    )
    fields = {str(column).split(":")[0]: column for column in frame.columns}
    user, item = fields[dataset.uid_field], fields[dataset.iid_field]
    users, items = (dataset.field2id_token[field] for field in (dataset.uid_field, dataset.iid_field))
    gone = pd.MultiIndex.from_arrays([users[edits.removed[:, 0]], items[edits.removed[:, 1]]])
    kept = frame[~pd.MultiIndex.from_frame(frame[[user, item]]).isin(gone)]
    if (time := fields.get(dataset.time_field)) is not None:
        frame = frame.iloc[np.argsort(frame[time].astype(float), kind="stable")]
    first = frame.drop_duplicates(user).set_index(user, drop=False)
    added = first.loc[users[edits.added[:, 0]]].assign(**{item: items[edits.added[:, 1]]})

    settings = {key: dataset.config[key] for key in (*dataset.config.parameters["Dataset"], *_HOW_READ)}

    def fill(folder: Path) -> None:
        whole = pd.concat([added, kept], ignore_index=True)
        whole.to_csv(folder / f"{name}.inter", sep=separator, index=False, encoding=encoding, lineterminator="\n")
        heading = f"# recbole-aia run --dataset={name} --data_path={out} --config_files {out / name / name}.yaml\n"
        (folder / f"{name}.yaml").write_text(heading + to_yaml(plain(settings)), encoding="utf-8")
        for file in sorted(source.glob(f"{original}.*")):
            if file.suffix in (".user", ".item", ".link", ".kg"):
                shutil.copyfile(file, folder / f"{name}{file.suffix}")

    return write_dataset(out, name, fill)


def _keys(users: Any, items: Any, split: Any) -> IntArray:
    keys: IntArray = np.asarray(users, dtype=np.int64) * split.item_num + np.asarray(items, dtype=np.int64)
    return keys
