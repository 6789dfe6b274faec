"""Attacks and evaluates a model before and after the requests of a ledger; reports users who asked apart."""

from __future__ import annotations

import copy
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from recbole.utils import init_seed

from recbole_aia.config.small import shown_count
from recbole_aia.data import LabelTable, interactions_by_user, prepare_loaders
from recbole_aia.evaluator import AttackReport, AttributeInferenceEvaluator
from recbole_aia.jobs.informed import informed_run
from recbole_aia.jobs.loading import LoadedRun, attacked_views
from recbole_aia.jobs.results import counted, run_results
from recbole_aia.jobs.tracking import track
from recbole_aia.model import restore, scores_users
from recbole_aia.report.four_views import four_views
from recbole_aia.storage.plain import plain
from recbole_aia.storage.snapshots import random_states, restore_random
from recbole_aia.trainer import Trained, Unlearner
from recbole_aia.trainer.per_user import evaluated
from recbole_aia.trainer.run import snapshot
from recbole_aia.unlearning.requests import Request, who_asked

_FEW = 100  # below this many asking users of a class, a note says that the result for them is uncertain; ours


def serve_and_compare(
    run: LoadedRun,
    trainer: Unlearner,
    requests: Sequence[Request],
    labels: LabelTable,
    evaluator: AttributeInferenceEvaluator,
    trained_in: float | None = None,
) -> tuple[dict[str, Any], Trained]:
    """Serves the requests; returns the content of results.json, and the model after the requests.

    ``trained_in`` are the seconds that the base took to train, if they are known.
    """
    config, dataset = run.config, run.dataset
    init_seed(config["seed"], config["reproducibility"])
    train_data, _, test_data = prepare_loaders(config, copy.deepcopy(dataset), scores_users=scores_users(config))
    before = snapshot(trainer, train_data, None, evaluated(trainer, test_data, load_best_model=False))
    views, notes = {}, [*config.unread, *labels.remarks()]

    def look(state: str, now: Trained, *, references: bool) -> None:
        views[state], said = attacked_views(config, now, lambda: (run.model, run.training), references=references)
        notes.extend(said)

    look("undefended", before, references=True)
    records, spent = _served(trainer, requests, labels, train_data, test_data)
    seconds = {"unlearn": spent}
    after = snapshot(trainer, train_data, None, evaluated(trainer, test_data, load_best_model=False))
    look("defended", after, references=False)
    trainer.view.clear_caches()
    states, start = {"undefended": before, "defended": after}, time.perf_counter()
    pairs = [(state, view, vectors) for state, seen in views.items() for view, vectors in seen.items()]
    every = evaluator.evaluate_views(pairs, labels.columns(), class_names=labels.classes)
    seconds["attack"] = time.perf_counter() - start
    asked = {name: who_asked(trainer.history, name, dataset.user_num).numpy() for name in labels.names}
    notes += [f"guarantee: {record['guarantee']}" for record in records[:1] if "guarantee" in record]
    notes += _few(asked, labels)
    results = run_results(config, dataset, labels, states, every, seconds, list(dict.fromkeys(notes)))
    report = counted(every, config)
    activity = interactions_by_user(dataset)
    # The check of the difference; an attribute that nobody asked for has not been hidden.
    hidden = {name: users for name, users in asked.items() if users.any()}
    if hidden:
        told = replace(labels, labels=labels.labels[:, [labels.names.index(n) for n in hidden]], names=tuple(hidden))
        informed = informed_run(evaluator, states, told, report, activity, hidden)
        results |= {} if informed is None else {"informed": informed}
    per_user = {state: {k: v.numpy() for k, v in each.per_user.items()} for state, each in states.items()}
    spent_on = {"unlearning": spent, "training": trained_in}
    results["four_views"] = four_views(asked, report, per_user, results.get("fairness", {}), spent_on)
    results["groups"] = _groups(asked, report, views["undefended"].keys() & views["defended"].keys())
    # results.json gets the number of users who asked. Their names stay in the ledger and the checkpoint, which later
    # requests need.
    unlearned = ({**record, "users": record["users"] and len(record["users"])} for record in trainer.history)
    results["unlearned"] = plain(list(unlearned))
    track(config, results)
    return results, after


def _served(
    trainer: Unlearner, requests: Sequence[Request], labels: LabelTable, train_data: Any, test_data: Any
) -> tuple[list[dict[str, Any]], float]:
    """Serves the requests, unless an interrupted job had served them; returns their records, and seconds."""
    if not requests:
        return [], 0.0
    kept = None if trainer.snapshots is None else trainer.snapshots.last()
    generators = [getattr(loader, "generator", None) for loader in (train_data, test_data)]
    if kept is not None and "records" in kept:
        restore(trainer.model, kept, "the interrupted unlearning")
        restore_random(kept["random"], *generators)
        return kept["records"], kept["seconds"]
    start, before = time.perf_counter(), len(trainer.history)
    records = trainer.serve(requests, labels, train_data if trainer.uses_interactions else None)
    seconds = time.perf_counter() - start
    if trainer.snapshots is not None:
        trainer.snapshots.save(
            {
                "state_dict": trainer.model.state_dict(),
                "other_parameter": trainer.model.other_parameter(),
                "unlearned": plain(trainer.history),
                "records": plain(trainer.history[before:]),
                "seconds": seconds,
                "random": random_states(*generators),
            }
        )
    return records, seconds


def _groups(asked: Mapping[str, np.ndarray], report: AttackReport, views: Collection[str]) -> list[dict[str, Any]]:
    """What attackers gain on users who asked to hide an attribute, and on the others, if there are both."""
    return [
        {"users": users, **row}
        for name, mask in asked.items()
        if mask.any() and not mask.all()
        for users, group in (("asked", mask), ("did_not_ask", ~mask))
        for row in report.where(attribute=name).among(group)
        if row["view"] in views
    ]


def _few(asked: Mapping[str, np.ndarray], labels: LabelTable) -> list[str]:
    """A note on each attribute of which few users of some class ask."""
    notes = []
    for name, column in labels.columns().items():
        own, names = column[asked[name] & (column >= 0)], labels.classes[name]
        counts = zip(names, np.bincount(own, minlength=len(names)), strict=True)
        few = [f"{label} {shown_count(int(count))}" for label, count in counts if count < _FEW]
        if few and asked[name].any() and not asked[name].all():
            notes.append(f"few who asked, {name} {', '.join(few)}: what is hidden of them is uncertain")
    return notes
