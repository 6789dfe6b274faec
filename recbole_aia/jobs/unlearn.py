"""The job ``unlearn``: keeps requests in a ledger, and makes the protected model from the base and the ledger."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_aia.compat import checkpoint_state
from recbole_aia.config.aia_config import AIAConfig
from recbole_aia.config.text import parse_arguments, parse_value
from recbole_aia.data import LabelTable, files_digest, interactions_by_user, load_labels
from recbole_aia.errors import AIAError, AttributeDataError, ConfigValueError
from recbole_aia.evaluator import AttributeInferenceEvaluator
from recbole_aia.jobs.comparison import serve_and_compare
from recbole_aia.jobs.ledger_base import base_model, base_state, present_versions, reservations, say, served_requests
from recbole_aia.jobs.loading import LoadedRun
from recbole_aia.jobs.results import tables
from recbole_aia.model.exposures import exposure_names
from recbole_aia.report import PAGE, write_results
from recbole_aia.storage.checkpoints import NUMBERING, checkpoint_file, plain_state, read_state, save_checkpoint
from recbole_aia.storage.files import written_together
from recbole_aia.storage.progress import check_interrupted, interrupted_job, job_digest, progress
from recbole_aia.storage.run_folder import (
    ACTIVITY,
    check_free,
    config_text,
    make_folder,
    run_log,
    versions,
    write_activity,
    write_config,
    write_embeddings,
)
from recbole_aia.storage.snapshots import tensors_digest
from recbole_aia.trainer import Unlearner
from recbole_aia.unlearning.askers import find_users
from recbole_aia.unlearning.ledger import FILE, Ledger, checkpoint_sha256
from recbole_aia.unlearning.requests import Request

_BASE = "base.pth"
_FILES = (FILE, "checkpoint.pth", "results.json", PAGE, "embeddings.npz", ACTIVITY, "config.yaml", "run.log", _BASE)
_TRAINING = (
    "epochs", "attack_every", "reuse_undefended", "learner", "learning_rate", "weight_decay", "eval_step",
    "stopping_step", "clip_grad_norm", "loss_decimal_place",
)  # fmt: skip
# Keys of a run that an unlearning does not read, and why.
_NOT_HERE = {
    "seed": "is the trained model's own: another would split the data elsewhere",
    "holdout_users": "is for a run. Here, --users says who asks: random:0.8, say",
    "stage": "is always post here",
    "init_checkpoint": "is for a run. Here, --checkpoint says which model",
    "checkpoint_dir": "is for a run. Here, everything goes to --output_dir",
    "further_attacks": "is for a run",
    **dict.fromkeys(_TRAINING, "is for a training, and nothing is trained here"),
}
_HOW = "The settings of the protected model; what it hides of whom is in ledger.json"


@dataclass(frozen=True)
class RequestOptions:
    """A request as the command line gives it: attributes as YAML, and users as a file or as a kind and a share.

    ``device`` says where to serve it. The ledger does not keep it, because the next machine may have another.
    """

    attributes: str
    users: str | None = None
    device: str = "auto"

    def specs(self) -> dict[str, Any]:
        """The specifications of the attributes, by name.

        Raises:
            ConfigValueError: the text names no attributes, or holds values that JSON cannot.
        """
        value = parse_value(self.attributes)
        names = [value] if isinstance(value, str) else value
        if not (names and isinstance(names, list | dict) and all(isinstance(name, str) for name in names)):
            raise ConfigValueError(f"--attributes={self.attributes} names nothing. Write '--attributes=[gender]', say.")
        if len(set(names)) < len(names):
            raise ConfigValueError(f"--attributes={self.attributes} names an attribute twice. Name each once.")
        specs = names if isinstance(names, dict) else dict.fromkeys(names)
        try:
            return dict(json.loads(json.dumps(specs)))  # JSON may change types, and the ledger keeps JSON
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
    """Begins a ledger for a checkpoint, with a first request, and serves the request.

    Args:
        checkpoint: a checkpoint of recbole-aia, or of RecBole with ``trust_checkpoint``. It is only read.
        defense: the name of a defense after training.
        options: the request.
        folder: the folder for all files.
        trust_checkpoint: whether the checkpoint may hold pickled objects. Loading these can run any code. The
            checkpoint is loaded once, and kept as plain data in ``base.pth``.
        argv: ``--key=value`` arguments, which the ledger keeps.

    Returns:
        The content of results.json.

    Raises:
        AIAError: the user has to mend something; nothing has been written then.
    """
    begun = (folder / FILE).exists()
    if interrupted_job(folder) is None:
        check_free(folder, _FILES, "Write --add to add a request to it" if begun else "Give another --output_dir")
    for key in parse_arguments(argv):
        if key in _NOT_HERE:
            raise ConfigValueError(f"--{key} {_NOT_HERE[key]}. Leave it out.")
    path = checkpoint_file(checkpoint)
    state = read_state(path, trust_checkpoint)
    if trust_checkpoint:
        state = plain_state(state, path)
        ledger = Ledger(_BASE, "", "", defense, tuple(argv))
    else:
        ledger = Ledger(str(path.resolve()), checkpoint_sha256(path), "", defense, tuple(argv))
    return _with_request(ledger, folder, state, options, new_base=trust_checkpoint)


def add(folder: Path, options: RequestOptions) -> dict[str, Any]:
    """Adds a request to the ledger in a folder, and serves it; see :func:`begin`."""
    ledger = Ledger.read(folder)
    said = reservations(ledger, folder)
    results = _with_request(ledger, folder, base_state(ledger, folder), options)
    say(said)
    return results


def withdraw(folder: Path, number: int, device: str = "auto") -> dict[str, Any]:
    """Withdraws a request, which gives the model that never had it.

    The two models are equal bit for bit on a CPU with the same versions of recbole-aia and torch. Otherwise, and
    always on CUDA, they are equal up to rounding. The ledger keeps its next number, and earlier releases stay with
    those who received them.

    Args:
        folder: the ledger's folder.
        number: the number of the request.
        device: see :class:`RequestOptions`.

    Returns:
        The content of results.json.
    """
    before = Ledger.read(folder)
    said = reservations(before, folder)
    ledger = before.withdrawn(number)
    state = base_state(ledger, folder)
    # If no request is left, the attributes of the withdrawn request are attacked, because a run has to attack some.
    run, unlearner = base_model(ledger, folder, state, ledger.attributes() or before.attributes(), device)
    results = _make(ledger, folder, run, unlearner, explain=_blocked)
    say(said)
    return results


def standing(folder: Path) -> Ledger:
    """The ledger in a folder; warns if the model beside it was made from another ledger or by other versions.

    Raises:
        ConfigValueError: the folder has no ledger.
    """
    ledger = Ledger.read(folder)
    say(reservations(ledger, folder))
    return ledger


def _with_request(
    ledger: Ledger, folder: Path, state: Mapping[str, Any], options: RequestOptions, new_base: bool = False
) -> dict[str, Any]:
    """Makes the model of a ledger with one more request; ``new_base`` says that the base has to be written too."""
    attributes = options.specs()
    planned = ledger.added(attributes, None)
    run, unlearner = base_model(planned, folder, state, planned.attributes(), options.device)
    # The base comes first, because users are looked up in the dataset that its configuration names.
    users = None if options.users is None else find_users(options.users, run.dataset, run.config["seed"])
    return _make(ledger.added(attributes, users), folder, run, unlearner, base=state if new_base else None)


def _make(
    ledger: Ledger,
    folder: Path,
    run: LoadedRun,
    unlearner: type[Unlearner],
    *,
    base: Mapping[str, Any] | None = None,
    explain: Callable[[Ledger, Sequence[Request], LabelTable, type[Unlearner], AIAError], str] | None = None,
) -> dict[str, Any]:
    """Makes the protected model of a ledger, and writes all files of it.

    Args:
        ledger: the ledger with all requests that stand.
        folder: the folder for the files.
        run: the base.
        unlearner: the class of the trainer that serves the requests.
        base: the base checkpoint if it has to be written, otherwise ``None``.
        explain: makes the error message if a request cannot be served.
    """
    # The digest is taken here and not earlier, because bringing back the base may have downloaded the dataset.
    ledger = replace(ledger, versions=present_versions(), data=ledger.data or files_digest(run.config))
    exposure_names(run.config["attack_views"])
    requests, evaluator = served_requests(ledger, run.dataset), AttributeInferenceEvaluator(run.config)
    load_labels(run.config, run.dataset)  # refuses what it has to before the trainer makes its folders
    trainer = unlearner(run.config, run.model)
    labels = trainer.load_labels(run.dataset)
    trainer.check(run.config, labels.names)
    for reason in evaluator.attacked_attributes(labels.columns(), run.dataset.user_num - 1, labels.classes)[1].values():
        raise AttributeDataError(reason)
    settings = _settings(ledger, run.config)
    check_interrupted(folder, settings)
    basis = job_digest(data=ledger.data, versions=versions(), base=tensors_digest(run.model.state_dict()))
    with (
        _made(folder),
        progress(folder, settings, basis) as kept,
        written_together(folder, FILE) as aside,
    ):
        evaluator.kept, trainer.snapshots = kept.answers(), kept.stage("unlearning")
        if base is not None:
            # The base now belongs to these data for certain, so that it can name its users.
            save_checkpoint({**base, NUMBERING: run.dataset.numbering.kept()}, aside / _BASE)
            ledger = replace(ledger, sha256=checkpoint_sha256(aside / _BASE))
        # The log is also written aside, so that a failure leaves the folder as it was.
        with run_log(run.config, aside):
            try:
                trained_in = _training_seconds(folder / ledger.base)
                results, after = serve_and_compare(run, trainer, requests, labels, evaluator, trained_in)
            except AIAError as error:
                if explain is None or not requests:
                    raise
                raise type(error)(explain(ledger, requests, labels, type(trainer), error)) from error
        save_checkpoint({**checkpoint_state(trainer, 0), "ledger": ledger.digest()}, aside / "checkpoint.pth")
        tokens = np.asarray(run.dataset.field2id_token[run.dataset.uid_field][1:], dtype=np.str_)
        vectors = after.served.numpy(), None if after.table is None else after.table.numpy()
        write_embeddings(aside / "embeddings.npz", tokens, *vectors)
        write_activity(aside / ACTIVITY, tokens, interactions_by_user(run.dataset))
        write_config(run.config, aside, _HOW)
        write_results(results, aside / "results.json")
        ledger.write(aside)
    print(f"{ledger}\n\n{tables(results)}\nresults in {folder}/")
    return results


def _training_seconds(checkpoint: Path) -> float | None:
    """How long the model in a checkpoint was trained, from the results beside it; ``None`` if they do not say."""
    try:
        results = json.loads(checkpoint.with_name("results.json").read_text(encoding="utf-8"))
        seconds, after = results["run"]["seconds"], results["run"]["stage"] == "post"
        undefended = seconds["train_undefended"]
        return float(seconds.get("train_defended", 0.0 if after else undefended) + (undefended if after else 0.0))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _settings(ledger: Ledger, config: AIAConfig) -> str:
    """A digest of all settings that decide what is made of a ledger; the time of a request is none."""
    requests = [[request.id, request.attributes, request.users] for request in ledger.requests]
    return job_digest(base=ledger.sha256, defense=ledger.defense, requests=requests, config=config_text(config))


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Makes a folder for the block. If the block fails, folders that were made for it are removed if they are empty."""
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
    """The message for a withdrawal that fails: names the remaining requests that cannot be served without it.

    Their users are too few, or all of one class.
    """
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
