"""RecBole's configuration, read safely and extended by our property files.

Sources from weakest to strongest: RecBole's properties, our properties (overall, model, dataset, defense, preset),
config files, ``config_dict``, command line. Values given as text are parsed as YAML and never evaluated as code.
"""

from __future__ import annotations

import copy
import functools
import os
from collections.abc import Mapping, Sequence
from logging import getLogger
from pathlib import Path
from typing import Any

import yaml
from recbole.config import Config
from recbole.utils import EvaluatorType

from recbole_aia.config import registry
from recbole_aia.config.devices import find_device
from recbole_aia.config.hints import closest
from recbole_aia.config.keys import check_values
from recbole_aia.config.properties import check_preset, our_properties
from recbole_aia.config.recbole_checks import (
    check_device,
    check_recbole,
    is_key_of_a_model,
    sequential_without_negatives,
    takes_no_negatives,
)
from recbole_aia.config.recbole_keys import RECBOLE
from recbole_aia.config.text import SafeLoader, own_arguments, parse_arguments, parse_texts, parse_value, read_yaml
from recbole_aia.errors import ConfigValueError
from recbole_aia.launch import place

_SHORT = 6  # our keys of at most this many letters ("fast") are ordinary words, and no misspelling is sought for them
# Least likeness (difflib's ratio) of an unknown key to one of our keys that counts as a misspelling:
_LIKE = 0.8  # for any key
_LIKE_OURS = 0.5  # for a key with a prefix that only our keys have, such as "raid_"
_LIKE_RECBOLE = 0.9  # for a key that is like one of RecBole's or the model's
_LIKE_BEGINNING = 0.7  # for a key with which one of our keys begins, such as "holdout"


class AIAConfig(Config):  # type: ignore[misc]
    """RecBole's ``Config`` with our property files, safe parsing, and errors that say what to do.

    Args:
        model: model name or class; ``None`` takes it from the other sources.
        dataset: dataset name; ``None`` takes it from the other sources, or ml-100k, which comes with RecBole.
        config_file_list: YAML files; a later file wins.
        config_dict: values by key.
        argv: ``--key=value`` arguments; ``None`` takes them from the process's command line. Arguments of any other
            form there may belong to another program and are ignored, as RecBole does.

    Raises:
        ConfigValueError: a model, a defense or a value is unknown, or a key of ours is misspelt.
    """

    def __init__(
        self,
        model: Any = None,
        dataset: str | None = None,
        config_file_list: Sequence[str | Path] | None = None,
        config_dict: Mapping[str, Any] | None = None,
        argv: Sequence[str] | None = None,
    ) -> None:
        self._argv = own_arguments() if argv is None else list(argv)
        try:
            super().__init__(model, dataset, config_file_list, dict(config_dict or {}))
        except ConfigValueError:
            raise
        except (AttributeError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            raise ConfigValueError(str(error.args[0] if error.args else error)) from error
        _normalize(self)
        self._refuse_unread_keys()
        self._check_metrics()
        self._refuse_mixed_precision()
        if (said := check_device(self, self.cmd_config_dict)) is not None:
            getLogger().warning(f"recbole-aia: {said}")

    def _build_yaml_loader(self) -> type[yaml.SafeLoader]:
        return SafeLoader

    def _load_config_files(self, file_list: Sequence[str | Path] | None) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for file in file_list or []:
            merged.update(read_yaml(Path(file)))
        return merged

    def _convert_config_dict(self, config_dict: dict[str, Any]) -> dict[str, Any]:
        return parse_texts(config_dict)

    def _load_cmd_line(self) -> dict[str, Any]:
        return parse_arguments(self._argv)

    def _get_model_and_dataset(self, model: Any, dataset: str | None) -> tuple[str, Any, str]:
        external = self.external_config_dict
        if model is None and external.get("model") is None:
            raise ConfigValueError("no model is given. Write --model=LightGCN, for example.")
        if dataset is None:
            external.setdefault("dataset", "ml-100k")
        RECBOLE["dataset"].check("dataset", external["dataset"] if dataset is None else dataset)
        name = model if model is not None else external["model"]
        try:
            found: tuple[str, Any, str] = super()._get_model_and_dataset(model, dataset)
        except (AttributeError, ImportError, ValueError) as error:  # ImportError: from RecBole's search
            offered = registry.models()
            if name in offered:
                return name, offered[name], external["dataset"] if dataset is None else dataset
            raise ConfigValueError(
                f"RecBole has no model '{name}'. Models with a user embedding view are "
                f"{', '.join(sorted(offered))}; names are case-sensitive."
            ) from error
        return found

    def _load_internal_config_dict(self, model: str, model_class: Any, dataset: str) -> None:
        super()._load_internal_config_dict(model, model_class, dataset)
        external = self.external_config_dict
        defense, preset = external.get("defense", "none"), external.get("preset", "default")
        registry.defense_class(defense)
        check_preset(defense, preset)
        protocol = str(external.get("protocol", "default"))
        self.internal_config_dict |= our_properties(model, dataset, defense, preset, protocol)
        self._refuse_misspelt_keys()
        if takes_no_negatives(external.get("train_neg_sample_args")):
            external["train_neg_sample_args"] = None  # RecBole writes "none", and does not read it
        if sequential_without_negatives(self.internal_config_dict | external):
            self.internal_config_dict["train_neg_sample_args"] = None  # RecBole's default here refuses itself
        check_recbole(self.internal_config_dict | external, external, self.internal_config_dict)
        self.parameters["Attribute inference"] = list(registry.known_keys())

    def _init_device(self) -> None:
        """Chooses where to compute: the key ``device``, or else ``gpu_id`` and ``use_gpu``.

        RecBole writes ``gpu_id`` over CUDA_VISIBLE_DEVICES, its default 0 too, and so undoes what a scheduler has set.
        Here 0 is the first GPU that this process may see.
        """
        values = self.final_config_dict
        if "local_rank" in values:  # one of several processes
            super()._init_device()
            return
        gpu_id, wanted = values["gpu_id"], str(values.get("device", "auto"))
        ids = gpu_id if isinstance(gpu_id, tuple | list) else [] if gpu_id in (None, "None") else [gpu_id]
        values["gpu_id"] = ",".join(map(str, ids))
        if values["gpu_id"] not in ("", "0"):
            os.environ["CUDA_VISIBLE_DEVICES"] = values["gpu_id"]
        if wanted == "auto" and not (values["gpu_id"] and values["use_gpu"]):
            wanted = "cpu"
        # RecBole is to take each of several processes for the only one; see ParallelTrainer.
        values |= {"single_spec": True, "local_rank": 0, "device": find_device(wanted, place())}
        if place().rank:  # the first process speaks for all
            values |= {"show_progress": False, "log_wandb": False, "state": "critical"}
            getLogger().setLevel("CRITICAL")
        if values["device"].type == "cuda" and values["reproducibility"]:
            # Without it cuBLAS may add up in another order from run to run. It reads this when it starts.
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

    def _update_internal_config_dict(self, file: str) -> dict[str, Any]:
        values = copy.deepcopy(_property_file(file))
        self.internal_config_dict.update(values)
        return values

    def _refuse_misspelt_keys(self) -> None:
        ours = registry.known_keys().keys()
        known = set(self.internal_config_dict) | {k for keys in self.parameters.values() for k in keys}
        for key in self.external_config_dict.keys() - known - {"model", "dataset"} - ours:
            if (hint := misspelt(key)) is not None:
                raise ConfigValueError(f"there is no key '{key}'.{hint}")
            # A model of somebody else can have any key, such as embedding_size_2.
            meant = closest(key, known, _LIKE_RECBOLE)
            if meant and not key[-1:].isdigit() and not is_key_of_a_model(key):
                raise ConfigValueError(f"there is no key '{key}'. Did you mean '{meant}'?")

    def _refuse_unread_keys(self) -> None:
        """Refuses a key on the command line that the defense does not read; warns of such a key in other sources.

        Whoever types a key expects it to count. A config file may serve several defenses.
        """
        typed = unread_keys(self["defense"], self["stage"], self.cmd_config_dict)
        for said in typed.values():
            raise ConfigValueError(f"{said} Leave it out.")
        unread = unread_keys(self["defense"], self["stage"], self.external_config_dict, defaults_too=False)
        for said in unread.values():
            getLogger().warning(f"recbole-aia: {said}")
        #: A sentence for each given key that has no effect.
        self.unread = list(unread.values())

    def _refuse_mixed_precision(self) -> None:
        """Refuses RecBole's mixed precision in a defended training."""
        defended = self["defense"] != "none" and registry.defense_class(self["defense"], self["stage"]).stage == "in"
        if self["enable_amp"] and defended:
            raise ConfigValueError(
                f"enable_amp is True, and {self['defense']} compares users in single precision while they are trained. "
                "Leave enable_amp out, or defend after training (--stage=post) where that is offered."
            )

    def _check_metrics(self) -> None:
        """Refuses a validation metric that is not computed, and candidates that do not suit the metrics."""
        ranks = self["eval_type"] == EvaluatorType.RANKING
        if ranks and "labeled" in self["eval_args"]["mode"].values():
            raise ConfigValueError(
                f"eval_args.mode is labeled, which ranks no items for {', '.join(self['metrics'])}. Write mode: full, "
                "or choose metrics of labels: --metrics=[AUC,LogLoss] --valid_metric=AUC."
            )
        offered = [f"{metric}@{k}" for metric in self["metrics"] for k in self["topk"]] if ranks else self["metrics"]
        if str(self["valid_metric"]).lower() not in [name.lower() for name in offered]:
            raise ConfigValueError(
                f"valid_metric is {self['valid_metric']}, which is not computed. Choose one of {', '.join(offered)}, "
                "or change metrics and topk."
            )


@functools.cache
def _property_file(file: str) -> dict[str, Any]:
    """One of RecBole's property files; each is parsed once a process, because parsing takes most of the time."""
    values: dict[str, Any] | None = yaml.load(Path(file).read_text(encoding="utf-8"), Loader=SafeLoader)
    return values or {}


def misspelt(key: str) -> str | None:
    """The end of the error message for an unknown key; ``None`` if the key may be a model's own.

    A key with the prefix of a defense's or an attack's keys, such as ``raid_``, can only mean one of ours. A key such
    as ``select_k``, which continues our key ``select``, counts as a model's own.
    """
    ours = registry.known_keys()
    begins = key.startswith(tuple(registry.beginnings()))
    continues = [name for name in ours if name.startswith(f"{key}_")]
    if begins:
        meant = closest(key, ours, _LIKE_OURS)
    elif len(continues) == 1:
        meant = closest(key, continues, _LIKE_BEGINNING)
    else:
        longer = (name for name in ours if len(name) > _SHORT and not key.startswith(f"{name}_"))
        meant = closest(key, longer, _LIKE)
    if meant:
        return f" Did you mean '{meant}'?"
    return " See recbole-aia run --help." if begins else None


def _normalize(config: Config) -> None:
    """Brings the values of our keys into the form that the rest of the package reads, and checks them."""
    if isinstance(config["attributes"], str):
        parsed = parse_value(config["attributes"])
        config["attributes"] = [parsed] if isinstance(parsed, str) else parsed
    for key in ("output_dir", "init_checkpoint"):
        if isinstance(config[key], os.PathLike):
            config[key] = os.fspath(config[key])
    keys = registry.known_keys()
    check_values({key: config[key] for key in keys if key in config}, keys)


def unread_keys(
    defense: str, stage: str | None, values: Mapping[str, Any], *, defaults_too: bool = True
) -> dict[str, str]:
    """A sentence for each key among ``values`` that other defenses read and this one does not.

    Args:
        defense: the defense's name.
        stage: its stage; ``None`` for its own.
        values: what is given, by key.
        defaults_too: whether keys are named whose value is a default. A run's ``config.yaml`` lists all keys with
            their values, and a default changes nothing.
    """
    chosen, every = registry.defense_class(defense, stage), registry.defense_keys()
    own = registry.keys_of(chosen).keys()
    said = {}
    for key in sorted(values.keys() & every.keys() - own):
        if defaults_too or values[key] not in registry.defaults_of(key):
            there = f"{defense} at stage {chosen.stage}" if len(registry.defenses()[defense]) > 1 else defense
            who = ", ".join(registry.readers(key))
            said[key] = f"{key} is {values[key]!r}, and --defense={there} does not read it: {who} would."
    return said


def with_our_defaults(config: Any, defense: str) -> Any:
    """Completes a plain RecBole ``Config`` in place with our keys, so that our trainers run in any project.

    Only our keys that the project has not set are added. Its own settings stay.

    Raises:
        ConfigValueError: a key of ours has a value that is not allowed.
    """
    if isinstance(config, AIAConfig):
        return config
    preset = config["preset"] or "default"
    check_preset(defense, preset)
    known = {*config.internal_config_dict, *(key for keys in config.parameters.values() for key in keys)}
    for key in config.external_config_dict.keys() - known - registry.known_keys().keys():
        if (hint := misspelt(key)) is not None:
            raise ConfigValueError(f"there is no key '{key}'.{hint}")
    own = our_properties(config["model"], config["dataset"], defense, preset)
    for key in own.keys() & registry.known_keys().keys():
        if key not in config:
            config[key] = own[key]
    _normalize(config)
    return config
