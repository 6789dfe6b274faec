"""The base of a ledger: brings back its checkpoint, finds the users of requests, and says what fits no longer."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from recbole_aia.config.aia_config import AIAConfig
from recbole_aia.config.registry import defense_keys, defenses
from recbole_aia.data import files_digest
from recbole_aia.errors import CheckpointError, ConfigValueError
from recbole_aia.jobs.loading import LoadedRun, bring_back, saved_config
from recbole_aia.storage.checkpoints import load_checkpoint, read_state
from recbole_aia.trainer import Unlearner, unlearners
from recbole_aia.unlearning.ledger import FILE, Ledger
from recbole_aia.unlearning.requests import Request
from recbole_aia.version import __version__

# Keys that belong to the run that trained the base; the protected model does not take them over.
_PARTICULAR = {"stage", "preset", "output_dir", "checkpoint_dir"}


def base_state(ledger: Ledger, folder: Path) -> dict[str, Any]:
    """Reads the base checkpoint of a ledger and checks that it has not changed.

    Raises:
        CheckpointError: the checkpoint has changed, or cannot be read.
    """
    ledger.check_base(folder / ledger.base)
    return read_state(folder / ledger.base)


def base_model(
    ledger: Ledger, folder: Path, state: Mapping[str, Any], attributes: Mapping[str, Any], device: str = "auto"
) -> tuple[LoadedRun, type[Unlearner]]:
    """Brings back the base of a ledger.

    Args:
        ledger: the ledger.
        folder: the ledger's folder.
        state: the base checkpoint, as :func:`base_state` reads it.
        attributes: the attributes to configure, with their specifications.
        device: where to compute.

    Returns:
        The run of the base, and the class of the trainer that serves the requests.

    Raises:
        ConfigValueError: the ledger's defense does not unlearn, or a setting is not allowed.
        AttributeDataError: the dataset's files have changed.
    """
    unlearner, base = _unlearner(ledger), folder / ledger.base
    config = _config(ledger, state, base, attributes, device)
    if ledger.data:
        ledger.check_data(files_digest(config))
    return bring_back(state, base, config, same_data=bool(ledger.data)), unlearner


def served_requests(ledger: Ledger, dataset: Any) -> list[Request]:
    """The requests of a ledger, with RecBole's internal ids in place of users' names.

    Raises:
        ConfigValueError: a request names somebody who is no user of the data.
    """
    ids = dataset.field2token_id[dataset.uid_field]
    requests = []
    for filed in ledger.requests:
        for name in filed.users or ():
            if not ids.get(name):
                raise ConfigValueError(
                    f"request {filed.id} in {FILE} names '{name}', who is no user of the data. Restore the file."
                )
        users = None if filed.users is None else torch.tensor([int(ids[name]) for name in filed.users]).long()
        requests.append(Request(list(filed.attributes), users, filed.when))
    return requests


def _config(ledger: Ledger, state: Mapping[str, Any], base: Path, names: Mapping[str, Any], device: str) -> AIAConfig:
    """The base's configuration with the ledger's defense; no key of the base's own defense stays."""
    argv = [*ledger.arguments, f"--defense={ledger.defense}", "--stage=post", f"--device={device}"]
    argv += [f"--attributes={json.dumps(names)}"] if names else []
    return saved_config(state, base, argv=argv, without=_PARTICULAR | defense_keys().keys())


def _unlearner(ledger: Ledger) -> type[Unlearner]:
    """The class of the ledger's defense.

    Raises:
        ConfigValueError: the defense does not exist or does not unlearn, or it cannot serve another request.
    """
    stages, offered = defenses().get(ledger.defense), unlearners()
    if stages is not None and ledger.defense not in offered:
        why = "changes nothing" if ledger.defense == "none" else "trains items and all users anew"
        raise ConfigValueError(
            f"--defense={ledger.defense} {why}, so it does not unlearn on a checkpoint for those who ask. "
            f"Choose one of {', '.join(sorted(offered))}."
        )
    if stages is None:
        raise ConfigValueError(f"there is no defense '{ledger.defense}'. Choose one of {', '.join(sorted(offered))}.")
    if not offered[ledger.defense].repeatable and ledger.next_id > 2:
        raise ConfigValueError(
            f"{ledger.defense} draws fresh noise each time, which would undo what it promises. Begin with a new folder."
        )
    return offered[ledger.defense]


def reservations(ledger: Ledger, folder: Path) -> list[str]:
    """What a reader of a ledger has to know of the model beside it. An error comes alone, so success shows them."""
    said = []
    try:
        made_from = load_checkpoint(folder / "checkpoint.pth").get("ledger")
    except CheckpointError:
        made_from = None
    if made_from != ledger.digest():
        said.append(
            f"'{folder / 'checkpoint.pth'}' was not made from the ledger beside it, which has been changed or "
            "was not finished. --add and --withdraw make it anew."
        )
    if ledger.versions and ledger.versions != present_versions():
        both = ledger.versions, present_versions()
        made, here = (", ".join(f"{name} {number}" for name, number in each.items()) for each in both)
        said.append(
            f"the model was made with {made}, and this is {here}: what --add and --withdraw make is the same "
            "only up to rounding."
        )
    return said


def say(said: Sequence[str]) -> None:
    """Prints warnings to stderr."""
    for warning in said:
        print(f"warning: {warning}", file=sys.stderr)


def present_versions() -> dict[str, str]:
    """The versions that decide a protected model bit by bit."""
    return {"recbole-aia": __version__, "torch": str(torch.__version__)}
