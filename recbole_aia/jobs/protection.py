"""A learned protection of user embeddings: a map for users who come later, and its file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_aia.config.text import refuse_special
from recbole_aia.config.types import FloatArray
from recbole_aia.data.arrays import UNREADABLE, Arrays
from recbole_aia.errors import AttributeDataError, ConfigValueError
from recbole_aia.evaluator import checked_embeddings
from recbole_aia.losses import UserMap
from recbole_aia.storage.files import write_whole

_FORMAT = "recbole-aia user map 1"
_PART = 65_536  # users protected at a time


@dataclass(frozen=True, eq=False)
class Protection:
    """Protects users who come later, by the map that protected the users whom it was learned from.

    They need no label, and nothing of other users is used for them. What protects them is as good as the posterior
    that was learned: ``report`` says what share of each attribute it explains, and how many labels it is from. The
    users whom it was learned from moved by the same map, and come out again as :func:`.learn_protection` gave them.

    Attributes:
        map: the map, of embeddings less ``center``.
        center: mean of the embeddings that it was learned from, ``[d]``.
        report: of each attribute the number of labels and the share of its variance that vectors explained; and the
            largest statistic before and after.
    """

    map: UserMap
    center: FloatArray
    report: Mapping[str, Any] = field(default_factory=dict)

    def transform(self, embeddings: Any) -> FloatArray:
        """Protects ``embeddings [n, d]`` of users of the same system, and returns ``[n, d]``.

        Raises:
            AttributeDataError: the embeddings are no finite numbers, or have another number of dimensions.
        """
        points = checked_embeddings(embeddings)
        if points.shape[1] != len(self.center):
            raise AttributeDataError(
                f"the embeddings have {points.shape[1]} dimensions, and the map was learned from {len(self.center)}. "
                "Give embeddings of the same system."
            )
        protected = np.empty_like(points)
        # In parts, because fresh memory for a million users at each step takes as long as the map itself.
        for first in range(0, len(points), _PART):
            part = points[first : first + _PART]
            near = torch.from_numpy(part - self.center).float()
            try:
                moved = self.map(near, torch.from_numpy(part == 0))
            except (
                RuntimeError,
                IndexError,
                ValueError,
            ) as error:  # tensors of a damaged map that do not fit each other
                raise AttributeDataError(
                    "the map is damaged: its parts do not fit each other. Learn it anew."
                ) from error
            if not bool(moved.isfinite().all()):
                raise AttributeDataError(
                    "the map moves users to where numbers end. Was it learned from embeddings of this scale?"
                )
            protected[first : first + _PART] = part + (moved - near).double().numpy()
        return as_given(embeddings, protected)

    def save(self, path: str | Path) -> None:
        """Writes an npz file of plain numbers, whole or not at all.

        It holds no user and no label. Keep it as confidential as the labels: it holds the posterior, which guesses the
        attribute of anybody whose unprotected vector is known, and best for the users whom it was learned from.
        """
        target = Path(path)
        if target.suffix != ".npz":
            raise ConfigValueError(f"'{path}' must end in .npz.")
        arrays = {name: tensor.cpu().numpy() for name, tensor in self.map.state().items()}
        words = {"format": np.array(_FORMAT), "report": np.array(json.dumps(self.report))}

        def write(aside: Path) -> None:
            with aside.open("wb") as file:
                np.savez(file, center=self.center, **words, **arrays)  # type: ignore[arg-type]

        write_whole(target, write)

    @classmethod
    def load(cls, path: str | Path) -> Protection:
        """Reads a file of :meth:`save`; runs no code of it.

        Raises:
            ConfigValueError: there is no such file, or it is none of :meth:`save`.
        """
        refuse_special(Path(path))
        try:
            arrays = Arrays(Path(path))
            if str(arrays["format"]) != _FORMAT:
                raise KeyError("format")
            report = dict(json.loads(str(arrays["report"])))
            state = {name: torch.from_numpy(arrays[name]) for name in set(arrays) - {"format", "report", "center"}}
            if not all(bool(tensor.isfinite().all()) for tensor in (*state.values(), torch.tensor(arrays["center"]))):
                raise ValueError("not finite")
            return cls(UserMap.from_state(state), arrays["center"], report)
        except FileNotFoundError:
            raise ConfigValueError(f"there is no file '{path}'.") from None
        except (*UNREADABLE, KeyError, AttributeError, RecursionError) as error:
            raise ConfigValueError(
                f"'{path}' is no map of recbole-aia ({type(error).__name__}). Learn one: recbole-aia protect "
                "EMBEDDINGS --labels LABELS --out FILE --map MAP.npz"
            ) from error


def as_given(embeddings: Any, protected: FloatArray) -> FloatArray:
    """Protected vectors with the type of the embeddings as they were given, if it is a floating type."""
    given = np.asarray(embeddings).dtype
    found: FloatArray = protected.astype(given if np.issubdtype(given, np.floating) else np.float64)
    return found
