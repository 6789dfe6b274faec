"""RecBole's configuration, read safely and extended by our property files.

Precedence, weakest first: RecBole's properties, ours (overall, model, dataset, defense, preset), config
files, ``config_dict``, command line. Values given as text are parsed as YAML and never evaluated.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from logging import getLogger
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from recbole.config import Config

from recbole_aia.errors import ConfigValueError


class Key(NamedTuple):
    """What a key of ours accepts: a test, and the words for it in an error message."""

    accepts: Callable[[Any], bool]
    expected: str


def _number(low: float, high: float = float("inf"), *, strict: bool = False) -> Callable[[Any], bool]:
    def accepts(value: Any) -> bool:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and (value > low if strict else value >= low) and value <= high

    return accepts


def _count(low: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= low


def _one_of(*choices: Any) -> Key:
    return Key(lambda value: value in choices, "one of " + ", ".join(map(str, choices)))


def _optional(key: Key) -> Key:
    return Key(lambda value: value is None or key.accepts(value), key.expected + ", or null")


def _names(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)


_FLAG = Key(lambda value: isinstance(value, bool), "true or false")
_MAPPING = Key(lambda value: isinstance(value, dict), "a mapping of names to specifications")
_ATTRIBUTES = Key(
    lambda value: isinstance(value, str) or _names(value) or (isinstance(value, dict) and bool(value)),
    "a list of names such as [gender,age], or a mapping of names to specifications",
)
_TEXT = Key(lambda value: isinstance(value, str) and bool(value), "a path")
_POSITIVE = Key(_number(0, strict=True), "a number > 0")

#: Every key of ours. Meanings and defaults are in ``properties/``.
KEYS: dict[str, Key] = {
    "defense": Key(lambda value: isinstance(value, str), "a defense"),
    "preset": _one_of("default", "paper"),
    "attributes": _optional(_ATTRIBUTES),
    "attribute_specs": _optional(_MAPPING),
    "fast": _FLAG,
    "init_std": _optional(_POSITIVE),
    "rec_loss": _one_of("native", "bce"),
    "select": _one_of("last", "valid_after_phase1"),
    "multi": _one_of("joint", "sequential"),
    "reuse_undefended": _FLAG,
    "output_dir": _optional(_TEXT),
    "attackers": Key(_names, "a list of attackers"),
    "attack_folds": Key(_count(2), "a whole number >= 2"),
    "attack_repeats": Key(_count(1), "a whole number >= 1"),
    "attack_permutations": Key(_count(20), "a whole number >= 20"),
    "attack_jobs": _optional(Key(_count(1), "a whole number >= 1")),
    "raid_eta": Key(_number(0), "a number >= 0"),
    "raid_tau": Key(_number(0), "a number >= 0"),
    "raid_atoms": Key(_count(2), "a whole number >= 2"),
    "raid_phase1_epochs": _optional(Key(_count(0), "a whole number >= 0")),
    "raid_refresh_epochs": Key(_count(1), "a whole number >= 1"),
    "raid_coupling": _one_of("auto", "kl_projection", "semi_dual", "exact"),
    "raid_epsilon": Key(_POSITIVE.accepts, "a number > 0"),
    "raid_batch_users": Key(_count(2), "a whole number >= 2"),
}


class _SafeLoader(yaml.SafeLoader):
    """YAML without object construction, reading ``1e-3`` as a number, as RecBole does."""


_SafeLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)$"),
    list("-+.0123456789"),
)


def parse_value(text: str) -> Any:
    """Reads a value given as text: YAML, ``None`` as null, and anything that is not YAML as itself."""
    if text.strip() in ("None", ""):
        return None
    try:
        return yaml.load(text, Loader=_SafeLoader)
    except yaml.YAMLError:
        return text


_ARGUMENT = re.compile(r"--([A-Za-z_][\w-]*)=(.*)", flags=re.DOTALL)


def _own_arguments() -> list[str]:
    arguments = [] if "ipykernel_launcher" in sys.argv[0] else sys.argv[1:]
    foreign = [argument for argument in arguments if not _ARGUMENT.fullmatch(argument)]
    if foreign:
        getLogger().warning(f"command line args [{' '.join(foreign)}] will not be used in RecBole")
    return [argument for argument in arguments if argument not in foreign]


def parse_arguments(arguments: Iterable[str]) -> dict[str, Any]:
    """Reads ``--key=value`` arguments.

    Raises:
        ConfigValueError: an argument of another form, or a key given twice with different values.
    """
    values: dict[str, str] = {}
    for argument in arguments:
        match = _ARGUMENT.fullmatch(argument)
        if match is None:
            raise ConfigValueError(f"cannot read the argument '{argument}'. Write --key=value.")
        key, text = match.groups()
        if values.get(key, text) != text:
            raise ConfigValueError(f"--{key} is given twice, as '{values[key]}' and as '{text}'. Keep one.")
        values[key] = text
    return _parse_texts(values)


def _parse_texts(values: Mapping[str, Any]) -> dict[str, Any]:
    # "[5,inf]" is an interval to RecBole, which reads it itself, and a list to YAML.
    return {
        key: parse_value(value) if isinstance(value, str) and not key.endswith("num_interval") else value
        for key, value in values.items()
    }


def properties_dir() -> Path:
    """The folder of our property files: inside an installed package, beside it in a checkout."""
    inside = Path(__file__).parent / "properties"
    return inside if inside.is_dir() else Path(__file__).resolve().parents[1] / "properties"


def available_defenses() -> list[str]:
    """The values that ``defense`` can take: each has a property file."""
    return sorted(path.stem for path in (properties_dir() / "defense").glob("*.yaml") if "-" not in path.stem)


def our_properties(model: str, dataset: str, defense: str, preset: str) -> dict[str, Any]:
    """Merges our property files for a run, the more particular over the more general."""
    names = ["overall", f"model/{model}", f"dataset/{dataset}", f"defense/{defense}"]
    if preset != "default":
        names.append(f"defense/{defense}-{preset}")
    merged: dict[str, Any] = {}
    for name in names:
        path = properties_dir() / f"{name}.yaml"
        if path.is_file():
            merged.update(_read_yaml(path))
    return merged


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_SafeLoader)
    except OSError as error:
        reason = "does not exist" if not path.exists() else "cannot be read"
        raise ConfigValueError(f"the config file '{path}' {reason}. Check the path.") from error
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" line {where.line + 1}" if where else ""
        raise ConfigValueError(f"the config file '{path}'{line} is not valid YAML.") from error
    if content is not None and not isinstance(content, dict):
        raise ConfigValueError(f"the config file '{path}' holds no 'key: value' lines.")
    return content or {}


def check_defense(defense: Any, preset: Any) -> None:
    """Raises :class:`ConfigValueError` when there is no such defense, or no such preset of it."""
    known = available_defenses()
    if defense not in known:
        raise ConfigValueError(f"there is no defense '{defense}'. Choose one of {', '.join(known)}.")
    if preset != "default" and not (properties_dir() / f"defense/{defense}-{preset}.yaml").is_file():
        raise ConfigValueError(f"the defense '{defense}' has no preset '{preset}'. Leave preset out.")


def check_values(values: Mapping[str, Any]) -> None:
    """Raises :class:`ConfigValueError` for a value that its key (one of ours) does not accept."""
    for name, key in KEYS.items():
        if name in values and not key.accepts(values[name]):
            raise ConfigValueError(f"{name} is {values[name]!r}. It must be {key.expected}.")


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
        self._argv = _own_arguments() if argv is None else list(argv)
        try:
            super().__init__(model, dataset, config_file_list, dict(config_dict or {}))
        except ConfigValueError:
            raise
        except (KeyError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            raise ConfigValueError(str(error.args[0] if error.args else error)) from error
        if isinstance(self["attributes"], str):
            self["attributes"] = [self["attributes"]]
        check_values(self.final_config_dict)
        self._check_recbole_types()

    def _build_yaml_loader(self) -> type[yaml.SafeLoader]:
        return _SafeLoader

    def _load_config_files(self, file_list: Sequence[str | Path] | None) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for file in file_list or []:
            merged.update(_read_yaml(Path(file)))
        return merged

    def _convert_config_dict(self, config_dict: dict[str, Any]) -> dict[str, Any]:
        return _parse_texts(config_dict)

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
        self.parameters["Attribute inference"] = list(KEYS)

    def _refuse_misspelt_keys(self) -> None:
        known = set(self.internal_config_dict) | {k for keys in self.parameters.values() for k in keys}
        for key in self.external_config_dict.keys() - known - {"model", "dataset"} - KEYS.keys():
            close = difflib.get_close_matches(key, KEYS, n=1, cutoff=0.8)
            if close:
                raise ConfigValueError(f"there is no key '{key}'. Did you mean '{close[0]}'?")

    def _check_recbole_types(self) -> None:
        for key, value in self.external_config_dict.items():
            default = self.internal_config_dict.get(key)
            if key in KEYS or default is None or isinstance(value, type(default)):
                continue
            if isinstance(default, bool) or (isinstance(default, int | float) and not _is_number(value)):
                kind = "true or false" if isinstance(default, bool) else "a number"
                raise ConfigValueError(f"{key} is {value!r}. It must be {kind}, such as {default}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


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
    if isinstance(config["attributes"], str):
        config["attributes"] = [config["attributes"]]
    check_values({key: config[key] for key in KEYS if key in config})
    return config
