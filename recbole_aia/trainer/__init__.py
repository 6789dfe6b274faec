"""Trainers, one per defense, and the run of one training."""

from recbole_aia.trainer.base import DefenseTrainer, LossTerm, Phase, UndefendedTrainer
from recbole_aia.trainer.raid import RAIDTrainer
from recbole_aia.trainer.run import TRAINERS, Trained, train, undefended_twin

__all__ = [
    "TRAINERS",
    "DefenseTrainer",
    "LossTerm",
    "Phase",
    "RAIDTrainer",
    "Trained",
    "UndefendedTrainer",
    "train",
    "undefended_twin",
]
