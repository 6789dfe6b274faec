"""The ledger of a protected model: the checkpoint from which it is made, and the requests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from recbole_aia.errors import AttributeDataError, CheckpointError, ConfigValueError
from recbole_aia.storage.files import sha256_of, write_whole

FILE = "ledger.json"
_SCHEMA = "recbole-aia/ledger-1"


@dataclass(frozen=True)
class FiledRequest:
    """One request in a ledger.

    Attributes:
        id: the number of the request, from 1. No number is used twice.
        attributes: specifications by name; ``None`` for an attribute that the dataset's property file defines.
        users: names of the users who ask; ``None`` for all users.
        when: ISO time of the request.
    """

    id: int
    attributes: dict[str, Any]
    users: list[str] | None
    when: str


@dataclass(frozen=True)
class Ledger:
    """A base checkpoint, a dataset, a defense, and the requests that stand.

    These decide the protected model. Adding or withdrawing a request makes the model again from the base.

    Attributes:
        base: the base checkpoint, plain data; a relative path starts at the ledger's folder.
        sha256: SHA-256 of the base checkpoint.
        data: digest of the dataset's files.
        defense: name of the defense.
        arguments: settings of the defense and the attack, as ``--key=value``; they are fixed when the ledger begins.
        requests: the requests that stand.
        next_id: the number of the next request.
        versions: versions of recbole-aia and torch that made the model.
    """

    base: str
    sha256: str
    data: str
    defense: str
    arguments: tuple[str, ...] = ()
    requests: tuple[FiledRequest, ...] = ()
    next_id: int = 1
    versions: dict[str, str] = field(default_factory=dict)
    schema: str = field(default=_SCHEMA)

    @classmethod
    def read(cls, folder: Path) -> Ledger:
        """Reads the ledger in a folder.

        Raises:
            ConfigValueError: the folder has no ledger, or the file is no ledger of this version.
        """
        path = folder / FILE
        try:
            values = dict(json.loads(path.read_text(encoding="utf-8")))
            filed = tuple(FiledRequest(**request) for request in values.pop("requests"))
            ledger = cls(**{**values, "arguments": tuple(values["arguments"])}, requests=filed)
            if not ledger._is_well_formed():
                raise TypeError("a value of another type")
        except OSError as error:
            raise ConfigValueError(
                f"there is no ledger in '{folder}'. Give the --output_dir of an unlearning, or begin with --checkpoint."
            ) from error
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise ConfigValueError(f"'{path}' is not a ledger. Restore the file.") from error
        if ledger.schema != _SCHEMA:
            raise ConfigValueError(f"'{path}' has the schema {ledger.schema}, not {_SCHEMA}. Use another version.")
        return ledger

    def _is_well_formed(self) -> bool:
        """Whether values have their types and requests their own numbers; somebody may have edited the file."""
        texts = [self.base, self.sha256, self.data, self.defense, *self.arguments]
        texts += [text for pair in self.versions.items() for text in pair]
        lists = True
        for request in self.requests:
            lists &= isinstance(request.attributes, dict) and isinstance(request.users, list | None)
            lists &= all(isinstance(spec, dict | None) for spec in request.attributes.values())
            texts += [request.when, *request.attributes, *(request.users or ())]
        numbers = [*(request.id for request in self.requests), self.next_id]
        counted = all(type(n) is int and n > 0 for n in numbers)
        # A number that two requests have would withdraw the wrong one.
        counted = counted and len({*numbers}) == len(numbers) and max(numbers) == self.next_id
        return lists and counted and all(isinstance(text, str) for text in texts)

    def write(self, folder: Path) -> None:
        """Writes the ledger into a folder."""
        write_whole(folder / FILE, lambda aside: aside.write_text(self._text(), encoding="utf-8"))

    def digest(self) -> str:
        """SHA-256 of the content. The checkpoint that is made from the ledger holds this digest."""
        return hashlib.sha256(self._text().encode()).hexdigest()

    def _text(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    def added(self, attributes: Mapping[str, Any], users: Sequence[str] | None) -> Ledger:
        """The ledger with one more request, made now."""
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        request = FiledRequest(self.next_id, dict(attributes), None if users is None else list(users), now)
        return replace(self, requests=(*self.requests, request), next_id=self.next_id + 1)

    def withdrawn(self, number: int) -> Ledger:
        """The ledger without request ``number``.

        Raises:
            ConfigValueError: there is no request of that number.
        """
        kept = tuple(request for request in self.requests if request.id != number)
        if len(kept) == len(self.requests):
            numbers = ", ".join(str(request.id) for request in self.requests) or "none"
            raise ConfigValueError(f"the ledger has no request {number}. Those that stand: {numbers}.")
        return replace(self, requests=kept)

    def attributes(self) -> dict[str, Any]:
        """The attributes of all requests with their specifications, sorted by name.

        Raises:
            ConfigValueError: two requests give the same name different specifications.
        """
        merged: dict[str, Any] = {}
        for request in self.requests:
            for name, spec in request.attributes.items():
                if merged.setdefault(name, spec) != spec:
                    raise ConfigValueError(
                        f"'{name}' is specified otherwise in an earlier request. Give it another name."
                    )
        return dict(sorted(merged.items()))

    def check_base(self, base: Path) -> None:
        """Raises :class:`CheckpointError` if the base checkpoint has changed."""
        if checkpoint_sha256(base) != self.sha256:
            raise CheckpointError(f"the base checkpoint '{base}' has changed since. Restore it.")

    def check_data(self, digest: str) -> None:
        """Raises :class:`AttributeDataError` if the dataset's files have changed."""
        if digest != self.data:
            raise AttributeDataError(
                "the dataset's files (.inter, .user) have changed since the ledger was begun, or are not there. "
                "Restore them, or begin with a new folder."
            )

    def __str__(self) -> str:
        lines = [f"base {self.base} (sha256 {self.sha256[:12]}), defense {self.defense} {' '.join(self.arguments)}"]
        for request in self.requests:
            who = "all users" if request.users is None else f"{len(request.users)} users"
            lines.append(f"{request.id:>4}  {request.when}  {', '.join(request.attributes)}  {who}")
        return "\n".join(lines if self.requests else [*lines, "no requests: the model is the base's"])


def checkpoint_sha256(path: Path) -> str:
    """SHA-256 of a checkpoint's file.

    Raises:
        CheckpointError: the file cannot be read.
    """
    try:
        return sha256_of(path)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL character
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"the checkpoint '{path}' cannot be read: {reason}. Check the path.") from error
