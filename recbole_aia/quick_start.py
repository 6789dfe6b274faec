"""The main job: train, defend, attack, report."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from recbole.utils import init_logger, set_color
from recbole.utils.logger import RemoveColorFilter

from recbole_aia._typing import FloatArray
from recbole_aia.checkpoint import load_checkpoint
from recbole_aia.compat import plain
from recbole_aia.config import PRESENTATION_KEYS, AIAConfig
from recbole_aia.data import LabelTable, create_dataset, interactions_by_user, load_labels, unseen_users
from recbole_aia.errors import AttributeDataError, ConfigValueError
from recbole_aia.evaluator import AttackReport, AttributeInferenceEvaluator, coverage
from recbole_aia.files import write_whole
from recbole_aia.hook import AttackHook
from recbole_aia.keys import CEILING
from recbole_aia.model import view_class
from recbole_aia.model.exposures import exposure_names, needs_model, vector_exposures
from recbole_aia.report import (
    SCHEMA,
    attack_table,
    group_table,
    holdout_findings,
    holdout_verdict,
    utility_table,
    verdict,
    worst_cases,
    write_results,
    write_users,
)
from recbole_aia.runs import exposed, findings, kept_values, make_folder, restored_model, training_split, versions
from recbole_aia.text import parse_value, to_yaml
from recbole_aia.trainer import DefenseTrainer, Trained, stage_of, starting_point, train, trainer_class, undefended_twin

_HOW = "Reproduces the run: recbole-aia run --config_files config.yaml"
_FILES = ("results.json", "config.yaml", "checkpoint.pth", "embeddings.npz", "users.csv", "run.log")


def run_recbole_aia(
    model: Any = None,
    dataset: str | None = None,
    config_file_list: Sequence[str | Path] | None = None,
    config_dict: Mapping[str, Any] | None = None,
    argv: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Trains a recommender with and without a defense, attacks both, prints the table and keeps the results.

    Args:
        model: model name or class.
        dataset: dataset name; ml-100k, which RecBole carries, where none is given anywhere.
        config_file_list: YAML files.
        config_dict: values by key.
        argv: ``--key=value`` arguments; ``None`` takes the command line, as RecBole does.

    Returns:
        RecBole's ``best_valid_score``, ``valid_score_bigger``, ``best_valid_result`` and ``test_result`` of the
        final state, and ``aia``: the content of results.json.

    Raises:
        AIAError: whatever the user can mend.
    """
    config = AIAConfig(model, dataset, config_file_list, config_dict, argv)
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


def tables(results: Mapping[str, Any]) -> str:
    """What is printed of a results.json."""
    attributes = [[row for row in results["attacks"] if row["attribute"] == name] for name in results["worst_case"]]
    said = [*results["run"]["notes"], *(line for rows in attributes for line in coverage(rows))]
    notes = "".join(f"note: {note}\n" for note in said)
    groups = f"\n{group_table(results)}\n" if results.get("groups") else ""
    said_apart = f"{apart}\n" if (apart := holdout_verdict(results)) else ""
    return f"{attack_table(results)}\n{verdict(results)}\n{said_apart}{notes}{groups}\n{utility_table(results)}"


def _unseen(config: AIAConfig, labels: LabelTable) -> NDArray[np.bool_] | None:
    """Whose labels are held out of the defense, ``[n_users - 1]``; ``None`` where nobody's are."""
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

    notes = []
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
    report = AttackReport.concat(reports)
    seconds = {f"train_{state}": trained.seconds for state, trained in states.items()}
    seconds["attack"] = time.perf_counter() - start
    activity, said = interactions_by_user(data), list(dict.fromkeys(notes))
    results = {**run_results(config, data, labels, states, report, seconds, said), **findings(report, activity)}
    if unseen is not None:
        results["holdout"] = holdout_findings(report, unseen, config["holdout_users"])
    final, tokens = list(states.values())[-1], np.asarray(data.field2id_token[data.uid_field][1:], dtype=np.str_)
    write_whole(folder / "embeddings.npz", lambda aside: write_embeddings(aside, tokens, activity, final))
    write_users(report.users(tokens, activity), folder / "users.csv")
    write_config(config, folder, _HOW)
    write_results(results, folder / "results.json")
    return results, final


def _views(
    config: AIAConfig, data: Any, state: str, trained: Trained, checkpoint: Path
) -> tuple[dict[str, FloatArray], list[str]]:
    """What is attacked of a state; profiles only once, because both states have learned from the same."""
    names = [name for name in exposure_names(config["attack_views"]) if name != CEILING or state == "undefended"]
    table = None if trained.table is None else trained.table.numpy()
    views, notes = vector_exposures(names, trained.served.numpy(), table)
    if needs_model(names):
        training = training_split(config, data, config["seed"])
        model = restored_model(config, training, load_checkpoint(checkpoint), checkpoint)
        views |= exposed(names, config, model, training)
    return views, notes


def run_results(
    config: AIAConfig,
    data: Any,
    labels: LabelTable,
    states: Mapping[str, Trained],
    report: AttackReport,
    seconds: dict[str, float],
    notes: list[str],
) -> dict[str, Any]:
    """The content of results.json for the states of a model."""
    return {
        "schema": SCHEMA,
        "run": {
            "model": config["model"],
            "dataset": config["dataset"],
            "defense": config["defense"],
            "stage": stage_of(config),
            "seed": config["seed"],
            "attributes": list(labels.names),
            "device": str(config["device"]),
            "versions": versions(),
            "seconds": seconds,
            "notes": notes,
        },
        "data": {
            "n_users": data.user_num - 1,
            "n_items": data.item_num - 1,
            "n_interactions": data.inter_num,
            "attributes": labels.summary(),
        },
        "utility": {state: trained.test_result for state, trained in states.items()},
        "attacks": report.rows,
        "worst_case": worst_cases(report),
    }


def write_embeddings(path: Path, tokens: np.ndarray, activity: np.ndarray, trained: Trained) -> None:
    """Writes the vectors of a model by user token, as an npz file without pickled objects.

    A table beside released vectors stays out: it is the one that they were to replace.
    """
    arrays = {"user_tokens": tokens, "embeddings": trained.served.numpy().astype(np.float32), "interactions": activity}
    if trained.table is not None:
        arrays["table"] = trained.table.numpy().astype(np.float32)
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def write_config(config: AIAConfig, folder: Path, comment: str) -> None:
    """Writes config.yaml, whose first line says what it is for."""
    text = f"# {comment}\n{_config_text(config)}"
    write_whole(folder / "config.yaml", lambda aside: aside.write_text(text, encoding="utf-8"))


def _config_text(config: AIAConfig) -> str:
    return to_yaml(kept_values(config.final_config_dict))


def _output_dir(config: AIAConfig) -> Path:
    """The run's folder, made and writable; one that holds another run is refused."""
    digest = _digest(_config_text(config))
    name = f"{config['model']}-{config['dataset']}-{config['defense']}-seed{config['seed']}-{digest}"
    folder = Path(config["output_dir"] or Path("runs") / name)
    held = [file for file in _FILES if (folder / file).exists()]
    written = folder / "config.yaml"
    if held and not (written.is_file() and _digest(written.read_text(encoding="utf-8")) == digest):
        raise ConfigValueError(f"'{folder}' holds another run's {held[0]}. Give another --output_dir, or remove it.")
    for place in (folder, Path(config["checkpoint_dir"])):
        make_folder(place, "--output_dir and --checkpoint_dir")
    return folder


def _digest(text: str) -> str:
    """Names what a configuration computes, however it is shown and wherever it is kept."""
    values = {key: value for key, value in parse_value(text).items() if key not in PRESENTATION_KEYS}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:6]


@contextmanager
def run_log(config: AIAConfig, folder: Path) -> Iterator[None]:
    """RecBole's logging and the run's own file, taken down at the end so that runs do not mix.

    The file is called run.log when the run is complete and failed.log when it has failed.
    """
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    init_logger(config)
    root.setLevel((config["state"] or "info").upper())
    aside = folder / f".{os.getpid()}.run.log"
    file = logging.FileHandler(aside, mode="w", encoding="utf-8")
    file.addFilter(RemoveColorFilter())
    file.setFormatter(logging.Formatter("%(asctime)-15s %(levelname)s  %(message)s", "%a %d %b %Y %H:%M:%S"))
    root.addHandler(file)
    name = "failed.log"
    try:
        yield
        name = "run.log"
    finally:
        for handler in [h for h in root.handlers if h not in before]:
            root.removeHandler(handler)
            handler.close()
        root.setLevel(level)
        os.replace(aside, folder / name)
