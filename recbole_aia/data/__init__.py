"""Attributes, labels and datasets."""

from recbole_aia.data.attributes import LabelTable, load_labels, read_labels
from recbole_aia.data.checked import check_dataset
from recbole_aia.data.dataset import (
    create_dataset,
    files_digest,
    interactions_by_user,
    interactions_digest,
    prepare_loaders,
)
from recbole_aia.data.numbering import Numbering, renumber, shuffle_users
from recbole_aia.data.numeric_attributes import load_numbers
from recbole_aia.data.specs import AttributeSpec
from recbole_aia.data.unseen import defense_labels, unseen_users

__all__ = [
    "AttributeSpec",
    "LabelTable",
    "Numbering",
    "check_dataset",
    "create_dataset",
    "defense_labels",
    "files_digest",
    "interactions_by_user",
    "interactions_digest",
    "load_labels",
    "load_numbers",
    "prepare_loaders",
    "read_labels",
    "renumber",
    "shuffle_users",
    "unseen_users",
]
