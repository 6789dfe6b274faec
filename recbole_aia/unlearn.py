"""Unlearning on a checkpoint: requests go into a ledger, and the protected model is made from the base again."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.utils import init_seed

from recbole_aia.compat import plain
from recbole_aia.data import LabelTable, interactions_by_user, load_labels, prepare_loaders
from recbole_aia.data.askers import find_users
from recbole_aia.errors import AttributeDataError, ConfigValueError
from recbole_aia.evaluator import AttackReport, AttributeInferenceEvaluator
from recbole_aia.files import write_whole
from recbole_aia.ledger import FILE, Ledger, sha256
from recbole_aia.model import scores_users
from recbole_aia.quick_start import run_results, write_embeddings
from recbole_aia.report import attack_table, utility_table, verdict, write_results
from recbole_aia.runs import LoadedRun, load_run, make_folder
from recbole_aia.text import parse_value
from recbole_aia.trainer import PostTrainer, Trained, trainer_class
from recbole_aia.trainer.requests import Wish

_FEW = 100  # users of a class who ask, below which what is hidden of them is little more than a guess


@dataclass(frozen=True)
class Asked:
    """What a request names on the command line: attributes as YAML, and users as a file or a kind and share."""

    attributes: str
    users: str | None = None

    def specs(self) -> dict[str, Any]:
        """Specifications by name."""
        value = parse_value(self.attributes)
        names = [value] if isinstance(value, str) else value
        if not names or not (isinstance(names, dict) or all(isinstance(name, str) for name in names)):
            raise ConfigValueError(f"--attributes={self.attributes} names nothing. Write '--attributes=[gender]', say.")
        return dict(names) if isinstance(names, dict) else dict.fromkeys(names)


def begin(
    checkpoint: Path, defense: str, asked: Asked, folder: Path, trust_checkpoint: bool = False, argv: Sequence[str] = ()
) -> dict[str, Any]:
    """Serves a first request on a checkpoint, and opens a ledger for it.

    Args:
        checkpoint: of recbole-aia, or RecBole's own with ``trust_checkpoint``. It is never written to.
        defense: one that works after training.
        asked: the request.
        folder: for checkpoint.pth, embeddings.npz, results.json and ledger.json.
        trust_checkpoint: whether the checkpoint may hold pickled objects, which can run code.
        argv: ``--key=value`` arguments, kept in the ledger.

    Returns:
        The content of results.json.

    Raises:
        AIAError: whatever the user can mend; nothing is written then.
    """
    held = [name for name in (FILE, "checkpoint.pth", "results.json", "embeddings.npz") if (folder / name).exists()]
    if held:
        hint = "Write --add to add a request to it" if FILE in held else "Give another --output_dir"
        raise ConfigValueError(f"'{folder}' holds a {held[0]} already. {hint}, or remove it.")
    checkpoint = checkpoint / "checkpoint.pth" if checkpoint.is_dir() else checkpoint
    ledger = Ledger(str(checkpoint.resolve()), sha256(checkpoint), defense, tuple(argv), trust_checkpoint)
    return _rebuild(ledger, folder, asked)


def add(folder: Path, asked: Asked) -> dict[str, Any]:
    """Adds a request to the ledger in a folder; see :func:`begin`."""
    return _rebuild(Ledger.read(folder), folder, asked)


def withdraw(folder: Path, number: int) -> dict[str, Any]:
    """Withdraws a request: the model becomes bit by bit what it would be had the request never been made."""
    return _rebuild(Ledger.read(folder).withdrawn(number), folder, None)


def _rebuild(ledger: Ledger, folder: Path, asked: Asked | None) -> dict[str, Any]:
    ledger.check_base()
    if asked is None:
        run = _load(ledger)
    else:
        # Users are found in the dataset that the base's configuration names.
        run = _load(ledger.added(asked.specs(), None))
        users = None if asked.users is None else find_users(asked.users, run.dataset, run.config["seed"])
        ledger = ledger.added(asked.specs(), users)
    labels, evaluator = load_labels(run.config, run.dataset), AttributeInferenceEvaluator(run.config)
    for reason in evaluator.targets(labels.columns(), run.dataset.user_num - 1, labels.classes)[1].values():
        raise AttributeDataError(reason)
    make_folder(folder)
    protected = _Protected(run, ledger, labels, evaluator)
    results = protected.results
    write_whole(folder / "checkpoint.pth", lambda aside: torch.save(protected.state, aside))
    activity, tokens = interactions_by_user(run.dataset), run.dataset.field2id_token[run.dataset.uid_field][1:]
    names = np.asarray(tokens, dtype=np.str_)
    write_whole(folder / "embeddings.npz", lambda aside: write_embeddings(aside, names, activity, protected.after))
    write_results(results, folder / "results.json")
    ledger.write(folder)
    print(f"{ledger}\n\n{attack_table(results)}\n{verdict(results)}\n\n{utility_table(results)}")
    for note in protected.notes:
        print(note)
    print(f"results in {folder}/")
    return results


def _load(ledger: Ledger) -> LoadedRun:
    names = ledger.attributes()
    argv = [*ledger.arguments, f"--defense={ledger.defense}"]
    argv += [f"--attributes={json.dumps(names)}"] if names else []
    return load_run(ledger.base, trust_checkpoint=ledger.trust_checkpoint, argv=argv)


class _Protected:
    """The base model before and after the ledger's requests, attacked and evaluated."""

    def __init__(
        self, run: LoadedRun, ledger: Ledger, labels: LabelTable, evaluator: AttributeInferenceEvaluator
    ) -> None:
        config, dataset, model = run.config, run.dataset, run.model
        self.labels, self.evaluator, self.notes = labels, evaluator, list[str]()
        wishes = _wishes(ledger, dataset)
        trainer = _trainer(config, model, ledger)
        init_seed(config["seed"], config["reproducibility"])
        loaders = prepare_loaders(config, copy.deepcopy(dataset), scores_users=scores_users(config))
        before = self._trained(trainer, loaders[2], 0.0)
        start = time.perf_counter()
        if wishes:
            trainer.serve(wishes, labels, loaders[0] if trainer.uses_interactions else None)
        self.after = self._trained(trainer, loaders[2], time.perf_counter() - start)
        self.state = _state(trainer)
        states = {"undefended": before, "defended": self.after}
        start = time.perf_counter()
        report = AttackReport.concat(
            evaluator.evaluate(t.served.numpy(), labels.columns(), class_names=labels.classes, state=state)
            for state, t in states.items()
        )
        seconds = {"unlearn": self.after.seconds, "attack": time.perf_counter() - start}
        self.results = run_results(config, dataset, labels, states, report, seconds, [])
        self.results["unlearned"] = plain(trainer.history)
        self.notes += [f"guarantee: {r['guarantee']}" for r in trainer.history[-1:] if "guarantee" in r]
        asked = _everybody(wishes, dataset.user_num)
        if wishes and not asked.all():
            self._say_who_asked(asked, states)

    def _trained(self, trainer: PostTrainer, test_data: Any, seconds: float) -> Trained:
        test_result = {k: float(v) for k, v in trainer.evaluate(test_data, load_best_model=False).items()}
        with torch.no_grad():
            served, table = trainer.view.served().cpu().clone(), trainer.view.table()
        return Trained(served, None if table is None else table.cpu(), {}, test_result, seconds, "")

    def _say_who_asked(self, asked: np.ndarray, states: dict[str, Trained]) -> None:
        """Attacks those who asked and those who did not apart, as far as there are enough of them."""
        for group, mask in (("asked", asked), ("did not ask", ~asked)):
            columns = {name: column[mask] for name, column in self.labels.columns().items()}
            for name, column in columns.items():
                few = np.bincount(column[column >= 0], minlength=len(self.labels.classes[name]))
                small = [f"{self.labels.classes[name][k]} {n}" for k, n in enumerate(few) if n < _FEW]
                if group == "asked" and small:
                    self.notes.append(f"few who asked, {name} {', '.join(small)}: what is hidden of them is uncertain.")
                names = {name: self.labels.classes[name]}
                for reason in self.evaluator.targets({name: column}, int(mask.sum()), names)[1].values():
                    self.notes.append(f"{name} of those who {group} is not attacked apart: {reason}")
                    break
                else:
                    self._attack_apart(group, mask, name, states)

    def _attack_apart(self, group: str, mask: np.ndarray, name: str, states: dict[str, Trained]) -> None:
        column, names = self.labels.columns()[name][mask], {name: self.labels.classes[name]}
        report = AttackReport.concat(
            self.evaluator.evaluate(t.served.numpy()[mask], {name: column}, class_names=names, state=state)
            for state, t in states.items()
        )
        worst = [report.where(state=state).worst_case()[name] for state in states]
        gains = " -> ".join(f"{case['advantage']:.3f} ({case['attacker']})" for case in worst)
        self.notes.append(f"{name} of the {mask.sum()} who {group}: worst case {gains}")
        self.results["attacks"] += [{**row, "users": group.replace(" ", "_")} for row in report.rows]


def _trainer(config: Any, model: Any, ledger: Ledger) -> PostTrainer:
    trainer = trainer_class(config)(config, model)
    if not isinstance(trainer, PostTrainer):
        raise ConfigValueError(
            f"--defense={ledger.defense} does not unlearn on a checkpoint. Choose attrcloak, for example."
        )
    if ledger.defense == "dp" and ledger.next_id > 2:
        raise ConfigValueError(
            "dp draws fresh noise each time, which would undo its guarantee. Begin with a new folder."
        )
    return trainer


def _wishes(ledger: Ledger, dataset: Any) -> list[Wish]:
    ids = dataset.field2token_id[dataset.uid_field]
    return [
        Wish(
            list(entry.attributes),
            None if entry.users is None else torch.tensor([int(ids[name]) for name in entry.users]),
            entry.when,
        )
        for entry in ledger.requests
    ]


def _everybody(wishes: Sequence[Wish], user_num: int) -> np.ndarray:
    """Who asked for anything, ``[user_num - 1]``."""
    asked = np.zeros(user_num, dtype=bool)
    for wish in wishes:
        asked[slice(1, None) if wish.users is None else wish.users.numpy()] = True
    return asked[1:]


def _state(trainer: PostTrainer) -> dict[str, Any]:
    """What a checkpoint of ours holds."""
    trainer.view.clear_caches()
    return {
        "config": plain(trainer.config.final_config_dict),
        "epoch": 0,
        "cur_step": 0,
        "best_valid_score": 0.0,
        "state_dict": trainer.model.state_dict(),
        "other_parameter": trainer.model.other_parameter(),
        "optimizer": trainer.optimizer.state_dict(),
        **trainer.kept_state,
    }
