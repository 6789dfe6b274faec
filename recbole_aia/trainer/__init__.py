"""Trainers, one per defense, and the run of one training."""

from recbole_aia.trainer.attrcloak import AttrCloakUnlearner
from recbole_aia.trainer.base import DefenseTrainer
from recbole_aia.trainer.calibrated import CalibratedTrainer
from recbole_aia.trainer.calibrated_post import CalibratedUnlearner
from recbole_aia.trainer.parallel import check_parallel
from recbole_aia.trainer.phases import LossTerm, Phase, RecordableTerm
from recbole_aia.trainer.post import Unlearner, UnlearningTask
from recbole_aia.trainer.raid import RAIDTrainer
from recbole_aia.trainer.registry import register_defense, stage_of, trainer_class, unlearners
from recbole_aia.trainer.run import Trained, starting_point, train, undefended_twin
from recbole_aia.trainer.targets import Target, check_target
from recbole_aia.trainer.undefended import UndefendedTrainer

__all__ = [
    "AttrCloakUnlearner",
    "CalibratedTrainer",
    "CalibratedUnlearner",
    "DefenseTrainer",
    "LossTerm",
    "Phase",
    "RAIDTrainer",
    "RecordableTerm",
    "Target",
    "Trained",
    "UndefendedTrainer",
    "Unlearner",
    "UnlearningTask",
    "check_parallel",
    "check_target",
    "register_defense",
    "stage_of",
    "starting_point",
    "train",
    "trainer_class",
    "undefended_twin",
    "unlearners",
]
