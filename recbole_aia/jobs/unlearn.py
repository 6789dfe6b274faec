"""Unlearning on a checkpoint: requests go into a ledger, and the protected model is made from the base again."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_aia.compat import checkpoint_state
from recbole_aia.config.text import parse_arguments, parse_value
from recbole_aia.data import LabelTable, files_digest, interactions_by_user
from recbole_aia.errors import AIAError, AttributeDataError, CheckpointError, ConfigValueError
from recbole_aia.evaluator import AttributeInferenceEvaluator
from recbole_aia.jobs.comparison import serve_and_compare
from recbole_aia.jobs.ledger_base import base_model, base_state, served_requests
from recbole_aia.jobs.loading import LoadedRun
from recbole_aia.jobs.results import tables
from recbole_aia.model.exposures import exposure_names
from recbole_aia.report import write_results
from recbole_aia.storage.checkpoints import checkpoint_file, load_checkpoint, plain_state, read_state
from recbole_aia.storage.files import written_together
from recbole_aia.storage.run_folder import check_free, make_folder, run_log, write_config, write_embeddings
from recbole_aia.trainer import Unlearner
from recbole_aia.unlearning.askers import find_users
from recbole_aia.unlearning.ledger import FILE, Ledger, sha256
from recbole_aia.unlearning.requests import Request
from recbole_aia.version import __version__

_BASE = "base.pth"
_FILES = (FILE, "checkpoint.pth", "results.json", "embeddings.npz", "config.yaml", "run.log", _BASE)
_HOW = "The settings of the protected model; what it hides of whom is in ledger.json"


@dataclass(frozen=True)
class RequestOptions:
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
    checkpoint: Path,
    defense: str,
    options: RequestOptions,
    folder: Path,
    trust_checkpoint: bool = False,
    argv: Sequence[str] = (),
) -> dict[str, Any]:
    """Serves a first request on a checkpoint, and opens a ledger for it.

    Args:
        checkpoint: of recbole-aia, or RecBole's own with ``trust_checkpoint``. It is never written to.
        defense: one that works after training.
        options: the request.
        folder: for the files.
        trust_checkpoint: whether the checkpoint may hold pickled objects, which can run code. It is read once and
            kept as plain data, ``base.pth``.
        argv: ``--key=value`` arguments, kept in the ledger.

    Returns:
        The content of results.json.

    Raises:
        AIAError: whatever the user can mend; nothing is written then.
    """
    begun = (folder / FILE).exists()
    check_free(folder, _FILES, "Write --add to add a request to it" if begun else "Give another --output_dir")
    if "seed" in parse_arguments(argv):
        raise ConfigValueError(
            "--seed is the trained model's own: another would split the data elsewhere. Leave it out."
        )
    if "holdout_users" in parse_arguments(argv):
        raise ConfigValueError("--holdout_users is for a run. Here, --users says who asks: random:0.8, say.")
    path = checkpoint_file(checkpoint)
    state = read_state(path, trust_checkpoint)
    if trust_checkpoint:
        state = plain_state(state, path)
        ledger = Ledger(_BASE, "", "", defense, tuple(argv))
    else:
        ledger = Ledger(str(path.resolve()), sha256(path), "", defense, tuple(argv))
    return _with_request(ledger, folder, state, options, new_base=trust_checkpoint)


def add(folder: Path, options: RequestOptions) -> dict[str, Any]:
    """Adds a request to the ledger in a folder; see :func:`begin`."""
    ledger = standing(folder)
    return _with_request(ledger, folder, base_state(ledger, folder), options)


def withdraw(folder: Path, number: int) -> dict[str, Any]:
    """Withdraws a request: the model becomes bit by bit what it would be had the request never been made."""
    before = standing(folder)
    ledger = before.withdrawn(number)
    state = base_state(ledger, folder)
    # Where no request is left, what was hidden before is attacked: something has to be.
    run, trainer = base_model(ledger, folder, state, ledger.attributes() or before.attributes())
    return _make(ledger, folder, run, trainer, explain=_blocked)


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


def _with_request(
    ledger: Ledger, folder: Path, state: Mapping[str, Any], options: RequestOptions, new_base: bool = False
) -> dict[str, Any]:
    """Makes the model of a ledger and one request more; ``new_base`` where the base is not a file in ``folder`` yet."""
    attributes = options.specs()
    planned = ledger.added(attributes, None)
    run, trainer = base_model(planned, folder, state, planned.attributes())
    # Users are found in the dataset that the base's configuration names.
    users = None if options.users is None else find_users(options.users, run.dataset, run.config["seed"])
    return _make(ledger.added(attributes, users), folder, run, trainer, base=state if new_base else None)


def _make(
    ledger: Ledger,
    folder: Path,
    run: LoadedRun,
    trainer: Unlearner,
    *,
    base: Mapping[str, Any] | None = None,
    explain: Callable[[Ledger, Sequence[Request], LabelTable, type[Unlearner], AIAError], str] | None = None,
) -> dict[str, Any]:
    """Makes the protected model of a ledger and writes all that belongs to it.

    Args:
        ledger: with every request that stands.
        folder: for the files.
        run: the base.
        trainer: of the base's model, which serves the requests.
        base: the base's checkpoint, where it has to be written.
        explain: gives the message where a request cannot be served.
    """
    # Now the dataset's files are there, also those of a dataset that downloads itself.
    ledger = replace(ledger, versions=_versions(), data=ledger.data or files_digest(run.config))
    exposure_names(run.config["attack_views"])
    labels, evaluator = trainer.load_labels(run.dataset), AttributeInferenceEvaluator(run.config)
    trainer.check(run.config, labels.names)
    requests = served_requests(ledger, run.dataset)
    for reason in evaluator.attacked_attributes(labels.columns(), run.dataset.user_num - 1, labels.classes)[1].values():
        raise AttributeDataError(reason)
    with _made(folder), written_together(folder, FILE) as aside:
        if base is not None:
            torch.save(base, aside / _BASE)
            ledger = replace(ledger, sha256=sha256(aside / _BASE))
        # The log too: a failure leaves what was there, and the caller says what it was.
        with run_log(run.config, aside):
            try:
                results, after = serve_and_compare(run, trainer, requests, labels, evaluator)
            except AIAError as error:
                if explain is None or not requests:
                    raise
                raise type(error)(explain(ledger, requests, labels, type(trainer), error)) from error
        torch.save({**checkpoint_state(trainer, 0), "ledger": ledger.digest()}, aside / "checkpoint.pth")
        tokens = np.asarray(run.dataset.field2id_token[run.dataset.uid_field][1:], dtype=np.str_)
        vectors = after.served.numpy(), None if after.table is None else after.table.numpy()
        write_embeddings(aside / "embeddings.npz", tokens, interactions_by_user(run.dataset), *vectors)
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


def _blocked(
    ledger: Ledger, requests: Sequence[Request], labels: LabelTable, unlearner: type[Unlearner], error: AIAError
) -> str:
    """Says which of the requests that would remain are of too few users, or of users too much alike."""
    few = set()
    for name in {name for request in requests for name in request.attributes}:
        asked = torch.zeros(len(labels.labels), dtype=torch.bool)
        for request in requests:
            if name in request.attributes:
                asked[slice(None) if request.users is None else request.users] = True
        column, n_classes = labels.column(name), len(labels.classes[name])
        sizes = [column[who & (column >= 0)].bincount(minlength=n_classes) for who in (asked, ~asked)]
        if not unlearner.can_hide(*sizes):
            few.add(name)
    blocking = [filed.id for filed in ledger.requests if few & set(filed.attributes)]
    ids = blocking or [filed.id for filed in ledger.requests]
    which = f"request {ids[0]}" if len(ids) == 1 else f"requests {', '.join(map(str, ids))}"
    return f"without it, {which} cannot be served; withdraw {'that' if len(ids) == 1 else 'those'} first. {error}"
