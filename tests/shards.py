"""Datasets as shards, for tests."""

from pathlib import Path

import pandas as pd
import recbole

from recbole_aia.data.shards import write_shards

ML_100K = Path(recbole.__file__).parent / "dataset_example" / "ml-100k" / "ml-100k.inter"


def as_shards(inter, folder, name, rows=7_000):
    """Writes an atomic file's interactions as the shards of ``folder/name``, in parts of some rows."""
    place = folder / name / f"{name}.shards"
    place.mkdir(parents=True)
    frame = pd.read_csv(inter, sep="\t", dtype={"user_id:token": str, "item_id:token": str})
    frame.columns = [column.split(":")[0] for column in frame.columns]
    (users, user_ids), (items, item_ids) = (pd.factorize(frame[name]) for name in ("user_id", "item_id"))
    # Numbers other than those of first appearance, as they are after a filter.
    users, items = len(user_ids) - 1 - users, len(item_ids) - 1 - items
    numbers = list(frame.columns[2:])
    parts = (
        (
            users[at : at + rows],
            items[at : at + rows],
            {each: frame[each].to_numpy()[at : at + rows] for each in numbers},
        )
        for at in range(0, len(frame), rows)
    )
    write_shards(place, len(frame), numbers, parts, user_ids[::-1], item_ids[::-1])
    return place
