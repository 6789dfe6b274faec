"""RecBole's dataset on shards: the same users, items, splits and batches, without text and with columns mapped."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from recbole.data.dataset import Dataset
from recbole.utils import FeatureSource, FeatureType

from recbole_aia.data.checked import CheckedDataset
from recbole_aia.data.mapped import MappedInteraction, split_groups
from recbole_aia.data.shards import ITEM, USER, Shards, shards_folder
from recbole_aia.errors import ConfigValueError


def shards_of(config: Any) -> Shards | None:
    """The shards of a configuration's dataset; ``None`` if it has none.

    Raises:
        AttributeDataError: there are some, and they are not whole.
        ConfigValueError: the configuration asks for what shards do not have.
    """
    folder, name = Path(config["data_path"]), config["dataset"]
    place = shards_folder(folder, name)
    if config["benchmark_filename"] or not place.is_dir():
        return None
    shards = Shards.opened(place)
    for key, field in (("USER_ID_FIELD", USER), ("ITEM_ID_FIELD", ITEM)):
        if config[key] != field:
            raise ConfigValueError(f"{key} is '{config[key]}', and shards have '{field}'. Leave {key} out.")
    for key in ("alias_of_user_id", "alias_of_item_id"):
        if config[key]:
            raise ConfigValueError(f"{key} is not for shards, as in '{place}'. Use atomic files.")
    return shards


class ShardedDataset(CheckedDataset):
    """RecBole's ``Dataset``, number for number, of interactions in shards.

    Columns stay mapped unless a setting changes them. A filter that drops an interaction copies the columns that are
    loaded, and so does a change of all numbers, such as ``normalize_all``.

    Args:
        config: the run's configuration.
        shards: the interactions.
    """

    inter_feat: Any  # a frame as created, and a MappedInteraction once it is built

    def __init__(self, config: Any, shards: Shards) -> None:
        self._tokens = {name: shards.tokens(name) for name in shards.ids}
        self._shards = shards
        shards.check_ids()
        super().__init__(config)

    def _load_inter_feat(self, token: str, dataset_path: str) -> None:
        load, unload = self._get_load_and_unload_col(FeatureSource.INTERACTION)
        loaded = [
            name for name in self._shards.columns if (load is None or name in load) and name not in (unload or ())
        ]
        for name in loaded:
            kind = FeatureType(self._shards.columns[name])
            self.set_field_property(name, kind, FeatureSource.INTERACTION, 1)
            if kind == FeatureType.FLOAT:
                self.field2bucketnum[name] = 2
        self.inter_feat = pd.DataFrame({name: self._shards.column(name) for name in loaded}, copy=False)

    def _load_user_or_item_feat(self, token: str, dataset_path: str, source: Any, field_name: str) -> Any:
        """See ``Dataset``; ids become numbers, further ones for users and items without interactions."""
        features = super()._load_user_or_item_feat(token, dataset_path, source, field_name)
        field = getattr(self, field_name)
        if features is not None:
            known = pd.Index(self._tokens[field])
            others = features[field][~features[field].isin(known) & features[field].notna()].to_numpy()
            self._tokens[field] = np.concatenate([self._tokens[field], others])
            features[field] = known.append(pd.Index(others)).get_indexer(features[field]) + 1
            features = features[features[field] > 0]
        return features

    def _filter_by_field_value(self) -> None:
        asked = self.config["val_interval"]
        numbers = {
            name: (pd.Index(self._tokens[name]).get_indexer(pd.Index(map(str, interval))) + 1).tolist()
            for name, interval in (asked or {}).items()
            if name in self._tokens
        }
        self.config["val_interval"] = asked and {**asked, **numbers}
        try:
            super()._filter_by_field_value()
        finally:
            self.config["val_interval"] = asked

    def _filter_inter_by_user_or_item(self) -> None:
        """See ``Dataset``, which copies all columns even if there is nothing to compare them with."""
        if self.user_feat is not None or self.item_feat is not None:
            super()._filter_inter_by_user_or_item()

    def _filter_by_inter_num(self) -> None:
        """See ``Dataset``, which counts in a dictionary even if all users and items stay."""
        if any(map(self._is_filtered, ("user", "item"))):
            super()._filter_by_inter_num()

    def _is_filtered(self, what: str) -> bool:
        interval = self._parse_intervals_str(self.config[f"{what}_inter_num_interval"])
        if interval is None or getattr(self, f"{what}_feat") is not None:
            return interval is not None
        counts = np.bincount(self.inter_feat[getattr(self, f"{what[0]}id_field")].to_numpy())
        return not self._within_intervals(counts[counts > 0], interval).all()

    def _remap(self, remap_list: list[Any]) -> None:
        """See ``Dataset``; ids that are those of RecBole already stay mapped."""
        field = remap_list[0][1] if remap_list else None
        if field not in self._tokens:
            super()._remap(remap_list)
            return
        ids = [feature[field].to_numpy() for feature, *_ in remap_list]
        order = pd.unique(ids[0] if len(ids) == 1 else np.concatenate(ids))
        if not np.array_equal(order, np.arange(1, len(order) + 1)):
            numbers = np.zeros(len(self._tokens[field]) + 1, dtype=np.int32)
            numbers[order] = np.arange(1, len(order) + 1)
            for (feature, *_), old in zip(remap_list, ids, strict=True):
                feature[field] = numbers[old]
        tokens = np.array(["[PAD]", *self._tokens[field][order - 1]])
        self.field2id_token[field] = tokens
        self.field2token_id[field] = {token: number for number, token in enumerate(tokens)}

    def _fill_nan(self) -> None:
        numbers = [name for name in self.inter_feat if self.field2type[name] == FeatureType.FLOAT]
        for name in numbers:
            if self.inter_feat[name].hasnans:
                self.inter_feat[name] = self.inter_feat[name].fillna(self.inter_feat[name].mean())
        self.feat_name_list.remove("inter_feat")
        super()._fill_nan()
        self.feat_name_list.insert(0, "inter_feat")

    def _change_feat_format(self) -> None:
        frame = self.inter_feat
        columns = {str(name): frame[name].to_numpy() for name in frame}
        for name, column in columns.items():
            if column.dtype.kind == "i" and self.field2type[name] == FeatureType.FLOAT:
                columns[name] = column.astype(np.float32)  # labels by threshold
        if any(column.dtype.kind not in "if" for column in columns.values()):  # lists, of numerical_features
            super()._change_feat_format()
            return
        self.feat_name_list.remove("inter_feat")
        super()._change_feat_format()
        self.feat_name_list.insert(0, "inter_feat")
        self.inter_feat = MappedInteraction(columns)

    def leave_one_out(self, group_by: str, leave_one_mode: str) -> list[Dataset]:
        """See ``Dataset.leave_one_out``."""
        if leave_one_mode != "valid_and_test" or not isinstance(self.inter_feat, MappedInteraction):
            return list(super().leave_one_out(group_by, leave_one_mode))
        return self._split(group_by, lambda sizes: [sizes - np.minimum(count, sizes - 1) for count in (2, 1)])

    def split_by_ratio(self, ratios: list[float], group_by: str | None = None) -> list[Dataset]:
        """See ``Dataset.split_by_ratio``."""
        shares = [ratio / sum(ratios) for ratio in ratios]
        if not isinstance(self.inter_feat, MappedInteraction):
            return list(super().split_by_ratio(ratios, group_by))
        if group_by is None:
            places = np.arange(len(self))
            self._drop_unused_col()
            ends = self._calcu_split_ids(tot=len(self), ratios=shares)
            return [self.copy(self.inter_feat.part(each)) for each in np.split(places, ends)]
        return self._split(group_by, lambda sizes: self._ends(sizes, shares))

    def _ends(self, sizes: np.ndarray, shares: list[float]) -> list[np.ndarray]:
        different, which = np.unique(sizes, return_inverse=True)
        ends = np.array([self._calcu_split_ids(tot=size, ratios=shares) for size in different.tolist()])
        return list(ends[which].T)

    def _split(self, field: str, bounds: Any) -> list[Dataset]:
        parts = split_groups(self.inter_feat[field].numpy(), bounds)
        self._drop_unused_col()
        return [self.copy(self.inter_feat.part(places)) for places in parts]

    @property
    def avg_actions_of_users(self) -> float:
        """Mean number of interactions of users who have some."""
        return self._mean_count(self.uid_field)

    @property
    def avg_actions_of_items(self) -> float:
        """Mean number of interactions of items that have some."""
        return self._mean_count(self.iid_field)

    def _mean_count(self, field: str) -> float:
        return float(len(self.inter_feat) / np.count_nonzero(np.bincount(np.asarray(self.inter_feat[field]))))

    def __deepcopy__(self, memo: dict[int, Any]) -> ShardedDataset:
        """A copy to split: the frame is another one of the same columns, as nothing writes into columns."""
        frame, result = self.inter_feat, copy.copy(self)
        if isinstance(frame, pd.DataFrame):
            memo[id(frame)] = frame.copy(deep=False)
        for shared in (self._shards, self._tokens):
            memo[id(shared)] = shared
        memo[id(self)] = result
        result.__dict__.update({name: copy.deepcopy(value, memo) for name, value in self.__dict__.items()})
        return result
