"""The registry of defenses and keys, ours and other packages' alike.

A module registers its defenses when it is imported. Our own modules, and those of installed packages (entry point
group ``recbole_aia.plugins``), are imported when a defense or a key is first asked for.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from importlib.metadata import entry_points
from logging import getLogger
from typing import Any, ClassVar, Protocol

from recbole_aia.config.keys import Key
from recbole_aia.config.run_keys import RECBOLE_PRESENTATION, SUBJECT, TRAINING
from recbole_aia.errors import ConfigValueError

#: The entry point group by which other packages add defenses, attackers and views.
ENTRY_POINTS = "recbole_aia.plugins"
#: The heading of the keys that the evaluator declares.
ATTACK = "The attack"
# Modules that register keys or defenses. They import this module, so it imports them late and by name.
_OURS = ("recbole_aia.evaluator.settings", "recbole_aia.trainer")


class DefenseClass(Protocol):
    """The attributes of a defense that the registry reads."""

    defense: ClassVar[str]
    stage: ClassVar[str]
    keys: ClassVar[Mapping[str, Key]]
    shared_keys: ClassVar[Mapping[str, Key]]
    search: ClassVar[Mapping[str, Any]]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]]
    presets_by_model: ClassVar[Mapping[str, Mapping[str, Mapping[str, Any]]]]


_DEFENSES: dict[str, dict[str, type[Any]]] = {}
_MODELS: dict[str, type[Any]] = {}
_COMMON: dict[str, dict[str, Key]] = {"What is protected and attacked": SUBJECT, "The run": TRAINING}


def add_keys(group: str, keys: Mapping[str, Key]) -> None:
    """Registers keys that every run reads; ``group`` is their heading in property files and help."""
    _COMMON[group] = dict(keys)


def add_defense(defense: type[Any], *, replace: bool = False) -> None:
    """Registers a defense under its name and stage.

    Raises:
        ConfigValueError: another class has this name and stage, or another declaration gives a key another range.
    """
    stages = _DEFENSES.get(defense.defense, {})
    taken = stages.get(defense.stage)
    if taken is not None and taken is not defense and not replace:
        raise ConfigValueError(
            f"there is a defense '{defense.defense}' for the stage {defense.stage} already: {taken.__module__}."
            f"{taken.__qualname__}. Give yours another name, or register it with replace=True."
        )
    for name, key in keys_of(defense).items():
        for owner, other in _declarations(name):
            if (type(other), other.expected) != (type(key), key.expected) and owner is not taken:
                where = owner if isinstance(owner, str) else owner.__qualname__
                raise ConfigValueError(
                    f"{defense.__qualname__} declares the key '{name}' as {key.expected}, and {where} as "
                    f"{other.expected}. Give yours another name."
                )
    _DEFENSES.setdefault(defense.defense, {})[defense.stage] = defense


def add_model(model: type[Any]) -> None:
    """Lets configurations name a model that has a view, wherever its class is from."""
    _MODELS[model.__name__] = model


def models() -> dict[str, type[Any]]:
    """The models that have a view, by name."""
    load_plugins()
    return dict(_MODELS)


def remove_defense(name: str, stage: str) -> None:
    """Removes a defense from the registry; for tests and notebooks."""
    _DEFENSES[name].pop(stage)
    if not _DEFENSES[name]:
        del _DEFENSES[name]


@functools.cache
def load_plugins() -> None:
    """Imports our modules that register keys, then the plugins of installed packages; runs once in a process."""
    for module in _OURS:
        importlib.import_module(module)
    load_guests()


@functools.cache
def load_guests() -> None:
    """Imports the plugins of installed packages, once a process; one that fails is a warning."""
    for point in entry_points(group=ENTRY_POINTS):
        try:
            point.load()
        except Exception as error:  # another package's code can raise any error
            getLogger().warning(
                f"recbole-aia: the plugin '{point.name}' ({point.value}) cannot be loaded "
                f"({type(error).__name__}: {error}). What it offers is missing; mend or uninstall its package."
            )


def defenses() -> dict[str, dict[str, type[Any]]]:
    """The class of each defense by name and stage; the first stage of a name is its default."""
    load_plugins()
    return {name: dict(stages) for name, stages in _DEFENSES.items()}


def defense_class(name: Any, stage: str | None = None) -> type[Any]:
    """The class of a defense at a stage.

    Args:
        name: the name of the defense.
        stage: ``in`` or ``post``; ``None`` takes the defense's default stage.

    Raises:
        ConfigValueError: there is no such defense, or it has no such stage.
    """
    offered = defenses()
    if not isinstance(name, str) or name not in offered:
        raise ConfigValueError(f"there is no defense '{name}'. Choose one of {', '.join(sorted(offered))}.")
    stages = offered[name]
    if stage is not None and stage not in stages:
        raise ConfigValueError(f"the defense '{name}' has no stage '{stage}', only {', '.join(stages)}. Leave it out.")
    return stages[stage or next(iter(stages))]


def keys_of(defense: type[DefenseClass]) -> dict[str, Key]:
    """The keys that a defense reads: the keys that all defenses of its kind share, and its own."""
    return {**defense.shared_keys, **defense.keys}


def common_keys() -> dict[str, dict[str, Key]]:
    """The keys that every run reads, by heading."""
    load_plugins()
    return {group: dict(keys) for group, keys in _COMMON.items()}


def defense_keys() -> dict[str, Key]:
    """The keys that at least one defense reads, by name."""
    merged: dict[str, Key] = {}
    for stages in defenses().values():
        for defense in stages.values():
            merged = keys_of(defense) | merged
    return merged


def defaults_of(name: str) -> list[Any]:
    """The defaults that defenses declare for a key."""
    declared = (keys_of(each).get(name) for stages in defenses().values() for each in stages.values())
    return [key.default for key in declared if key is not None]


def known_keys() -> dict[str, Key]:
    """All registered keys by name. Several declarations of one key can differ in their defaults, not in their range."""
    merged = {name: key for keys in common_keys().values() for name, key in keys.items()}
    return defense_keys() | merged


def beginnings() -> set[str]:
    """The prefixes of the keys of the attack and of single defenses, such as ``raid_``; only our keys have them."""
    own = [each.keys for stages in defenses().values() for each in stages.values()]
    names = {name for keys in (*own, common_keys()[ATTACK]) for name in keys}
    return {f"{name.split('_')[0]}_" for name in names if "_" in name}


def is_ours(declared: type[Any]) -> bool:
    """Whether a defense, an attacker or a model class belongs to this package, and not to a guest."""
    return declared.__module__.split(".")[0] == __name__.split(".")[0]


def readers(name: str) -> list[str]:
    """The defenses that read a key; a stage is named if the defense's other stage does not read it."""
    found = []
    for defense, stages in defenses().items():
        reading = [stage for stage, each in stages.items() if name in keys_of(each)]
        if reading:
            found.append(defense if len(reading) == len(stages) else f"{defense} (stage {', '.join(reading)})")
    return found


def presentation_keys() -> set[str]:
    """RecBole's keys and ours that decide how a run is shown or stored, and none of its numbers."""
    return {name for name, key in known_keys().items() if key.decides == "presentation"} | RECBOLE_PRESENTATION


def is_declared(name: str) -> bool:
    """Whether a defense that is registered already, or every run, reads a key of this name; nothing is imported."""
    return bool(_declarations(name))


def _declarations(name: str) -> list[tuple[Any, Key]]:
    """The declarations of a key so far, each with its owner; unlike :func:`known_keys` this imports nothing."""
    owners: list[tuple[Any, Mapping[str, Key]]] = [(group, keys) for group, keys in _COMMON.items()]
    owners += [(each, keys_of(each)) for stages in _DEFENSES.values() for each in stages.values()]
    return [(owner, keys[name]) for owner, keys in owners if name in keys]
