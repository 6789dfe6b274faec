"""The job ``run``: trains with and without a defense, attacks both, and writes the results."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from recbole.utils import set_color
from torch import nn

from recbole_aia.config.aia_config import AIAConfig
from recbole_aia.config.types import FloatArray
from recbole_aia.data import LabelTable, create_dataset, interactions_by_user, load_labels, unseen_users
from recbole_aia.errors import AttributeDataError, ConfigValueError
from recbole_aia.evaluator import AttackReport, AttributeInferenceEvaluator
from recbole_aia.jobs.hook import AttackHook
from recbole_aia.jobs.informed import informed_run
from recbole_aia.jobs.loading import attacked_views, restored_model, training_split
from recbole_aia.jobs.results import counted, findings, run_results, tables
from recbole_aia.model import view_class
from recbole_aia.model.exposures import exposure_names
from recbole_aia.report import holdout_findings, write_results, write_users
from recbole_aia.storage.checkpoints import load_checkpoint
from recbole_aia.storage.files import write_whole
from recbole_aia.storage.plain import plain
from recbole_aia.storage.run_folder import (
    ACTIVITY,
    check_free,
    config_digest,
    config_text,
    make_folder,
    run_log,
    write_activity,
    write_config,
    write_embeddings,
    written_digest,
)
from recbole_aia.trainer import DefenseTrainer, Trained, stage_of, starting_point, train, trainer_class, undefended_twin

_HOW = "Reproduces the run: recbole-aia run --config_files config.yaml"
_FILES = ("results.json", "config.yaml", "checkpoint.pth", "embeddings.npz", ACTIVITY, "users.csv", "run.log")


def run(config: AIAConfig) -> dict[str, Any]:
    """Trains a recommender with and without a defense; see :func:`~recbole_aia.quick_start.run_recbole_aia`."""
    view_class(config.model_class)
    evaluator = AttributeInferenceEvaluator(config)
    exposure_names(config["attack_views"])
    data = create_dataset(config)
    labels = load_labels(config, data)
    trainer_class(config).check(config, labels.names)
    unseen = _unseen(config, labels)
    for reason in evaluator.attacked_attributes(labels.columns(), data.user_num - 1, labels.classes)[1].values():
        raise AttributeDataError(reason)
    folder = _output_dir(config)
    with run_log(config, folder):
        log = logging.getLogger()
        log.info(sys.argv)
        log.info(config)
        log.info(data)
        results, final = _run(config, data, labels, unseen, evaluator, folder)
        log.info(set_color("best valid ", "yellow") + f": {final.valid_result}")
        log.info(set_color("test result", "yellow") + f": {final.test_result}")
    print(f"\n{tables(results)}\nresults in {folder}/")
    return {
        "best_valid_score": final.valid_result.get(config["valid_metric"].lower()),
        "valid_score_bigger": config["valid_metric_bigger"],
        "best_valid_result": final.valid_result,
        "test_result": final.test_result,
        "aia": results,
    }


def _unseen(config: AIAConfig, labels: LabelTable) -> NDArray[np.bool_] | None:
    """Whether each user's labels are held out of the defense, ``[n_users - 1]``; ``None`` without ``holdout_users``."""
    share = config["holdout_users"]
    if share is not None and config["defense"] == "none":
        raise ConfigValueError("holdout_users is about labels that a defense has not seen. Choose a --defense.")
    return None if share is None else unseen_users(labels, share, config["seed"])[1:].numpy()


def _run(
    config: AIAConfig,
    data: Any,
    labels: LabelTable,
    unseen: NDArray[np.bool_] | None,
    evaluator: AttributeInferenceEvaluator,
    folder: Path,
) -> tuple[dict[str, Any], Trained]:
    every = config["attack_every"]

    def watch(trainer: DefenseTrainer) -> AttackHook:
        return AttackHook(trainer, labels, every)

    notes = list(config.unread)
    if stage_of(config) == "post" and config["init_checkpoint"]:
        checkpoint = Path(config["init_checkpoint"])
        before = starting_point(config, data, checkpoint)
        notes.append(f"undefended is the model in '{checkpoint}', from which the defense has started")
    else:
        before, checkpoint = undefended_twin(config, data, watch if every else None)
    states, checkpoints = {"undefended": before}, {"undefended": checkpoint, "defended": folder / "checkpoint.pth"}
    if config["defense"] != "none":
        origin = checkpoint if stage_of(config) == "post" else None
        states["defended"] = train(config, data, folder / "checkpoint.pth", watch if every else None, origin)
        if states["defended"].interactions != before.interactions:
            raise AssertionError("the defended and the undefended run have seen different interactions")
    else:
        state = {**load_checkpoint(checkpoint), "config": plain(config.final_config_dict)}
        del state["aia"]
        write_whole(folder / "checkpoint.pth", lambda aside: torch.save(state, aside))
    start = time.perf_counter()
    reports = []
    for name, trained in states.items():
        views, said = _views(config, data, name, trained, checkpoints[name])
        notes += said
        reports += [
            evaluator.evaluate(vectors, labels.columns(), class_names=labels.classes, state=name, view=view)
            for view, vectors in views.items()
        ]
    every = AttackReport.concat(reports)
    report = counted(every, config)
    seconds = {f"train_{state}": trained.seconds for state, trained in states.items()}
    seconds["attack"] = time.perf_counter() - start
    activity, said = interactions_by_user(data), list(dict.fromkeys(notes))
    start = time.perf_counter()
    informed = informed_run(evaluator, states, labels, report, activity)
    seconds["informed"] = time.perf_counter() - start
    results = {**run_results(config, data, labels, states, every, seconds, said), **findings(report, activity)}
    if unseen is not None:
        results["holdout"] = holdout_findings(report, unseen, config["holdout_users"])
    if informed is not None:
        results["informed"] = informed
    final, tokens = list(states.values())[-1], np.asarray(data.field2id_token[data.uid_field][1:], dtype=np.str_)
    vectors = final.served.numpy(), None if final.table is None else final.table.numpy()
    write_whole(folder / "embeddings.npz", lambda aside: write_embeddings(aside, tokens, *vectors))
    write_whole(folder / ACTIVITY, lambda aside: write_activity(aside, tokens, activity))
    users = report.users(tokens, activity)
    write_users(users, folder / "users.csv", no_labels_out=config["no_labels_out"])
    write_config(config, folder, _HOW)
    write_results(results, folder / "results.json")
    return results, final


def _views(
    config: AIAConfig, data: Any, state: str, trained: Trained, checkpoint: Path
) -> tuple[dict[str, FloatArray], list[str]]:
    """The attacked views of a state, and notes. What both states have in common is attacked once."""

    def model() -> tuple[nn.Module, Any]:
        training = training_split(config, data, config["seed"])
        return restored_model(config, training, load_checkpoint(checkpoint), checkpoint), training

    return attacked_views(config, trained, model, references=state == "undefended")


def _output_dir(config: AIAConfig) -> Path:
    """Makes the run's folder; refuses a folder that holds another run."""
    digest = config_digest(config_text(config))
    name = f"{config['model']}-{config['dataset']}-{config['defense']}-seed{config['seed']}-{digest}"
    folder = Path(config["output_dir"] or Path("runs") / name)
    if written_digest(folder) != digest:
        check_free(folder, _FILES)
    for place in (folder, Path(config["checkpoint_dir"])):
        make_folder(place, "--output_dir and --checkpoint_dir")
    return folder
