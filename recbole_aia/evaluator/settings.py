"""The keys of the attack, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from recbole_aia.config.devices import find_device
from recbole_aia.config.hints import did_you_mean
from recbole_aia.config.keys import Choice, Count, Key, Names, Settings, Shares
from recbole_aia.config.registry import ATTACK, add_keys
from recbole_aia.errors import ConfigValueError
from recbole_aia.evaluator.attackers import registered_attackers
from recbole_aia.evaluator.presets import PRESETS

BALANCES = ("none", "undersample")

#: The keys of the attack.
KEYS: dict[str, Key] = {
    "protocol": Choice(
        "default",
        "default: four attackers, 5 folds x 2; strict: every kind, tuned where it helps; raid, attrcloak, oktton: as "
        "published; informed: attackers who also have the undefended vectors and the users' activity.",
        choices=tuple(PRESETS),
    ),
    "attackers": Names(
        None,
        "The attackers. ~: the protocol's; default has logistic, mlp_raid, mlp, xgboost.",
        what="an attacker",
    ),
    "attack_views": Names(
        None,
        "What the attacker sees: served, table, both, top_k, top_k_unmasked, top_k_popular, scores, profile, or all. "
        "~: served, and after a defense also top_k and top_k_popular; in an audit served and table.",
        what="a view",
    ),
    "attack_folds": Count(None, "Cross-validation folds. ~: the protocol's, 5 in all.", low=2),
    "attack_repeats": Count(
        None, "Repetitions of the cross-validation. ~: the protocol's, 2 in default and strict.", low=1
    ),
    "attack_balance": Choice(
        None,
        "Users that are attacked. none: all with a label; undersample: equally many of each class, drawn by the seed. "
        "~: the protocol's, undersample in raid.",
        choices=BALANCES,
    ),
    "attack_leak_ratios": Shares(
        None, "Shares of all users that attackers learn from, such as [0.2, 0.4, 0.6, 0.8]. ~: (folds - 1) / folds."
    ),
    "further_attacks": Settings(
        None,
        "Attacks beside the main one, which count in no worst case: settings of an attack by a name of yours, such as "
        "{paper: {protocol: raid}}. They see the served vectors. ~: none.",
    ),
    "attack_permutations": Count(200, "Label permutations behind the floor of the advantage.", low=20),
    "attack_every": Count(
        None,
        "Attack after every N-th epoch of training, too, and log it (TensorBoard; a reused twin has none). ~: never.",
        "presentation",
        low=1,
    ),
    "attack_jobs": Count(None, "Parallel attacker processes. ~: one per core.", "presentation", low=1),
}
add_keys(ATTACK, KEYS)


@dataclass(frozen=True)
class AttackSettings:
    """The settings of an attack.

    Attributes:
        protocol: a name in :data:`~recbole_aia.evaluator.presets.PRESETS`. :meth:`from_config` takes the next three
            settings and ``attack_balance`` from it where they are not given; the constructor does not.
        attackers: names of registered attackers.
        attack_folds: cross-validation folds, >= 2.
        attack_repeats: repetitions of the cross-validation, >= 1.
        attack_leak_ratios: shares of all users that attackers learn from, each in
            ``(0, (attack_folds - 1) / attack_folds]``; None for all users outside the fold.
        attack_balance: ``none``, or ``undersample`` to attack equally many users of each class.
        attack_permutations: label permutations behind the advantage's floor, >= 20.
        attack_jobs: processes, >= 1; None for one per core.
        seed: >= 0.
        device: where attackers compute that can use a GPU: ``cpu``, ``cuda``, ``cuda:1``; ``auto`` is replaced by what
            it means.
        show_progress: whether a bar counts the fits.
    """

    protocol: str = "default"
    attackers: tuple[str, ...] = PRESETS["default"].attackers
    attack_folds: int = PRESETS["default"].attack_folds
    attack_repeats: int = PRESETS["default"].attack_repeats
    attack_leak_ratios: tuple[float, ...] | None = None
    attack_balance: str = "none"
    attack_permutations: int = 200
    attack_jobs: int | None = None
    seed: int = 2020
    device: str = "auto"
    show_progress: bool = True

    def __post_init__(self) -> None:
        _check_protocol(self.protocol)
        _check_attackers(self.attackers)
        for key, least in (
            ("attack_folds", 2),
            ("attack_repeats", 1),
            ("attack_permutations", 20),
            ("seed", 0),
        ):
            _check_count(key, getattr(self, key), least)
        if self.attack_balance not in BALANCES:
            raise ConfigValueError(
                f"attack_balance is {self.attack_balance!r}.{_hint(str(self.attack_balance), list(BALANCES))}"
            )
        if self.attack_jobs is not None:
            _check_count("attack_jobs", self.attack_jobs, 1, " (or null, for one per core)")
        if self.attack_leak_ratios is not None:
            _check_leak_ratios(self.attack_leak_ratios, self.attack_folds)
        object.__setattr__(self, "device", str(find_device(self.device)))
        if not isinstance(self.show_progress, bool):
            raise ConfigValueError(f"show_progress is {self.show_progress!r}. It must be True or False.")

    @classmethod
    def from_config(cls, config: Any, overrides: dict[str, Any]) -> AttackSettings:
        """Reads the settings from a configuration. Absent and None values are the protocol's, or else the defaults.

        Args:
            config: a dict, or RecBole's ``Config``, which gives None for unknown keys.
                Foreign keys are ignored.
            overrides: values that win over ``config``.

        Raises:
            ConfigValueError: an unknown override, or a value that is not allowed.
        """
        keys = [field.name for field in fields(cls)]
        for key in overrides:
            if key not in keys:
                raise ConfigValueError(f"unknown attack setting '{key}'.{_hint(key, keys)}")
        values = {key: overrides.get(key, _read(config, key)) for key in keys}
        given = {key: value for key, value in values.items() if value is not None}
        if "attackers" in given:
            given["attackers"] = _as_tuple(given["attackers"])
        if "attack_leak_ratios" in given:
            given["attack_leak_ratios"] = _as_tuple(given["attack_leak_ratios"])
        if "device" in given:
            given["device"] = str(given["device"])  # RecBole has a torch.device there.
        if "protocol" in given:
            _check_protocol(given["protocol"])
            given = {**PRESETS[given["protocol"]]._asdict(), **given}
        return cls(**given)


def _read(config: Any, key: str) -> Any:
    if config is None:
        return None
    try:
        return config[key]
    except KeyError:
        return None


def _as_tuple(value: Any) -> tuple[Any, ...]:
    """One value is a list of one, so that ``--attackers=mlp`` works; anything else is left to the check."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(value)
    return (value,)


def _check_protocol(name: Any) -> None:
    if not isinstance(name, str) or name not in PRESETS:
        raise ConfigValueError(f"unknown protocol {name!r}.{_hint(str(name), list(PRESETS))}")


def _check_attackers(names: tuple[Any, ...]) -> None:
    known = list(registered_attackers())
    if not names or len(set(map(str, names))) < len(names):
        raise ConfigValueError(
            f"attackers is {list(names)!r}. It must name at least one of {', '.join(known)}, each once."
        )
    for name in names:
        if name not in known:
            raise ConfigValueError(f"unknown attacker {name!r}.{_hint(str(name), known)}")


def _check_count(key: str, value: Any, least: int, otherwise: str = "") -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigValueError(f"{key} is {value!r}. It must be a whole number >= {least}{otherwise}.")


def _check_leak_ratios(ratios: tuple[Any, ...], folds: int) -> None:
    most = (folds - 1) / folds
    # 0.8 and 4 / 5 may differ in the last digit.
    right = all(isinstance(r, int | float) and not isinstance(r, bool) and 0 < r <= most + 1e-9 for r in ratios)
    if not ratios or not right or len(set(ratios)) < len(ratios):
        raise ConfigValueError(
            f"attack_leak_ratios is {list(ratios)!r}. It must hold shares of the users > 0 and <= {most:.4g}, what "
            f"{folds} folds leave to learn from, each once (or be null, for {most:.4g}); more folds leave more."
        )


def _hint(word: str, known: list[str]) -> str:
    return f"{did_you_mean(word, known, cutoff=0.5, n=2)} There are {', '.join(known)}."
