"""Defenses before training: they edit the interactions, and the model is then trained as if it had no defense."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp
from recbole.trainer import Trainer

from recbole_aia.config import keys
from recbole_aia.config.keys import Choice, Count, Key, Share
from recbole_aia.config.types import IntArray
from recbole_aia.data import defense_labels
from recbole_aia.data.edits import Edits, edited_loader, profiles_of, write_edited
from recbole_aia.data.obfuscation import Tells, additions, balancing_counts, removals, telling_items
from recbole_aia.errors import UnsupportedModelError
from recbole_aia.model import view_class
from recbole_aia.storage.checkpoints import load_checkpoint
from recbole_aia.trainer.base import DefenseTrainer
from recbole_aia.trainer.defended_keys import DEFENDED_KEYS

_NONE = np.empty((0, 2), dtype=np.int64)


def _out_key(example: str) -> Key:
    return keys.Path(
        None,
        f"A folder of datasets, in which the edited set is written as RecBole's atomic files ({example}). ~: nowhere.",
    )


class EditingTrainer(DefenseTrainer):
    """Base of defenses that edit training interactions, of users with a label.

    Only training interactions change: validation and test, and the items that are left out of a user's list, are those
    of the original data, as if the user's device had kept them. The whole training is defended, so the state with the
    best validation score is kept, as without a defense.

    A model that computes users from interactions (LightGCN, NGCF, DMF, MultiVAE) is refused: its checkpoint would need
    the edited interactions to give the same users again. Write the edited set, and train such a model on it.
    """

    shared_keys: ClassVar[Mapping[str, Key]] = DEFENDED_KEYS

    @classmethod
    def check(cls, config: Any, attributes: Sequence[str]) -> None:
        """See :meth:`DefenseTrainer.check`.

        Raises:
            UnsupportedModelError: the model computes users from interactions.
        """
        _refuse_computed_users(cls.defense, config.model_class)

    @abstractmethod
    def edits(self, profiles: sp.csr_matrix, labels: IntArray) -> Edits:
        """What changes.

        Args:
            profiles: users and their training items, ones, ``[n_users, n_items]`` with the padding ones.
            labels: ``[n_users, A]``; -1 for no label, and for the padding user.
        """

    def fit(
        self,
        train_data: Any,
        valid_data: Any = None,
        verbose: bool = True,
        saved: bool = True,
        show_progress: bool = False,
        callback_fn: Callable[[int, float], None] | None = None,
    ) -> tuple[float, dict[str, float] | None]:
        """Edits the interactions and trains on them; see ``recbole.trainer.Trainer.fit``."""
        _refuse_computed_users(self.defense, type(self.model))
        self.labels = defense_labels(self.config, train_data.dataset)
        self.note_names(train_data.dataset)
        profiles = profiles_of(train_data.dataset)
        edits = self.edits(profiles, self.labels.labels.numpy())
        touched = np.unique(np.concatenate([edits.added[:, 0], edits.removed[:, 0]]))
        self.logger.info(
            f"{self.defense}: {len(edits.added)} interactions added and {len(edits.removed)} removed, of "
            f"{int(profiles.nnz)}; {len(touched)} users"
        )
        if (out := self.config[f"{self.defense}_out"]) is not None:
            name = f"{train_data.dataset.dataset_name}-{self.edited_name}"
            place = write_edited(Path(out), name, train_data.dataset, edits)
            self.logger.info(f"{self.defense}: the edited set is in {place}")
        loader = edited_loader(self.config, train_data, edits)
        self.go_on(self.last_snapshot(loader, valid_data))
        result: tuple[float, dict[str, float] | None]
        result = Trainer.fit(self, loader, valid_data, verbose, saved, show_progress, callback_fn)
        if saved and valid_data:
            self.model.load_state_dict(load_checkpoint(self.saved_model_file)["state_dict"])
        return result

    @property
    def edited_name(self) -> str:
        """What is appended to the dataset's name in the files of the edited set."""
        return self.defense

    def tells(self, profiles: sp.csr_matrix, labels: IntArray, folds: int) -> Tells:
        """What items say of each attribute, by column of ``labels``."""
        seed = int(self.config["seed"])
        return {a: telling_items(profiles, labels[:, a], folds, seed) for a in range(labels.shape[1])}


class BlurMeTrainer(EditingTrainer):
    """BlurMe (Weinsberg et al. 2012): profiles get items that speak for the opposite class, before training.

    Logistic regressions on profiles tell which items speak for which class. A user with a label gets unseen items that
    speak against the user's classes, ``blurme_share`` of the profile's length. With several attributes, an item counts
    by its sum over them.

    The variant ``blurmore`` (Strucks et al. 2019) lets an item's popularity at most double, and takes as many
    interactions out of long profiles as it has added, those first that speak for the user's classes. The variant
    ``perblur`` (Slokom et al. 2021) adds items that a tenth of the user's nearest neighbors have. Its second step, the
    removal of telling items, is ``blurmore``'s here.

    Nothing is guaranteed. The published tests train attackers on clean profiles; ours learn from the users as trained
    on obfuscated ones.
    """

    defense = "blurme"
    resumable = True
    search: ClassVar[Mapping[str, Any]] = {"blurme_share": {"low": 0.01, "high": 0.5, "log": True}}
    keys: ClassVar[Mapping[str, Key]] = {
        "blurme_variant": Choice(
            "blurme",
            "blurme: any item of the opposite class; blurmore: popularity at most doubles, and as many go from long "
            "profiles; perblur: items of the user's neighbors.",
            choices=("blurme", "blurmore", "perblur"),
        ),
        "blurme_share": Share(0.1, "Items added to a user, as a share of the user's own; published: 0.01 to 0.1."),
        "blurme_choose": Choice(
            "greedy",
            "greedy: the items that speak loudest; sampled: by how loud; random: any of the opposite class.",
            choices=("greedy", "sampled", "random"),
        ),
        "blurme_folds": Count(10, "Logistic regressions over which ranks of items are averaged.", low=2),
        "blurme_neighbors": Count(30, "For perblur: nearest users; published: 30 to 50.", low=1),
        "blurme_out": _out_key("ml-100k-blurme, say"),
    }
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"blurme_share": 0.1, "blurme_choose": "greedy", "blurme_folds": 10, "blurme_neighbors": 30}
    }

    @property
    def edited_name(self) -> str:
        """See :attr:`EditingTrainer.edited_name`: the variant."""
        return str(self.config["blurme_variant"])

    def edits(self, profiles: sp.csr_matrix, labels: IntArray) -> Edits:
        """See :meth:`EditingTrainer.edits`."""
        config, seed = self.config, int(self.config["seed"])
        variant, tells = config["blurme_variant"], self.tells(profiles, labels, config["blurme_folds"])
        added = additions(
            profiles,
            labels,
            tells,
            config["blurme_share"],
            config["blurme_choose"],
            most_popular=2.0 if variant == "blurmore" else None,
            neighbors=config["blurme_neighbors"] if variant == "perblur" else None,
            seed=seed,
        )
        if variant != "blurmore":
            return Edits(added, _NONE)
        labelled = sp.diags((labels >= 0).any(1).astype(float)) @ profiles
        counts = balancing_counts(sp.csr_matrix(labelled), len(added))
        return Edits(added, removals(profiles, labels, tells, counts, seed))


class RecordTrainer(EditingTrainer):
    """Record unlearning: training without the interactions that tell most of a user's classes, or without random ones.

    What is left still tells the attribute. This is the comparison that shows it, and not a protection.
    """

    defense = "record"
    resumable = True
    search: ClassVar[Mapping[str, Any]] = {"record_share": {"low": 0.01, "high": 0.5, "log": True}}
    keys: ClassVar[Mapping[str, Key]] = {
        "record_choice": Choice(
            "telling",
            "telling: the interactions that speak loudest for the user's classes; random: any.",
            choices=("telling", "random"),
        ),
        "record_share": Share(0.1, "Share of a user's interactions that go; one always stays."),
        "record_folds": Count(10, "Logistic regressions over which ranks of items are averaged.", low=2),
        "record_out": _out_key("ml-100k-record"),
    }

    def edits(self, profiles: sp.csr_matrix, labels: IntArray) -> Edits:
        """See :meth:`EditingTrainer.edits`."""
        counts = np.rint(self.config["record_share"] * np.diff(profiles.indptr)).astype(np.int64)
        counts[(labels < 0).all(1)] = 0
        telling = self.config["record_choice"] == "telling"
        tells = self.tells(profiles, labels, self.config["record_folds"]) if telling else None
        return Edits(_NONE, removals(profiles, labels, tells, counts, int(self.config["seed"])))


def _refuse_computed_users(defense: str, model: type[Any]) -> None:
    if "released" in view_class(model).targets:
        raise UnsupportedModelError(
            f"{defense} edits the interactions from which {model.__name__} computes its users, and a checkpoint does "
            f"not hold them. Write the edited set with --model=BPR --{defense}_out=FOLDER, and train {model.__name__} "
            "on it."
        )
