"""Optuna's part of a sweep: which settings are tried next, and which training ends early. It needs ``optuna``."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import OptunaError
from optuna.pruners import BasePruner
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from recbole_aia.config.search import Choices, Domain
from recbole_aia.errors import ConfigValueError
from recbole_aia.storage.files import private_file

_NAME = "sweep"
_FEWEST = 5  # finished trials within the bound that a median is taken of, as many as in Optuna's own pruner


class MedianWithin(BasePruner):
    """Ends a training whose validation score is below the median of the trials within the bound, at the same epoch.

    Optuna's own median is of all trials. The best scores are those of the least defended, so it would end just the
    trials that are within the bound.
    """

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """See ``optuna.pruners.BasePruner``."""
        epoch = trial.last_step
        finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        within = [each.intermediate_values for each in finished if _is_within(each)]
        scores = [values[epoch] for values in within if epoch in values]
        return epoch is not None and len(scores) >= _FEWEST and trial.intermediate_values[epoch] < median(scores)


def _is_within(trial: FrozenTrial) -> bool:
    return all(value <= 0 for value in trial.constraints.values())


def open_study(file: Path, digest: str) -> optuna.Study:
    """The study in an SQLite file, which is made if it is missing.

    Args:
        file: the file.
        digest: of all that decides what the trials find.

    Raises:
        ConfigValueError: the file holds something else, or the study of another sweep.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if not file.exists():
        private_file(file)
    try:
        # The file does not go by the URL, where ? and % have meanings.
        engine: dict[str, Any] = {"creator": partial(sqlite3.connect, file, check_same_thread=False)}
        study = optuna.create_study(
            storage=optuna.storages.RDBStorage("sqlite:///study.db", engine_kwargs=engine),
            study_name=_NAME,
            direction="maximize",
            pruner=MedianWithin(),
            load_if_exists=True,
        )
        held = study.user_attrs.get("digest", digest)
        study.set_user_attr("digest", digest)
    except (OptunaError, SQLAlchemyError) as error:
        raise ConfigValueError(f"'{file}' cannot be read as a study of Optuna. Give another --output_dir.") from error
    if held != digest:
        raise ConfigValueError(f"'{file.parent}' holds another sweep. Give another --output_dir, or remove it.")
    return study


def tried(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that are over, in their order."""
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]


def next_trial(study: optuna.Study, domains: Mapping[str, Domain], seed: int) -> tuple[Trial, dict[str, Any]]:
    """The trial that was interrupted, or else a new one; and its values by key.

    A trial's random numbers are drawn by the seed and the trial's number. So a sweep that was interrupted tries what it
    would have tried.
    """
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    number = running[0].number if running else len(study.get_trials(deepcopy=False))
    study.sampler = TPESampler(seed=int(np.random.SeedSequence([seed, number]).generate_state(1)[0]))
    # Optuna has no other way to take up a trial again; under a new number it would be sampled anew.
    trial = Trial(study, running[0]._trial_id) if running else study.ask()
    return trial, {name: _suggested(trial, name, domain) for name, domain in domains.items()}


def _suggested(trial: Trial, name: str, domain: Domain) -> Any:
    if isinstance(domain, Choices):
        return trial.suggest_categorical(name, domain.values)
    if domain.whole:
        return trial.suggest_int(name, int(domain.low), int(domain.high), log=domain.log)
    return trial.suggest_float(name, domain.low, domain.high, log=domain.log)
