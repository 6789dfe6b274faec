"""RecBole's dataset with checks of what it would take as it comes: files, values, and splits without interactions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from recbole.data.dataset import Dataset
from recbole.utils import EvaluatorType, FeatureSource

from recbole_aia.data.atomic_text import atomic_header, check_lines, check_roles, refuse_texts
from recbole_aia.data.delimited import text_encoding
from recbole_aia.errors import AttributeDataError, ConfigValueError

_PARTS = ("training", "validation", "test")


class CheckedDataset(Dataset):  # type: ignore[misc]
    """RecBole's ``Dataset``, number for number, that refuses files of which it would misread a line."""

    def _load_feat(self, filepath: str, source: Any) -> Any:
        path, declared = Path(filepath), self.config["encoding"]
        if self._get_load_and_unload_col(source)[0] == set():
            return None
        atomic_header(path, self.config)
        check_lines(path, self.config)
        self.config["encoding"] = text_encoding(path, declared)
        try:
            features = super()._load_feat(filepath, source)
        except ValueError:
            refuse_texts(path, self.config)
            raise
        finally:
            self.config["encoding"] = declared
        if source == FeatureSource.INTERACTION and features is not None:
            _check_values(path, features, self)
        return features


def _check_values(path: Path, features: pd.DataFrame, dataset: Dataset) -> None:
    """Refuses interactions without an id or a time, infinite numbers, and ids that differ in blanks only."""
    for field in (dataset.uid_field, dataset.iid_field):
        missing = features[field].isna().to_numpy()
        if missing.any():
            raise AttributeDataError(
                f"{_lines(path, missing)} with no '{field}' (NA, nan, null and None count as missing). Remove them, or "
                "rename the id."
            )
        ids = pd.Series(features[field].unique())
        twins = ids[ids.str.strip().duplicated(keep=False)]
        if len(twins):
            same = features[field].isin(twins).to_numpy()
            raise AttributeDataError(f"{_lines(path, same)} whose '{field}' differ in blanks only. Remove the blanks.")
    for field in features.select_dtypes("float"):
        infinite = np.isinf(features[field].to_numpy())
        if infinite.any():
            raise AttributeDataError(f"{_lines(path, infinite)} with an infinite '{field}'. Mend or remove them.")
    if dataset.time_field in features:
        missing = features[dataset.time_field].isna().to_numpy()
        if missing.any():
            raise AttributeDataError(f"{_lines(path, missing)} with no '{dataset.time_field}'. Mend or remove them.")


def _lines(path: Path, wrong: np.ndarray) -> str:
    count = int(wrong.sum())
    return f"'{path}' has {count} line{'s' * (count > 1)} (the first: line {int(np.argmax(wrong)) + 2})"


def load_needed_columns(config: Any, path: Path, columns: Mapping[str, str]) -> None:
    """Adds the columns that a configuration needs to its ``load_col``, where a file or folder has them.

    RecBole's default loads users and items only, whatever ``eval_args`` and ``threshold`` need.

    Args:
        config: the run's configuration, which is changed.
        path: the file or folder, for messages.
        columns: the types of its columns by name.

    Raises:
        AttributeDataError: the file lacks a column of users or items.
        ConfigValueError: the file lacks another column that is needed, or ``unload_col`` hides it.
    """
    protocol, load_col = config["eval_args"], config["load_col"]
    loaded = list(columns) if load_col is None or load_col.get("inter", "*") == "*" else load_col["inter"]
    unloaded = (config["unload_col"] or {}).get("inter") or []
    check_roles(path, columns, config, (set(columns) - set(loaded)) | set(unloaded))
    needed = {}
    if not config["benchmark_filename"] and (protocol["order"] == "TO" or "TS" in protocol["split"]):
        needed[config["TIME_FIELD"]] = "eval_args.order TO. Set order: RO, or name TIME_FIELD"
    for field in config["threshold"] or ():
        needed[field] = "threshold"
    if "labeled" in protocol["mode"].values() and not config["threshold"]:
        needed[config["LABEL_FIELD"]] = "eval_args.mode labeled. Set threshold: {rating: 4}, say, or name LABEL_FIELD"
    for field, reader in needed.items():
        if field not in columns:
            raise ConfigValueError(f"'{path}' has no '{field}', which is needed by {reader}.")
        if field in unloaded:
            raise ConfigValueError(f"unload_col hides '{field}', which is needed by {reader}. Take it out.")
        if field not in loaded:
            loaded = [*loaded, field]
            config["load_col"] = {**load_col, "inter": loaded}


def check_dataset(config: Any, dataset: Dataset) -> None:
    """Refuses data that leave nothing to train on, to validate, to test or to rank.

    Raises:
        AttributeDataError: there is one item, or a part of the split is empty.
        ConfigValueError: ``topk`` or the sampled candidates need more items than there are.
    """
    name, n_items = config["dataset"], dataset.item_num - 1
    if n_items < 2:
        raise AttributeDataError(f"{name} has {n_items} item, so there is nothing to recommend. Check the filters.")
    if config["eval_type"] == EvaluatorType.RANKING and max(config["topk"]) > n_items:
        raise ConfigValueError(f"topk is {config['topk']}, and {name} has {n_items} items. Write smaller numbers.")
    users, items = (dataset.inter_feat[field].to_numpy() for field in (dataset.uid_field, dataset.iid_field))
    pairs = np.sort(users.astype(np.int64) * dataset.item_num + items)
    distinct = np.bincount(pairs[np.append(True, pairs[1:] != pairs[:-1])] // dataset.item_num)
    if (distinct[1:] >= n_items).all():
        raise AttributeDataError(f"all users of {name} have interacted with all {n_items} items. Add items.")
    sampled = [mode for mode in config["eval_args"]["mode"].values() if mode not in ("full", "labeled")]
    if sampled and (distinct >= n_items).any():
        raise ConfigValueError(
            f"eval_args.mode is {sampled[0]}, and some users of {name} ({int((distinct >= n_items).sum())}) have "
            f"interacted with all {n_items} items, so there is nothing to sample. Write mode: full."
        )
    if not config["benchmark_filename"]:
        _check_parts(config, dataset, np.bincount(users)[1:])


def _check_parts(config: Any, dataset: Dataset, counts: np.ndarray) -> None:
    """Refuses a split with an empty part; a split by time is seen when it is made."""
    ((way, asked),) = config["eval_args"]["split"].items()
    if way == "LS":
        sizes = [1, int((counts > 2).sum()), int((counts > 1).sum())]
    elif way == "RS":
        grouped = config["eval_args"]["group_by"] == "user"
        shares = [share / sum(asked) for share in asked]
        totals = set(counts.tolist()) - {0} if grouped else {int(counts.sum())}
        ends = [[0, *dataset._calcu_split_ids(tot=total, ratios=shares), total] for total in totals]
        sizes = np.diff(ends, axis=1).sum(axis=0).tolist()
    else:
        return
    refuse_empty(config, sizes)


def refuse_empty(config: Any, sizes: list[int]) -> None:
    """Raises :class:`AttributeDataError` if one of the three parts of a split has no interactions."""
    for part, size in zip(_PARTS, sizes, strict=True):
        if size == 0:
            raise AttributeDataError(
                f"the {part} part of {config['dataset']} is empty under eval_args.split {config['eval_args']['split']}."
                " Its users have too few interactions: choose another split, or filter users."
            )
