"""Unlearning on a checkpoint: requests go into a ledger, and the protected model is made from the base again."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_aia.checkpoint import load_checkpoint
from recbole_aia.compat import checkpoint_state
from recbole_aia.config import AIAConfig, defense_keys
from recbole_aia.data import LabelTable, files_digest, interactions_by_user
from recbole_aia.data.askers import find_users
from recbole_aia.errors import AIAError, AttributeDataError, CheckpointError, ConfigValueError
from recbole_aia.evaluator import AttributeInferenceEvaluator
from recbole_aia.files import written_together
from recbole_aia.ledger import FILE, Ledger, sha256
from recbole_aia.model.exposures import exposure_names
from recbole_aia.protected import protected
from recbole_aia.quick_start import run_log, tables, write_config, write_embeddings
from recbole_aia.report import write_results
from recbole_aia.runs import (
    LoadedRun,
    bring_back,
    checkpoint_file,
    make_folder,
    plain_state,
    read_state,
    saved_config,
)
from recbole_aia.text import parse_arguments, parse_value
from recbole_aia.trainer import PostTrainer, trainer_class
from recbole_aia.trainer.requests import Wish
from recbole_aia.version import __version__

_BASE = "base.pth"
_FILES = (FILE, "checkpoint.pth", "results.json", "embeddings.npz", "config.yaml", "run.log", _BASE)
_HOW = "The settings of the protected model; what it hides of whom is in ledger.json"


@dataclass(frozen=True)
class Asked:
    """What a request names on the command line: attributes as YAML, and users as a file or a kind and share."""

    attributes: str
    users: str | None = None

    def specs(self) -> dict[str, Any]:
        """Specifications by name."""
        value = parse_value(self.attributes)
        names = [value] if isinstance(value, str) else value
        if not (names and isinstance(names, list | dict) and all(isinstance(name, str) for name in names)):
            raise ConfigValueError(f"--attributes={self.attributes} names nothing. Write '--attributes=[gender]', say.")
        specs = names if isinstance(names, dict) else dict.fromkeys(names)
        try:
            return dict(json.loads(json.dumps(specs)))  # as the ledger gives them back
        except (TypeError, ValueError) as error:
            raise ConfigValueError(
                f"--attributes={self.attributes} holds something else than texts and numbers, such as a date. "
                "Write '--attributes={age: {bins: [30]}}', say."
            ) from error


def begin(
    checkpoint: Path, defense: str, asked: Asked, folder: Path, trust_checkpoint: bool = False, argv: Sequence[str] = ()
) -> dict[str, Any]:
    """Serves a first request on a checkpoint, and opens a ledger for it.

    Args:
        checkpoint: of recbole-aia, or RecBole's own with ``trust_checkpoint``. It is never written to.
        defense: one that works after training.
        asked: the request.
        folder: for the files.
        trust_checkpoint: whether the checkpoint may hold pickled objects, which can run code. It is read once and
            kept as plain data, ``base.pth``.
        argv: ``--key=value`` arguments, kept in the ledger.

    Returns:
        The content of results.json.

    Raises:
        AIAError: whatever the user can mend; nothing is written then.
    """
    held = [name for name in _FILES if (folder / name).exists()]
    if held:
        hint = "Write --add to add a request to it" if FILE in held else "Give another --output_dir"
        raise ConfigValueError(f"'{folder}' holds a {held[0]} already. {hint}, or remove it.")
    if "seed" in parse_arguments(argv):
        raise ConfigValueError(
            "--seed is the trained model's own: another would split the data elsewhere. Leave it out."
        )
    if "holdout_users" in parse_arguments(argv):
        raise ConfigValueError("--holdout_users is for a run. Here, --users says who asks: random:0.8, say.")
    base = checkpoint_file(checkpoint)
    if trust_checkpoint:
        state = plain_state(read_state(base, trust_checkpoint), base)
        return _rebuild(Ledger(_BASE, "", "", defense, tuple(argv)), folder, asked, state)
    return _rebuild(Ledger(str(base.resolve()), sha256(base), "", defense, tuple(argv)), folder, asked)


def add(folder: Path, asked: Asked) -> dict[str, Any]:
    """Adds a request to the ledger in a folder; see :func:`begin`."""
    return _rebuild(standing(folder), folder, asked)


def withdraw(folder: Path, number: int) -> dict[str, Any]:
    """Withdraws a request: the model becomes bit by bit what it would be had the request never been made."""
    ledger = standing(folder)
    return _rebuild(ledger.withdrawn(number), folder, None, before=ledger)


def standing(folder: Path) -> Ledger:
    """The ledger in a folder. Where the model beside it was not made from it, a warning says so.

    Raises:
        ConfigValueError: there is none.
    """
    ledger = Ledger.read(folder)
    try:
        made_from = load_checkpoint(folder / "checkpoint.pth").get("ledger")
    except CheckpointError:
        made_from = None
    if made_from != ledger.digest():
        print(
            f"warning: '{folder / 'checkpoint.pth'}' was not made from the ledger beside it, which has been changed or "
            "was not finished. --add and --withdraw make it anew.",
            file=sys.stderr,
        )
    if ledger.versions and ledger.versions != _versions():
        made, here = (", ".join(f"{name} {v}" for name, v in each.items()) for each in (ledger.versions, _versions()))
        print(
            f"warning: the model was made with {made}, and this is {here}: what --add and --withdraw make is the same "
            "only up to rounding.",
            file=sys.stderr,
        )
    return ledger


def _versions() -> dict[str, str]:
    return {"recbole-aia": __version__, "torch": str(torch.__version__)}


def _rebuild(
    ledger: Ledger,
    folder: Path,
    asked: Asked | None,
    trusted: dict[str, Any] | None = None,
    before: Ledger | None = None,
) -> dict[str, Any]:
    """Makes the protected model from a ledger and a request more.

    Args:
        ledger: without the request.
        folder: of the ledger.
        asked: the request.
        trusted: a base that is not a file yet.
        before: the ledger as it was, where a request is withdrawn.
    """
    if trusted is None:
        ledger.check_base(folder / ledger.base)
    state = read_state(folder / ledger.base) if trusted is None else trusted
    ledger, run, trainer = _loaded(ledger, folder, asked, state, {} if before is None else before.attributes())
    ledger = replace(ledger, versions=_versions())
    exposure_names(run.config["attack_views"])
    labels, evaluator = trainer.load_labels(run.dataset), AttributeInferenceEvaluator(run.config)
    trainer.check(run.config, labels.names)
    wishes = _wishes(ledger, run.dataset)
    for reason in evaluator.attacked_attributes(labels.columns(), run.dataset.user_num - 1, labels.classes)[1].values():
        raise AttributeDataError(reason)
    with _made(folder), written_together(folder, FILE) as aside:
        if trusted is not None:
            torch.save(trusted, aside / _BASE)
            ledger = replace(ledger, sha256=sha256(aside / _BASE))
        # The log too: a failure leaves what was there, and the caller says what it was.
        with run_log(run.config, aside):
            try:
                results, after = protected(run, trainer, wishes, labels, evaluator)
            except AIAError as error:
                if before is None or not wishes:
                    raise
                raise type(error)(_blocked(ledger, wishes, labels, error)) from error
        torch.save({**checkpoint_state(trainer, 0), "ledger": ledger.digest()}, aside / "checkpoint.pth")
        tokens = np.asarray(run.dataset.field2id_token[run.dataset.uid_field][1:], dtype=np.str_)
        write_embeddings(aside / "embeddings.npz", tokens, interactions_by_user(run.dataset), after)
        write_config(run.config, aside, _HOW)
        write_results(results, aside / "results.json")
        ledger.write(aside)
    print(f"{ledger}\n\n{tables(results)}\nresults in {folder}/")
    return results


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """A folder to write to; where that fails, it is gone again if it was not there."""
    new = [each for each in (folder, *folder.parents) if not each.exists()]
    make_folder(folder)
    try:
        yield
    except BaseException:
        with suppress(OSError):
            for each in new:
                each.rmdir()
        raise


def _blocked(ledger: Ledger, wishes: Sequence[Wish], labels: LabelTable, error: AIAError) -> str:
    """Says which of the requests that would remain are of too few users, or of users too much alike."""
    few = set()
    for name in {name for wish in wishes for name in wish.attributes}:
        asked = torch.zeros(len(labels.labels), dtype=torch.bool)
        for wish in wishes:
            if name in wish.attributes:
                asked[slice(None) if wish.users is None else wish.users] = True
        own = labels.column(name)[asked & (labels.column(name) >= 0)]
        sizes = own.unique(return_counts=True)[1]
        if not len(sizes) or (int(sizes.max()) < 2 if ledger.defense == "attrcloak" else len(sizes) < 2):
            few.add(name)
    blocking = [entry.id for entry in ledger.requests if few & set(entry.attributes)]
    ids = blocking or [entry.id for entry in ledger.requests]
    which = f"request {ids[0]}" if len(ids) == 1 else f"requests {', '.join(map(str, ids))}"
    return f"without it, {which} cannot be served; withdraw {'that' if len(ids) == 1 else 'those'} first. {error}"


def _loaded(
    ledger: Ledger, folder: Path, asked: Asked | None, state: Mapping[str, Any], earlier: Mapping[str, Any]
) -> tuple[Ledger, LoadedRun, PostTrainer]:
    """The ledger with the new request, the base model and its trainer."""
    base, planned = folder / ledger.base, ledger if asked is None else ledger.added(asked.specs(), None)
    config = _config(planned, state, base, planned.attributes())
    if not config["attributes"]:
        config = _config(planned, state, base, earlier)  # something has to be attacked
    trainer = _trainer_class(config, planned)
    if ledger.data:
        ledger.check_data(files_digest(config))
    run = bring_back(state, base, config)
    if asked is not None:
        # Users are found in the dataset that the base's configuration names.
        users = None if asked.users is None else find_users(asked.users, run.dataset, config["seed"])
        ledger = ledger.added(asked.specs(), users)
    # Now the files are there, also those of a dataset that downloads itself.
    return replace(ledger, data=ledger.data or files_digest(config)), run, trainer(config, run.model)


def _config(ledger: Ledger, state: Mapping[str, Any], base: Path, names: Mapping[str, Any]) -> AIAConfig:
    """The base's configuration, with the ledger's defense and its defaults in place of those of the base's."""
    argv = [*ledger.arguments, f"--defense={ledger.defense}"]
    argv += [f"--attributes={json.dumps(names)}"] if names else []
    return saved_config(state, base, argv=argv, without=defense_keys())


def _trainer_class(config: AIAConfig, ledger: Ledger) -> type[PostTrainer]:
    trainer = trainer_class(config)
    if not issubclass(trainer, PostTrainer):
        why = "changes nothing" if ledger.defense == "none" else "trains items and all users anew"
        raise ConfigValueError(
            f"--defense={ledger.defense} {why}, so it does not unlearn on a checkpoint for those who ask. "
            "Choose attrcloak, for example."
        )
    if ledger.defense == "dp" and ledger.next_id > 2:
        raise ConfigValueError(
            "dp draws fresh noise each time, which would undo its guarantee. Begin with a new folder."
        )
    return trainer


def _wishes(ledger: Ledger, dataset: Any) -> list[Wish]:
    ids = dataset.field2token_id[dataset.uid_field]
    wishes = []
    for entry in ledger.requests:
        for name in entry.users or ():
            if not ids.get(name):
                raise ConfigValueError(
                    f"request {entry.id} in {FILE} names '{name}', who is no user of the data. Restore the file."
                )
        users = None if entry.users is None else torch.tensor([int(ids[name]) for name in entry.users]).long()
        wishes.append(Wish(list(entry.attributes), users, entry.when))
    return wishes
