"""RecBole's configuration, read safely and extended by our property files.

Precedence, weakest first: RecBole's properties, ours (overall, model, dataset, defense, preset), config
files, ``config_dict``, command line. Values given as text are parsed as YAML and never evaluated.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from recbole.config import Config

from recbole_aia.errors import ConfigValueError
from recbole_aia.keys import KEYS, check_values
from recbole_aia.text import SafeLoader, own_arguments, parse_arguments, parse_texts, parse_value, read_yaml

_COMMON_WORDS = {"fast", "multi", "select", "stage", "target"}

#: Keys of RecBole and ours that change how a run is shown, stored or placed, and not its numbers.
PRESENTATION_KEYS = {
    "checkpoint_dir", "show_progress", "state", "log_wandb", "wandb_project", "gpu_id", "use_gpu", "device",
    "save_dataset", "save_dataloaders", "dataset_save_path", "dataloaders_save_path", "config_files", "data_path",
    "output_dir", "reuse_undefended", "attack_every", "attack_jobs", "worker",
}  # fmt: skip


def properties_dir() -> Path:
    """The folder of our property files: inside an installed package, beside it in a checkout."""
    inside = Path(__file__).parent / "properties"
    return inside if inside.is_dir() else Path(__file__).resolve().parents[1] / "properties"


def available_defenses() -> list[str]:
    """The values that ``defense`` can take: each has a property file."""
    return sorted(path.stem for path in (properties_dir() / "defense").glob("*.yaml") if "-" not in path.stem)


def defense_keys() -> set[str]:
    """The keys that belong to one defense and its run: another defense has its own defaults for them."""
    files = (properties_dir() / f"defense/{name}.yaml" for name in available_defenses())
    return {"stage", "preset", "target", "init_checkpoint", "output_dir", "holdout_users"}.union(*map(read_yaml, files))


def our_properties(model: str, dataset: str, defense: str, preset: str) -> dict[str, Any]:
    """Merges our property files for a run, the more particular over the more general."""
    names = ["overall", f"model/{model}", f"dataset/{dataset}", f"defense/{defense}"]
    if preset != "default":
        names.append(f"defense/{defense}-{preset}")
    merged: dict[str, Any] = {}
    for name in names:
        path = properties_dir() / f"{name}.yaml"
        if path.is_file():
            merged.update(read_yaml(path))
    return merged


def check_defense(defense: Any, preset: Any) -> None:
    """Raises :class:`ConfigValueError` when there is no such defense, or no such preset of it."""
    known = available_defenses()
    if defense not in known:
        raise ConfigValueError(f"there is no defense '{defense}'. Choose one of {', '.join(known)}.")
    if preset != "default" and not (properties_dir() / f"defense/{defense}-{preset}.yaml").is_file():
        raise ConfigValueError(f"the defense '{defense}' has no preset '{preset}'. Leave preset out.")


class AIAConfig(Config):  # type: ignore[misc]
    """RecBole's ``Config`` with our property files, safe parsing, and errors that say what to do.

    Args:
        model: model name or class; ``None`` takes it from the other sources.
        dataset: dataset name; ``None`` likewise, and ml-100k, which RecBole carries, where none says.
        config_file_list: YAML files, later ones win.
        config_dict: values by key.
        argv: ``--key=value`` arguments; ``None`` takes those of the command line and passes over others, as
            RecBole does, because the command line may be somebody else's.

    Raises:
        ConfigValueError: an unknown model, defense or value, or a misspelt key of ours.
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
        self._check_validation_metric()

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
        name = model if model is not None else external["model"]
        try:
            found: tuple[str, Any, str] = super()._get_model_and_dataset(model, dataset)
        except (AttributeError, ImportError, ValueError) as error:  # ImportError: RecBole looks in all its folders
            raise ConfigValueError(
                f"RecBole has no model '{name}'. Models with a user embedding view are "
                "BPR, DMF, LightGCN, NGCF and NeuMF; names are case-sensitive."
            ) from error
        return found

    def _load_internal_config_dict(self, model: str, model_class: Any, dataset: str) -> None:
        super()._load_internal_config_dict(model, model_class, dataset)
        external = self.external_config_dict
        defense, preset = external.get("defense", "none"), external.get("preset", "default")
        check_values({"preset": preset})
        check_defense(defense, preset)
        self.internal_config_dict |= our_properties(model, dataset, defense, preset)
        self._refuse_misspelt_keys()
        self._check_recbole_types()
        self.parameters["Attribute inference"] = list(KEYS)

    def _refuse_misspelt_keys(self) -> None:
        known = set(self.internal_config_dict) | {k for keys in self.parameters.values() for k in keys}
        for key in self.external_config_dict.keys() - known - {"model", "dataset"} - KEYS.keys():
            # A model's own "select_k" is not our "select"; whatever starts like ours can only mean ours.
            ours = key.startswith(("raid_", "attack_", "attrcloak_", "unlearn_", "u2u_", "d2d_", "dp_"))
            close = difflib.get_close_matches(key, KEYS.keys() - _COMMON_WORDS, n=1, cutoff=0.5 if ours else 0.8)
            if close or ours:
                hint = f" Did you mean '{close[0]}'?" if close else " See recbole-aia run --help."
                raise ConfigValueError(f"there is no key '{key}'.{hint}")

    def _check_recbole_types(self) -> None:
        """Refuses a value of another type than RecBole's default; RecBole would fail on it much later."""
        for key, value in self.external_config_dict.items():
            default = self.internal_config_dict.get(key)
            kind = next((kind for kind in _KINDS if isinstance(default, kind)), None)
            if key in KEYS or kind is None or (kind is list and key in ("metrics", "topk")):
                continue
            accepted = (int, float) if kind is float else kind
            if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
                raise ConfigValueError(f"{key} is {value!r}. It must be {_KINDS[kind]}, such as {default}.")
        states = ("debug", "info", "warning", "error", "critical")
        if str(self.external_config_dict.get("state", "info")).lower() not in states:
            raise ConfigValueError(
                f"state is {self.external_config_dict['state']!r}. It must be {' or '.join(states)}."
            )
        if not isinstance(self.external_config_dict.get("valid_metric", ""), str):
            raise ConfigValueError(
                f"valid_metric is {self.external_config_dict['valid_metric']!r}. Write NDCG@10, say."
            )
        if self.external_config_dict.get("metrics") == []:
            raise ConfigValueError("metrics is empty. Write --metrics=[NDCG,Hit], for example.")

    def _check_validation_metric(self) -> None:
        offered = [f"{metric}@{k}" for metric in self["metrics"] for k in self["topk"]]
        if str(self["valid_metric"]).lower() not in [name.lower() for name in offered]:
            raise ConfigValueError(
                f"valid_metric is {self['valid_metric']}, which is not computed. Choose one of {', '.join(offered)}, "
                "or change metrics and topk."
            )


# bool before int, of which it is a kind
_KINDS = {bool: "true or false", int: "a whole number", float: "a number", list: "a list", dict: "a mapping"}


def _normalize(config: Config) -> None:
    """Brings our keys into the form that the rest of the package reads, and checks them."""
    if isinstance(config["attributes"], str):
        parsed = parse_value(config["attributes"])
        config["attributes"] = [parsed] if isinstance(parsed, str) else parsed
    for key in ("output_dir", "init_checkpoint"):
        if isinstance(config[key], os.PathLike):
            config[key] = os.fspath(config[key])
    check_values({key: config[key] for key in KEYS if key in config})


def with_our_defaults(config: Any, defense: str) -> Any:
    """Completes a plain RecBole ``Config`` in place with our keys, so that our trainers run in any project.

    Only keys of ours that the project has not set are added; its training settings stay its own.

    Raises:
        ConfigValueError: a value of ours that is not allowed.
    """
    if isinstance(config, AIAConfig):
        return config
    own = our_properties(config["model"], config["dataset"], defense, config["preset"] or "default")
    for key in own.keys() & KEYS.keys():
        if key not in config:
            config[key] = own[key]
    _normalize(config)
    return config
