"""Registers defenses, ours and other packages' alike, and finds the one that a configuration names."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, overload

from recbole_aia.config import registry
from recbole_aia.config.keys import Key
from recbole_aia.errors import ConfigValueError
from recbole_aia.trainer.adversarial import AdversarialPostTrainer, AdversarialTrainer
from recbole_aia.trainer.attrcloak import AttrCloakUnlearner
from recbole_aia.trainer.base import DefenseTrainer
from recbole_aia.trainer.calibrated import CalibratedTrainer
from recbole_aia.trainer.calibrated_post import CalibratedUnlearner
from recbole_aia.trainer.editing import BlurMeTrainer, RecordTrainer
from recbole_aia.trainer.ldp import LDPTrainer
from recbole_aia.trainer.leace import LEACEUnlearner
from recbole_aia.trainer.noise import DPPerturbation, NoisePerturbation
from recbole_aia.trainer.pairs import D2DTrainer, D2DUnlearner, U2UTrainer, U2UUnlearner
from recbole_aia.trainer.post import Unlearner
from recbole_aia.trainer.post_keys import descent_keys
from recbole_aia.trainer.raid import RAIDPostTrainer, RAIDTrainer
from recbole_aia.trainer.rap import RAPTrainer
from recbole_aia.trainer.swd import SWDTrainer
from recbole_aia.trainer.undefended import UndefendedTrainer

Defense = TypeVar("Defense", bound=type[DefenseTrainer])
_NAME = re.compile(r"[a-z][a-z0-9_]*")
# Keys that several defenses read, each with its own default; every other key begins with its defense's name.
_SHARED = frozenset({"calibrate", "multi", *descent_keys(rate=1.0, steps=1)})


@overload
def register_defense(defense: Defense, *, replace: bool = False) -> Defense: ...
@overload
def register_defense(defense: None = None, *, replace: bool = False) -> Callable[[Defense], Defense]: ...
def register_defense(defense: Any = None, *, replace: bool = False) -> Any:
    """Registers a defense under its name and stage, for ``run``, ``unlearn``, ``--help`` and the contract suite.

    Example:
        >>> from recbole_aia import Unlearner, keys, register_defense
        >>> @register_defense
        ... class Erasure(Unlearner):
        ...     '''Takes the directions out along which class means differ.'''
        ...     defense = "erasure"
        ...     keys = {"erasure_rank": keys.Count(1, "Directions of each attribute.", low=1)}
        ...     def edit(self, task, train_data):
        ...         return {"directions": 0}

    Args:
        defense: a :class:`DefenseTrainer` (stage ``in``) or an :class:`Unlearner` (stage ``post``). ``None`` returns a
            decorator. The stage that is registered first is the default stage of this name.
        replace: whether ``defense`` may replace a registered class of the same name and stage.

    Returns:
        ``defense``, or a decorator.

    Raises:
        ConfigValueError: ``defense`` is no defense class, its name or a key is malformed, or its name is taken.
    """
    if defense is None:
        return lambda each: register_defense(each, replace=replace)
    if not (inspect.isclass(defense) and issubclass(defense, DefenseTrainer)):
        raise ConfigValueError(f"{defense!r} is no defense. Register a subclass of DefenseTrainer or Unlearner.")
    if missing := _missing(defense):
        raise ConfigValueError(f"the defense {defense.__qualname__} has no {missing}. Write it.")
    name = getattr(defense, "defense", None)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigValueError(
            f"the defense {defense.__qualname__} is called {name!r}. Give it a name of small letters, digits and "
            'underscores, such as defense = "erasure".'
        )
    if name == "none" and defense is not UndefendedTrainer:
        raise ConfigValueError(
            f"'none' is no defense: it is how a run goes without one. Rename {defense.__qualname__}."
        )
    if not isinstance(defense.keys, Mapping):
        raise ConfigValueError(
            f"the keys of {defense.__qualname__} are {defense.keys!r}. Give a mapping of names to keys."
        )
    if defense.stage not in ("in", "post"):
        raise ConfigValueError(f"the stage of {defense.__qualname__} is {defense.stage!r}. It must be in or post.")
    for key, declared in defense.keys.items():
        if not (isinstance(key, str) and _NAME.fullmatch(key) and isinstance(declared, Key)):
            raise ConfigValueError(
                f"{defense.__qualname__} declares the key {key!r} as {declared!r}. Write "
                f'keys = {{"{name}_rank": keys.Count(1, "what it does", low=1)}}, say.'
            )
        if not (key.startswith(f"{name}_") or key in _SHARED or registry.is_declared(key)):
            raise ConfigValueError(
                f"{defense.__qualname__} declares the key '{key}', which could be RecBole's or a model's. "
                f"Begin it with the defense's name: '{name}_{key}'."
            )
        declared.check(key, declared.default)
    registry.add_defense(defense, replace=replace)
    return defense


def _missing(defense: type[DefenseTrainer]) -> str | None:
    """The method without which a defense does nothing, where it lacks it."""
    if issubclass(defense, Unlearner):
        return "edit" if getattr(defense.edit, "__isabstractmethod__", False) else None
    idle = defense.phases is DefenseTrainer.phases and defense.fit is DefenseTrainer.fit
    return "phases" if idle else None


for _defense in (
    UndefendedTrainer,
    CalibratedTrainer,
    CalibratedUnlearner,
    RAIDTrainer,
    RAIDPostTrainer,
    AttrCloakUnlearner,
    U2UUnlearner,
    U2UTrainer,
    D2DUnlearner,
    D2DTrainer,
    DPPerturbation,
    NoisePerturbation,
    LEACEUnlearner,
    AdversarialTrainer,
    AdversarialPostTrainer,
    SWDTrainer,
    BlurMeTrainer,
    RecordTrainer,
    RAPTrainer,
    LDPTrainer,
):
    register_defense(_defense)


def trainer_class(config: Any) -> type[DefenseTrainer]:
    """The class of the configured ``defense`` and ``stage``.

    Raises:
        ConfigValueError: the defense has no such stage.
    """
    return registry.defense_class(config["defense"], config["stage"])


def stage_of(config: Any) -> str:
    """The stage of the configured defense, as results.json has it: ``none``, ``in`` or ``post``."""
    return "none" if config["defense"] == "none" else trainer_class(config).stage


def unlearners() -> dict[str, type[Unlearner]]:
    """The defenses that hide attributes in a trained model, by name."""
    found = {name: stages.get("post") for name, stages in registry.defenses().items()}
    return {name: each for name, each in found.items() if each is not None and issubclass(each, Unlearner)}
