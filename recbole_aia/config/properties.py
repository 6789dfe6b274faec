"""The defaults of keys: from their declarations, and from the property files of models and datasets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from recbole_aia.config.keys import Key
from recbole_aia.config.registry import common_keys, defenses, keys_of
from recbole_aia.config.run_keys import RECBOLE_DEFAULTS, RECBOLE_DEFAULTS_OF_PROTOCOL
from recbole_aia.config.text import read_yaml, to_yaml_line
from recbole_aia.errors import ConfigValueError

_OVERALL = (
    "recbole-aia's defaults for every run, over RecBole's own. Every key can be set in a config file or as --key=value."
)
_STAGES = {"in": "during training", "post": "after training"}


def properties_dir() -> Path:
    """The folder of our property files: inside an installed package, or beside the package in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "properties"
    return inside if inside.is_dir() else package.parent / "properties"


def our_properties(model: str, dataset: str, defense: str, preset: str, protocol: str = "default") -> dict[str, Any]:
    """The defaults of a run; a more particular source goes over a more general one.

    The property files of models and datasets are read. Those of all runs and of defenses are written from the same
    declarations that are used here, for people to read and to copy from.

    Args:
        model: a model's name.
        dataset: a dataset's name.
        defense: a defense's name; a defense that is not registered has no keys.
        preset: the name of one of the defense's presets, or ``default``.
        protocol: the attack's protocol.
    """
    merged = {name: key.default for keys in common_keys().values() for name, key in keys.items()} | RECBOLE_DEFAULTS
    merged |= RECBOLE_DEFAULTS_OF_PROTOCOL.get(protocol, {})
    for name in (f"model/{model}", f"dataset/{dataset}"):
        merged |= _read(name)
    stages = defenses().get(defense, {})
    for each in reversed(stages.values()):
        merged |= {name: key.default for name, key in keys_of(each).items()}
    if preset != "default":
        merged |= presets(defense).get(preset, {}) | presets_by_model(defense, preset).get(model, {})
    return merged


def presets(defense: str) -> dict[str, dict[str, Any]]:
    """The presets of a defense by name; the values of all its stages are merged."""
    merged: dict[str, dict[str, Any]] = {}
    for each in defenses().get(defense, {}).values():
        for name, values in each.presets.items():
            merged[name] = {**merged.get(name, {}), **values}
    return merged


def presets_by_model(defense: str, preset: str) -> dict[str, dict[str, Any]]:
    """By model: the values of a preset that differ with that model; the values of all stages are merged."""
    merged: dict[str, dict[str, Any]] = {}
    for each in defenses().get(defense, {}).values():
        for model, values in each.presets_by_model.get(preset, {}).items():
            merged[model] = {**merged.get(model, {}), **values}
    return merged


def check_preset(defense: str, preset: Any) -> None:
    """Raises :class:`ConfigValueError` if the defense has no such preset."""
    offered = ["default", *presets(defense)]
    if preset not in offered:
        choose = f"Choose one of {', '.join(offered)}" if len(offered) > 1 else "Leave preset out"
        raise ConfigValueError(f"the defense '{defense}' has no preset '{preset}'. {choose}.")


def property_files() -> dict[str, str]:
    """The texts of the property files that are made from declarations, by name such as ``defense/raid``."""
    sections = [f"# {heading}\n{keys_text(keys)}" for heading, keys in common_keys().items()]
    recbole = f"# RecBole keys with other defaults than RecBole's\n{_values_text(RECBOLE_DEFAULTS)}"
    files = {"overall": f"# {_OVERALL}\n\n" + "\n".join([*sections, recbole])}
    for name, stages in defenses().items():
        files[f"defense/{name}"] = _defense_file(stages)
        for preset, values in presets(name).items():
            heading = f"# The preset '{preset}' of {name}, over {name}.yaml.\n"
            particular = [
                f"\n# With --model={model}:\n" + "".join(f"# {to_yaml_line(*pair)}\n" for pair in own.items())
                for model, own in presets_by_model(name, preset).items()
            ]
            files[f"defense/{name}-{preset}"] = heading + _values_text(values) + "".join(particular)
    return files


def keys_text(keys: Mapping[str, Key]) -> str:
    """Keys as YAML in the form of RecBole's property files: default, type and range, and meaning of each key."""
    lines = []
    for name, key in keys.items():
        lines.append(f"{to_yaml_line(name, key.default):<29} # ({key.kind}) {key.text}\n")
    return "".join(lines)


def _values_text(values: Mapping[str, Any]) -> str:
    return "".join(f"{to_yaml_line(name, value)}\n" for name, value in values.items())


def _defense_file(stages: Mapping[str, type[Any]]) -> str:
    """The keys of a defense. Keys that only one of its two stages reads stand under a heading of that stage."""
    default = next(iter(stages))
    parts, shown = [f"# {first_line(stages[default])}\n"], set[str]()
    for stage, each in stages.items():
        both = {name for name in keys_of(each) if all(name in keys_of(other) for other in stages.values())}
        for names in (both, keys_of(each).keys() - both):
            keys = {name: key for name, key in keys_of(each).items() if name in names and name not in shown}
            shown |= keys.keys()
            heading = "" if names is both else f"# {_STAGES[stage].capitalize()} (stage: {stage})\n"
            parts.append(heading + keys_text(keys) if keys else "")
    return "\n".join(part for part in parts if part)


def first_line(described: Any) -> str:
    """The first line of a docstring."""
    return str(described.__doc__ or described.__name__).strip().splitlines()[0]


def help_text(names: Iterable[str] | None = None) -> str:
    """The keys with their defaults for ``recbole-aia run --help``: first the keys of every run, then each defense's."""
    files = property_files()
    wanted = defenses() if names is None else names
    return "\n".join([files["overall"], *(f"# --defense={name}\n{files[f'defense/{name}']}" for name in wanted)])


def _read(name: str) -> dict[str, Any]:
    path = properties_dir() / f"{name}.yaml"
    return read_yaml(path) if path.is_file() else {}
