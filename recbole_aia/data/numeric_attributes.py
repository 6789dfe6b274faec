"""Numbers of users, such as ages, as the ``.user`` file has them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from recbole_aia.data.attributes import attribute_specs
from recbole_aia.data.user_files import read_user_file
from recbole_aia.errors import AttributeDataError


def load_numbers(config: Any, dataset: Any, name: str) -> Tensor:
    """Reads the numbers behind an attribute, before bins made classes of them.

    Args:
        config: a configuration whose ``attributes`` have ``name``.
        dataset: RecBole's dataset, which has the users' ids and the folder.
        name: the attribute.

    Returns:
        ``[n_users]``; NaN where a user has no number, or one outside the attribute's ``range``.

    Raises:
        AttributeDataError: the column has no numbers.
    """
    frame = read_user_file(Path(dataset.dataset_path) / f"{dataset.dataset_name}.user", config)
    (spec,) = (each for each in attribute_specs(config, list(frame.columns)) if each.name == name)
    frame = frame.drop_duplicates(config["USER_ID_FIELD"], keep="last")
    ids: Mapping[str, int] = dataset.field2token_id[dataset.uid_field]
    rows = frame[config["USER_ID_FIELD"]].map(ids).fillna(0).to_numpy(np.int64)
    numbers = pd.to_numeric(frame[spec.field], errors="coerce").to_numpy(np.float32)
    if spec.range is not None:
        numbers = np.where((numbers >= spec.range[0]) & (numbers <= spec.range[1]), numbers, np.nan)
    if not np.isfinite(numbers).any():
        raise AttributeDataError(f"the column '{spec.field}' of '{name}' holds no numbers. Leave it a class.")
    found = torch.full((dataset.user_num,), torch.nan)
    found[torch.from_numpy(rows[rows > 0])] = torch.from_numpy(numbers[rows > 0]).float()
    return found
