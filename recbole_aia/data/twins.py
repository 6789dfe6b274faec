"""Synthetic twins of published datasets: as many users, items and interactions, and classes of the same sizes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path

from recbole_aia.config.text import to_yaml
from recbole_aia.data.synthetic import NAME, Planted, SyntheticData, generate, write
from recbole_aia.errors import ConfigValueError

_LEAST_USERS = 20  # below this no class has enough users to be attacked


@dataclass(frozen=True)
class Shape:
    """The sizes of a dataset, after the preparation of the paper that prints them.

    Attributes:
        users: number of users.
        items: number of items.
        interactions: number of different pairs of user and item.
        attributes: with the sizes of their classes; equal weights of 1 where the sizes are not known.
        source: where the numbers are from.
        fewest: interactions that each user has at least, by that preparation.
    """

    users: int
    items: int
    interactions: int
    attributes: tuple[Planted, ...]
    source: str
    fewest: int = 5

    def scaled(self, scale: float) -> Shape:
        """A smaller shape: a share of the users, the root of it of the items, and as many interactions for each user.

        Items shrink less, so that there are enough of them for the same interactions.

        Args:
            scale: in (0, 1].

        Raises:
            ConfigValueError: it is outside its range, or leaves too few users.
        """
        if not 0.0 < scale <= 1.0:
            raise ConfigValueError(f"scale is {scale}. It must be above 0 and at most 1.")
        users, items = round(scale * self.users), round(sqrt(scale) * self.items)
        if users < _LEAST_USERS:
            least = _LEAST_USERS / self.users
            raise ConfigValueError(f"scale is {scale}, which leaves {users} users. It must be at least {least:.2g}.")
        return replace(self, users=users, items=items, interactions=round(scale * self.interactions))


def unknown(name: str, *classes: str) -> Planted:
    """An attribute whose classes are named, and whose sizes nobody prints: they are taken as equal."""
    return Planted(name, classes, (1,) * len(classes))


def is_known(attribute: Planted) -> bool:
    """Whether the sizes of an attribute's classes are from a source, and not taken as equal."""
    return set(attribute.weights) != {1}


_AGES = ("<35", "35-45", ">45")  # RAID's classes, appendix B.1
_RAID = "RAID, table 1"

#: Shapes by the name of the dataset. Sizes of classes are counts of users, those of modcloth counts of rows.
SHAPES = {
    "ml-100k": Shape(
        943,
        1682,
        100_000,
        (Planted("gender", ("F", "M"), (273, 670)), Planted("age", _AGES, (544, 209, 190))),
        "counted in the dataset",
        fewest=20,
    ),
    "ml-1m": Shape(
        6040,
        3416,
        999_611,
        # The dataset's codes stand for ages of 35 to 44 and of 45 to 49, so that no class is of 35 to 45.
        (Planted("gender", ("F", "M"), (1709, 4331)), Planted("age", ("<35", "35-44", "45+"), (3421, 1193, 1426))),
        f"{_RAID}; sizes of classes, and the fewest interactions, counted in the dataset",
        fewest=18,
    ),
    "lfm-2b": Shape(
        19_972,
        99_639,
        2_829_503,
        (Planted("gender", ("f", "m"), (4415, 15_557)), unknown("age", *_AGES)),
        f"{_RAID}; genders as in the published subset of 19,972 users",
    ),
    "kuaisar": Shape(
        21_852,
        140_367,
        2_166_893,
        (unknown("feat1", *"1234567"), unknown("feat2", *"12")),
        _RAID,
    ),
    "lastfm-360k": Shape(
        130_046,
        11_835,
        6_450_050,
        (unknown("gender", "f", "m"), unknown("age", *_AGES)),
        _RAID,
        fewest=45,
    ),
    "modcloth": Shape(
        44_783,
        1020,
        99_893,
        (Planted("body_shape", ("Small", "Large"), (73_161, 18_365)),),
        "the raw table of marketBias, before any filter; sizes of classes in rows",
        fewest=1,
    ),
}


def twin(
    name: str, *, scale: float = 1.0, leak: float = 1.0, seed: int = 0, folder: Path | None = None
) -> SyntheticData:
    """Generates the twin of a dataset; see :func:`~recbole_aia.data.synthetic.generate`.

    Args:
        name: one of :data:`SHAPES`.
        scale: see :meth:`Shape.scaled`.
        leak: how far apart the tastes of classes are. That of the real data is not known.
        seed: of the random numbers.
        folder: an empty one for interactions that memory shall not hold.

    Raises:
        ConfigValueError: a number is outside its range.
    """
    shape = SHAPES[name].scaled(scale)
    sizes = shape.users, shape.items, shape.interactions
    return generate(*sizes, leak=leak, seed=seed, attributes=shape.attributes, fewest=shape.fewest, folder=folder)


def write_twin(name: str, data: SyntheticData, folder: Path, *, shards: bool = False) -> Path:
    """Writes a twin as the dataset ``synthetic-name``, with the settings to read it in ``synthetic-name.yaml``.

    Args:
        name: one of :data:`SHAPES`.
        data: the twin.
        folder: the folder of datasets.
        shards: see :func:`~recbole_aia.data.synthetic.write`.

    Returns:
        The file of settings, for ``--config_files``.

    Raises:
        ConfigValueError: the folder holds something else under this name, or cannot be written to.
    """
    called = f"{NAME}-{name}"
    file = folder / called / f"{called}.yaml"
    settings = {
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "eval_args": {"split": {"LS": "valid_and_test"}, "group_by": "user", "order": "TO", "mode": "full"},
        "attributes": [each.name for each in data.attributes],
        "attribute_specs": {each.name: {"field": each.name, "classes": list(each.classes)} for each in data.attributes},
    }
    heading = f"# recbole-aia run --dataset={called} --data_path={folder} --config_files {file}\n"
    write(data, folder, called, heading + to_yaml(settings), shards=shards)
    return file
