"""The job ``run``: trains with and without a defense, attacks both, and writes the results."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recbole.utils import set_color
from torch import nn

from recbole_aia.config.aia_config import AIAConfig
from recbole_aia.config.text import refuse_special
from recbole_aia.config.types import FloatArray
from recbole_aia.data import (
    LabelTable,
    check_dataset,
    files_digest,
    interactions_by_user,
    load_labels,
    unseen_users,
)
from recbole_aia.errors import AttributeDataError, ConfigValueError
from recbole_aia.evaluator import AttributeInferenceEvaluator
from recbole_aia.jobs.attacks import attacked, further_attacks, further_evaluators
from recbole_aia.jobs.hook import AttackHook
from recbole_aia.jobs.informed import informed_run
from recbole_aia.jobs.loading import attacked_views, restored_model, training_split
from recbole_aia.jobs.matching import starting_data
from recbole_aia.jobs.results import counted, findings, run_results, tables
from recbole_aia.jobs.tracking import track
from recbole_aia.launch import place
from recbole_aia.model import view_class
from recbole_aia.model.exposures import exposure_names
from recbole_aia.ranks import dismiss, follow, joined
from recbole_aia.report import PAGE, holdout_findings, write_results, write_users
from recbole_aia.storage.checkpoints import load_checkpoint, save_checkpoint
from recbole_aia.storage.files import sha256_of, write_whole
from recbole_aia.storage.plain import plain
from recbole_aia.storage.progress import Progress, check_interrupted, job_digest, nothing_interrupted, progress
from recbole_aia.storage.run_folder import (
    ACTIVITY,
    check_free,
    config_digest,
    config_text,
    kept_place,
    make_folder,
    run_log,
    versions,
    write_activity,
    write_config,
    write_embeddings,
    written_digest,
)
from recbole_aia.storage.snapshots import Answers
from recbole_aia.trainer import (
    DefenseTrainer,
    Trained,
    check_parallel,
    check_target,
    stage_of,
    starting_point,
    train,
    trainer_class,
    undefended_twin,
)
from recbole_aia.trainer.run import Validated

_HOW = "Reproduces the run: recbole-aia run --config_files config.yaml"
_FILES = ("results.json", PAGE, "config.yaml", "checkpoint.pth", "embeddings.npz", ACTIVITY, "users.csv", "run.log")


def run(config: AIAConfig, validated: Validated | None = None) -> dict[str, Any]:
    """Trains a recommender with and without a defense; see :func:`~recbole_aia.quick_start.run_recbole_aia`.

    Args:
        config: the run's configuration.
        validated: of the defended training; see :func:`~recbole_aia.trainer.run.train`.
    """
    found = checked(config)
    with joined(config["device"]) as group:
        if not group.rank:
            return _first(config, *found, validated)
        follow(config, found[0])
    return {"best_valid_score": None, "valid_score_bigger": None, "best_valid_result": {}, "test_result": {}, "aia": {}}


def _first(
    config: AIAConfig,
    data: Any,
    labels: LabelTable,
    unseen: NDArray[np.bool_] | None,
    evaluator: AttributeInferenceEvaluator,
    validated: Validated | None,
) -> dict[str, Any]:
    """The run but for its checks; of several processes the first one does it."""
    folder, settings = _output_dir(config)
    basis = job_digest(data=files_digest(config), start=_start_digest(config), versions=versions())
    with progress(folder, settings, basis, config_text(config)) as kept, run_log(config, folder):
        log = logging.getLogger()
        log.info(sys.argv)
        log.info(config)
        log.info(data)
        results, final = _run(config, data, labels, unseen, evaluator, folder, kept, validated)
        track(config, results)
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


def checked(
    config: AIAConfig,
) -> tuple[Any, LabelTable, NDArray[np.bool_] | None, AttributeInferenceEvaluator]:
    """Finds what is wrong with a run before anything is trained or written.

    Returns:
        RecBole's dataset, the labels, whether each user's labels are held out of the defense, and the evaluator.
    """
    view = view_class(config.model_class)
    if config["target"] is not None and stage_of(config) == "post":
        check_target(view, config["model"], config["target"])
    evaluator = AttributeInferenceEvaluator(config)
    further = further_evaluators(config)
    exposure_names(config["attack_views"])
    data = starting_data(config)
    check_dataset(config, data)
    labels = load_labels(config, data)
    trainer_class(config).check(config, labels.names)
    check_parallel(trainer_class(config), config, place().count)
    unseen = _unseen(config, labels)
    for each in (evaluator, *further.values()):
        for reason in each.attacked_attributes(labels.columns(), data.user_num - 1, labels.classes)[1].values():
            raise AttributeDataError(reason)
    if config["init_checkpoint"]:
        _check_beginning(config, data)
    return data, labels, unseen, evaluator


def _check_beginning(config: AIAConfig, data: Any) -> None:
    """Raises if ``init_checkpoint`` cannot be read or holds another model, before anything is trained."""
    path = Path(config["init_checkpoint"])
    refuse_special(path)
    restored_model(config, training_split(config, data, config["seed"]), load_checkpoint(path), path)


def _unseen(config: AIAConfig, labels: LabelTable) -> NDArray[np.bool_] | None:
    """Whether each user's labels are held out of the defense, ``[n_users - 1]``; ``None`` without ``holdout_users``."""
    share = config["holdout_users"]
    if share is not None and config["defense"] == "none":
        raise ConfigValueError("holdout_users is about labels that a defense has not seen. Choose a --defense.")
    if share is None:
        return None
    unseen = unseen_users(labels, share, config["seed"])
    for name in labels.names:
        seen = labels.column(name)[~unseen]
        if int(seen[seen >= 0].bincount().max()) < 2:
            raise ConfigValueError(
                f"holdout_users is {share}, which leaves a defense one user in each class of '{name}'. "
                "Give a smaller share."
            )
    hidden: NDArray[np.bool_] = unseen[1:].numpy()
    return hidden


def _run(
    config: AIAConfig,
    data: Any,
    labels: LabelTable,
    unseen: NDArray[np.bool_] | None,
    evaluator: AttributeInferenceEvaluator,
    folder: Path,
    kept: Progress,
    validated: Validated | None,
) -> tuple[dict[str, Any], Trained]:
    every = config["attack_every"]

    def watch(trainer: DefenseTrainer) -> AttackHook:
        return AttackHook(trainer, labels, every)

    notes = [*config.unread, *labels.remarks()]
    if stage_of(config) == "post" and config["init_checkpoint"]:
        checkpoint = Path(config["init_checkpoint"])
        before = starting_point(config, data, checkpoint)
        notes.append(f"undefended is the model in '{checkpoint}', from which the defense has started")
    else:
        before, checkpoint = undefended_twin(config, data, watch if every else None, kept.stage("undefended"))
    states, checkpoints = {"undefended": before}, {"undefended": checkpoint, "defended": folder / "checkpoint.pth"}
    if config["defense"] != "none":
        origin = checkpoint if stage_of(config) == "post" else None
        states["defended"] = train(
            config, data, folder / "checkpoint.pth", watch if every else None, origin, kept.stage("defended"), validated
        )
        if states["defended"].interactions != before.interactions:
            raise AssertionError("the defended and the undefended run have seen different interactions")
    else:
        state = {**load_checkpoint(checkpoint), "config": plain(config.final_config_dict)}
        del state["aia"]
        save_checkpoint(state, folder / "checkpoint.pth")
    start = time.perf_counter()
    seen = []
    for name, trained in states.items():
        views, said = _views(config, data, name, trained, checkpoints[name])
        notes += said
        seen += [(name, view, vectors) for view, vectors in views.items()]
    answers = {"undefended": _twin_answers(config, checkpoint) or kept.answers(), "defended": kept.answers()}
    every = attacked(evaluator, seen, labels, answers)
    report = counted(every, config)
    further = further_attacks(config, states, labels, answers)
    seconds = {f"train_{state}": trained.seconds for state, trained in states.items()}
    seconds["attack"] = time.perf_counter() - start
    activity, said = interactions_by_user(data), list(dict.fromkeys(notes))
    start = time.perf_counter()
    informed = informed_run(evaluator, states, labels, report, activity)
    seconds["informed"] = time.perf_counter() - start
    dismiss()
    results = {**run_results(config, data, labels, states, every, seconds, said), **findings(report, activity)}
    if unseen is not None:
        results["holdout"] = holdout_findings(report, unseen, config["holdout_users"])
    if informed is not None:
        results["informed"] = informed
    if further:
        results["further_attacks"] = further
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


def _twin_answers(config: AIAConfig, checkpoint: Path) -> Answers | None:
    """What attackers have answered about the undefended twin, kept beside it for the next defense.

    ``None`` where there is no such place: the run starts from a model of the user's, wants no reuse, or wants no file
    from which labels can be read.
    """
    kept = config["init_checkpoint"] is None and config["reuse_undefended"] and not config["no_labels_out"]
    basis = job_digest(versions=versions())[:8]  # of the attackers' libraries
    return Answers(checkpoint.with_suffix(f".{basis}.attacks")) if kept else None


def _output_dir(config: AIAConfig) -> tuple[Path, str]:
    """Makes the run's folder, and gives the digest of its settings; refuses a folder that holds another run."""
    digest = config_digest(config_text(config))
    folder = Path(config["output_dir"] or kept_place(config))
    interrupted = check_interrupted(folder, digest)
    if config["resume"] and not interrupted:
        raise nothing_interrupted(folder)
    if written_digest(folder) != digest and not interrupted:
        check_free(folder, _FILES)
    checkpoints = Path(config["checkpoint_dir"])
    is_new = not checkpoints.exists()
    make_folder(checkpoints, "--checkpoint_dir")
    try:
        make_folder(folder)
    except ConfigValueError:
        if is_new:
            checkpoints.rmdir()
        raise
    return folder, digest


def _start_digest(config: AIAConfig) -> str | None:
    """The SHA-256 of the checkpoint from which a run starts; ``None`` if it starts from none that can be read."""
    start = config["init_checkpoint"]
    return sha256_of(Path(start)) if start and Path(start).is_file() else None
