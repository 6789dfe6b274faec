"""The keys of ours, and what each accepts. Meanings and defaults are in ``properties/``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, NamedTuple

from recbole_aia.errors import ConfigValueError


class Key(NamedTuple):
    """What a key of ours accepts: a test, and the words for it in an error message."""

    accepts: Callable[[Any], bool]
    expected: str


def _number(low: float, high: float = float("inf"), *, strict: bool = False) -> Callable[[Any], bool]:
    def accepts(value: Any) -> bool:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and isfinite(value) and (value > low if strict else value >= low) and value <= high

    return accepts


def _count(low: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= low


def _one_of(*choices: Any) -> Key:
    return Key(lambda value: value in choices, "one of " + ", ".join(map(str, choices)))


def _optional(key: Key) -> Key:
    return Key(lambda value: value is None or key.accepts(value), key.expected + ", or null")


def _names(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)


def _shares(value: Any) -> bool:
    shares = value if isinstance(value, list) else [value]
    return bool(shares) and all(_number(0, strict=True)(share) and share < 1 for share in shares)


_SHARE = Key(lambda value: _number(0, strict=True)(value) and value < 1, "a number between 0 and 1")
_FLAG = Key(lambda value: isinstance(value, bool), "true or false")
_MAPPING = Key(lambda value: isinstance(value, dict), "a mapping of names to specifications")
_ATTRIBUTES = Key(
    lambda value: isinstance(value, str) or _names(value) or (isinstance(value, dict) and bool(value)),
    "a list of names such as [gender,age], or a mapping of names to specifications",
)
_PATH = Key(lambda value: isinstance(value, str | os.PathLike) and bool(str(value)), "a path")
_POSITIVE = Key(_number(0, strict=True), "a number > 0")

#: What can be attacked of a model, in the order in which it is; see :mod:`recbole_aia.model.exposures`.
VIEWS = ("served", "table", "both", "top_k", "scores", "profile")
#: The view that no defense of a model changes. It says how much there is to infer, and is no leak of the model.
CEILING = "profile"

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
    "stage": _optional(_one_of("in", "post")),
    "target": _optional(_one_of("table", "tower", "released")),
    "holdout_users": _optional(_SHARE),
    "reuse_undefended": _FLAG,
    "output_dir": _optional(_PATH),
    "init_checkpoint": _optional(_PATH),
    "protocol": _one_of("default", "raid", "attrcloak", "oktton", "strict"),
    "attackers": _optional(Key(lambda value: isinstance(value, str) or _names(value), "an attacker or a list of them")),
    "attack_views": _optional(Key(lambda value: isinstance(value, str) or _names(value), "a view or a list of them")),
    "attack_folds": _optional(Key(_count(2), "a whole number >= 2")),
    "attack_repeats": _optional(Key(_count(1), "a whole number >= 1")),
    "attack_leak_ratios": _optional(Key(_shares, "a share in (0, 1) or a list of them")),
    "attack_permutations": Key(_count(20), "a whole number >= 20"),
    "attack_every": _optional(Key(_count(1), "a whole number >= 1, or ~ for never")),
    "attack_jobs": _optional(Key(_count(1), "a whole number >= 1")),
    "raid_eta": Key(_number(0), "a number >= 0"),
    "raid_tau": Key(_number(0), "a number >= 0"),
    "raid_atoms": Key(_count(2), "a whole number >= 2"),
    "raid_phase1_epochs": _optional(Key(_count(0), "a whole number >= 0")),
    "raid_refresh_epochs": Key(_count(1), "a whole number >= 1"),
    "raid_coupling": _one_of("auto", "kl_projection", "semi_dual", "exact"),
    "raid_epsilon": Key(_POSITIVE.accepts, "a number > 0"),
    "raid_batch_users": Key(_count(2), "a whole number >= 2"),
    "calibrate": _FLAG,
    "attrcloak_mode": _one_of("data_dependent", "data_free"),
    "attrcloak_weighting": _one_of("auto", "mgda", "mgda_normalised", "fixed"),
    "attrcloak_alpha": Key(_number(0, 1), "a number from 0 to 1"),
    "attrcloak_covariance": _one_of("ledoit_wolf", "ridge", "full"),
    "attrcloak_displacement": _one_of("relative", "sum"),
    "calibrated_epochs": _optional(Key(_count(1), "a whole number >= 1")),
    "calibrated_steps": Key(_count(1), "a whole number >= 1"),
    "calibrated_mode": _one_of("data_free", "data_dependent"),
    "calibrated_post_epochs": Key(_count(1), "a whole number >= 1"),
    "calibrated_exact_users": Key(_count(0), "a whole number >= 0"),
    "u2u_regularization": Key(_number(0), "a number >= 0"),
    "u2u_weight": Key(_number(0), "a number >= 0"),
    "d2d_regularization": Key(_number(0), "a number >= 0"),
    "d2d_weight": Key(_number(0), "a number >= 0"),
    "dp_mechanism": _one_of("gaussian", "laplace"),
    "dp_epsilon": _POSITIVE,
    "dp_delta": _SHARE,
    "dp_clip": _POSITIVE,
    "noise_scale": _POSITIVE,
    "unlearn_learning_rate": _POSITIVE,
    "unlearn_max_steps": Key(_count(1), "a whole number >= 1"),
    "unlearn_tolerance": Key(_number(0), "a number >= 0"),
    "unlearn_patience": Key(_count(1), "a whole number >= 1"),
}


def check_values(values: Mapping[str, Any]) -> None:
    """Raises :class:`ConfigValueError` for a value that its key (one of ours) does not accept."""
    for name, key in KEYS.items():
        if name in values and not key.accepts(values[name]):
            raise ConfigValueError(f"{name} is {values[name]!r}. It must be {key.expected}.")
