"""Trainers, one per defense, and the run of one training."""

from recbole_aia.trainer.attrcloak import AttrCloakUnlearner
from recbole_aia.trainer.base import DefenseTrainer, LossTerm, Phase, UndefendedTrainer
from recbole_aia.trainer.calibrated import CalibratedTrainer, CalibratedUnlearner
from recbole_aia.trainer.post import PostTrainer
from recbole_aia.trainer.raid import RAIDTrainer
from recbole_aia.trainer.registry import TRAINERS, stage_of, trainer_class
from recbole_aia.trainer.run import Trained, starting_point, train, undefended_twin

__all__ = [
    "TRAINERS",
    "AttrCloakUnlearner",
    "CalibratedTrainer",
    "CalibratedUnlearner",
    "DefenseTrainer",
    "LossTerm",
    "Phase",
    "PostTrainer",
    "RAIDTrainer",
    "Trained",
    "UndefendedTrainer",
    "stage_of",
    "starting_point",
    "train",
    "trainer_class",
    "undefended_twin",
]
