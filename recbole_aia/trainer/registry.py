"""The defenses, and the trainer of each at each stage."""

from __future__ import annotations

from typing import Any

from recbole_aia.errors import ConfigValueError
from recbole_aia.trainer.attrcloak import AttrCloakUnlearner
from recbole_aia.trainer.base import DefenseTrainer, UndefendedTrainer
from recbole_aia.trainer.calibrated import CalibratedTrainer, CalibratedUnlearner
from recbole_aia.trainer.noise import DPTrainer, NoiseTrainer
from recbole_aia.trainer.pairs import D2DTrainer, D2DUnlearner, U2UTrainer, U2UUnlearner
from recbole_aia.trainer.raid import RAIDPostTrainer, RAIDTrainer

#: The trainer of a defense by stage; the first is the default.
TRAINERS: dict[str, dict[str, type[DefenseTrainer]]] = {}
for _trainer in (
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
    DPTrainer,
    NoiseTrainer,
):
    TRAINERS.setdefault(_trainer.defense, {})[_trainer.stage] = _trainer


def trainer_class(config: Any) -> type[DefenseTrainer]:
    """The trainer of the configured ``defense`` and ``stage``.

    Raises:
        ConfigValueError: the defense has no such stage.
    """
    defense, stage = config["defense"], config["stage"]
    stages = TRAINERS[defense]
    if stage is not None and stage not in stages:
        raise ConfigValueError(
            f"the defense '{defense}' has no stage '{stage}', only {', '.join(stages)}. Leave it out."
        )
    return stages[stage or next(iter(stages))]


def stage_of(config: Any) -> str:
    """``none``, ``in`` or ``post``: the stage at which the configured defense works, as results.json has it."""
    return "none" if config["defense"] == "none" else trainer_class(config).stage
