"""What a sweep searches: a range or a list of values for each key of a defense."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recbole_aia.config.hints import did_you_mean
from recbole_aia.config.keys import Count, Key, Number, Share, Shares
from recbole_aia.config.registry import defense_class, keys_of
from recbole_aia.config.text import read_yaml
from recbole_aia.errors import ConfigValueError, shown

_TRIALS = 20
_OWN = ("search", "trials", "bound", "output_dir")  # what a sweep's file holds beside the keys of its runs
_FORMS = "a list of values, such as [1, 2, 4], or a range, such as {low: 0.1, high: 10, log: true}"


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included; with ``log`` evenly by their logarithms, ``whole`` numbers."""

    low: float
    high: float
    log: bool = False
    whole: bool = False


@dataclass(frozen=True)
class Choices:
    """One of some plain values, which have no order."""

    values: tuple[Any, ...]


Domain = Range | Choices


@dataclass(frozen=True)
class Sweep:
    """A search among the keys of a defense for the best recommendations within a bound of what leaks.

    Attributes:
        settings: the keys of every run by name: model, defense, attributes, seed and so on.
        domains: what is searched, by key.
        bound: the largest advantage of the strongest attacker that is allowed, in ``[0, 1]``.
        trials: how many settings are tried in all, >= 1.
        search: what is searched, as a user writes it.
        output_dir: the folder for the study and the tables; ``None`` means one that is named by all of the above.
    """

    settings: Mapping[str, Any]
    domains: Mapping[str, Domain]
    bound: float
    trials: int = _TRIALS
    search: Mapping[str, Any] = field(default_factory=dict)
    output_dir: Path | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any], file: Path | None = None) -> Sweep:
        """A sweep from plain values.

        Args:
            values: ``bound``, ``trials``, ``search`` and ``output_dir``, and beside them the keys of the runs. Without
                ``search``, the ranges are those that the defense declares.
            file: a YAML file of the same keys; ``values`` win over it.

        Raises:
            ConfigValueError: the file cannot be read, or a value is not of the form that is expected.
        """
        values = {**(read_yaml(file) if file is not None else {}), **values}
        settings = {key: value for key, value in values.items() if key not in _OWN}
        bound, trials = values.get("bound"), values.get("trials", _TRIALS)
        if bound is None:
            raise ConfigValueError("a sweep needs the largest advantage that you allow. Give --bound 0.15, say.")
        if not _is_number(bound) or not 0 <= bound <= 1:
            raise ConfigValueError(f"the bound is {shown(bound)}. It must be a number from 0 to 1, an advantage.")
        if not isinstance(trials, int) or isinstance(trials, bool) or trials < 1:
            raise ConfigValueError(f"the number of trials is {shown(trials)}. It must be a whole number >= 1.")
        if settings.get("defense", "none") == "none":
            raise ConfigValueError("a sweep searches the keys of a defense. Give --defense calibrated, say.")
        defense = defense_class(settings["defense"], settings.get("stage"))
        search = values.get("search", defense.search)
        place = values.get("output_dir")
        folder = None if place is None else Path(str(place))
        return cls(settings, _domains(search, defense), float(bound), trials, search, folder)

    def as_file(self) -> dict[str, Any]:
        """The sweep as the values of a file of :meth:`of`."""
        return {**self.settings, "search": dict(self.search), "bound": self.bound, "trials": self.trials}


def _domains(search: Any, defense: type[Any]) -> dict[str, Domain]:
    """What is searched of a defense, by key, checked against the declarations of its keys."""
    if not isinstance(search, Mapping):
        raise ConfigValueError(f"search is {shown(search)}. It must give each key {_FORMS}.")
    if not search:
        raise ConfigValueError(f"{defense.defense} declares nothing to search. Give --search '{{key: ...}}', {_FORMS}.")
    declared = keys_of(defense)
    for name in search:
        if name not in declared:
            hint = did_you_mean(str(name), declared, cutoff=0.5, n=1)
            raise ConfigValueError(
                f"search has {shown(name)}, which is no key of {defense.defense} (stage {defense.stage}).{hint}"
            )
    return {name: _domain(name, given, declared[name]) for name, given in search.items()}


def _domain(name: str, given: Any, key: Key) -> Domain:
    if isinstance(given, list | tuple) and given:
        return _choices(name, given, key)
    if isinstance(given, Mapping) and {"low", "high"} <= given.keys() <= {"low", "high", "log"}:
        return _range(name, given, key)
    raise ConfigValueError(f"search has {shown(given)} for {name}. It must be {_FORMS}.")


def _choices(name: str, given: list[Any] | tuple[Any, ...], key: Key) -> Choices:
    for value in given:
        if not (value is None or isinstance(value, bool | int | float | str)):
            raise ConfigValueError(
                f"search has {shown(value)} among the values of {name}. Each must be a single value."
            )
        key.check(f"search: {name}", value)
    return Choices(tuple(value for place, value in enumerate(given) if not _is_among(value, given[:place])))


def _is_among(value: Any, others: Any) -> bool:
    return any(value == other and type(value) is type(other) for other in others)


def _range(name: str, given: Mapping[str, Any], key: Key) -> Range:
    if not isinstance(key, Number | Share | Count) or isinstance(key, Shares):
        raise ConfigValueError(f"search has a range for {name}, which is {key.expected}. Give a list of values.")
    low, high, log = given["low"], given["high"], given.get("log", False)
    for value in (low, high):
        if not _is_number(value):
            raise ConfigValueError(f"search has {shown(value)} as an end of {name}. It must be a number.")
        key.check(f"search: {name}", value)
    if low >= high:
        raise ConfigValueError(f"search has {name} from {low:g} to {high:g}. low must be below high.")
    if not isinstance(log, bool):
        raise ConfigValueError(f"search has {shown(log)} as log of {name}. It must be true or false.")
    if log and low <= 0:
        raise ConfigValueError(f"search has {name} from {low:g} by logarithms. Its low must be above 0.")
    return Range(low, high, log, isinstance(key, Count))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
