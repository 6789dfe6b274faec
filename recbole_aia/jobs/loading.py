"""Brings a trained model back from its checkpoint, and gives the views that an attacker sees of it."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from recbole.utils import init_seed
from torch import nn

from recbole_aia.config.aia_config import AIAConfig
from recbole_aia.config.run_keys import REFERENCES
from recbole_aia.config.text import parse_arguments, read_yaml, to_yaml
from recbole_aia.config.types import FloatArray
from recbole_aia.jobs.matching import refuse_contradictions, trained_data
from recbole_aia.model import UserEmbeddingView, build_model, restore, view_class
from recbole_aia.model.exposures import (
    OF_VECTORS,
    expose,
    interaction_matrix,
    needs_model,
    ranked_items,
    run_exposures,
    vector_exposures,
)
from recbole_aia.storage.checkpoints import checkpoint_file, read_state, saved_values
from recbole_aia.storage.run_folder import kept_values
from recbole_aia.trainer import Trained


class LoadedRun(NamedTuple):
    """A run that has been brought back.

    Attributes:
        config: the run's configuration.
        dataset: the dataset with all interactions, numbered as it was trained on; copy it before splitting.
        model: the trained model, in evaluation mode; ``model.unlearned`` records what was unlearnt in it.
        training: the dataset of the training split.
    """

    config: AIAConfig
    dataset: Any
    model: nn.Module
    training: Any

    def predictions(self, k: int = 10, *, masked: bool = True) -> Predictions:
        """The items that the model recommends to every user.

        Args:
            k: number of items in a list, >= 1.
            masked: whether a user's training items are left out. The gaps that they leave give attributes away, which
                no defense of the vectors changes; see ``docs/privacy_officer.md``.

        Raises:
            AttributeDataError: the model's scores are not finite.
        """
        seen = interaction_matrix(self.training)
        items, scores = ranked_items(UserEmbeddingView(self.model), seen if masked else sp.csr_matrix(seen.shape), k)
        names = self.dataset.field2id_token
        users = np.asarray(names[self.dataset.uid_field][1:], dtype=np.str_)
        tokens = np.asarray(names[self.dataset.iid_field][1:], dtype=np.str_)[items]
        return Predictions(users, np.where(np.isfinite(scores), tokens, ""), scores)


class Predictions(NamedTuple):
    """Recommendation lists of all users, best first.

    Attributes:
        users: original ids, ``[n]``.
        items: original ids, ``[n, k]``; empty texts after the last item that can be recommended.
        scores: logits, ``[n, k]``; ``-inf`` for empty items.
    """

    users: NDArray[np.str_]
    items: NDArray[np.str_]
    scores: FloatArray


def load_run(
    path: str | Path,
    *,
    trust_checkpoint: bool = False,
    config_file_list: Sequence[str | Path] = (),
    argv: Sequence[str] = (),
) -> LoadedRun:
    """Brings back the configuration, the dataset and the model of a run.

    Args:
        path: a run's folder, or a checkpoint of recbole-aia; with ``trust_checkpoint`` also a checkpoint of RecBole.
        trust_checkpoint: whether the checkpoint may hold pickled objects. Loading these can run any code.
        config_file_list: YAML files that win over the configuration in the checkpoint, for example if data have moved.
        argv: ``--key=value`` arguments that win over both.

    Raises:
        CheckpointError: the checkpoint cannot be read, is not trusted, does not fit its configuration, or was trained
            on other data.
        ConfigValueError: a file or an argument contradicts what the checkpoint was trained with.
        AIAError: the dataset is missing, or the model has no view.
    """
    path = checkpoint_file(Path(path))
    state = read_state(path, trust_checkpoint)
    return bring_back(state, path, saved_config(state, path, config_file_list, argv))


def saved_config(
    state: Mapping[str, Any],
    path: Path,
    config_file_list: Sequence[str | Path] = (),
    argv: Sequence[str] = (),
    without: Collection[str] = (),
) -> AIAConfig:
    """The configuration in a checkpoint, except for the keys ``without``; see :func:`load_run`."""
    saved = saved_values(state, path)
    values = {key: value for key, value in kept_values(saved).items() if key not in without}
    with tempfile.TemporaryDirectory() as folder:
        # The values go through a file, because texts in a config_dict are parsed, and a tab as a separator would get
        # lost.
        file = Path(folder) / "config.yaml"
        file.write_text(to_yaml(values), encoding="utf-8")
        config = AIAConfig(config_file_list=[file, *config_file_list], argv=argv)
    given = {*parse_arguments(argv), *(key for each in config_file_list for key in read_yaml(Path(each)))}
    refuse_contradictions(given - set(without), config, saved, path)
    return config


def bring_back(state: Mapping[str, Any], path: Path, config: AIAConfig, same_data: bool = False) -> LoadedRun:
    """The run of a checkpoint ``state`` under a configuration; see :func:`load_run` and :func:`trained_data`."""
    view_class(config.model_class)
    dataset = trained_data(config, state, path, same_data)
    # The split takes the run's own seed. A seed that is given for the attack would split the data differently.
    training = training_split(config, dataset, saved_values(state, path).get("seed", config["seed"]))
    return LoadedRun(config, dataset, restored_model(config, training, state, path), training)


def training_split(config: Any, dataset: Any, seed: int) -> Any:
    """The training split that a run was trained on.

    Args:
        config: the run's configuration.
        dataset: the dataset as created; it is copied, because splitting changes it.
        seed: the seed of the training.
    """
    init_seed(seed, config["reproducibility"])
    return copy.deepcopy(dataset).build()[0]


def restored_model(config: Any, training: Any, state: Mapping[str, Any], path: Path) -> nn.Module:
    """The model of a checkpoint, in evaluation mode.

    Args:
        config: the checkpoint's configuration.
        training: the training split.
        state: the content of the checkpoint.
        path: the checkpoint's file, for messages.

    Raises:
        CheckpointError: the checkpoint does not fit the configuration.
    """
    model = build_model(config, training)
    restore(model, state, path)
    return model.eval()


def attacked_views(
    config: Any, now: Trained, model: Callable[[], tuple[nn.Module, Any]], *, references: bool
) -> tuple[dict[str, FloatArray], list[str]]:
    """What is attacked of a model by the key ``attack_views``; see :func:`exposures`.

    Args:
        config: the model's configuration.
        now: the model's vectors.
        model: gives the model and the dataset of its training split.
        references: whether views are among it that are the same before and after a defense.
    """
    asked = run_exposures(config["attack_views"], config["defense"])
    names = [name for name in asked if references or name not in REFERENCES]
    return exposures(names, config, now.served.numpy(), None if now.table is None else now.table.numpy(), model)


def exposures(
    names: Sequence[str],
    config: Any,
    served: FloatArray,
    table: FloatArray | None,
    model: Callable[[], tuple[nn.Module, Any]],
) -> tuple[dict[str, FloatArray], list[str]]:
    """The views of all users that an attacker sees, by name, and notes on them.

    Recommendation lists have the largest length in ``topk``.

    Args:
        names: names from :data:`~recbole_aia.config.run_keys.VIEWS`.
        config: the model's configuration.
        served: the vectors that produce the scores, ``[n, d]``.
        table: the raw parameters, ``[n, d']``; ``None`` if there are none.
        model: returns the model and its training split; called only if a view needs more than vectors.
    """
    views, notes = vector_exposures(names, served, table)
    if needs_model(names):
        built, training = model()
        for name in names:
            if name not in OF_VECTORS:
                views[name] = expose(name, built, training, k=max(config["topk"]), seed=config["seed"])
    return views, notes
