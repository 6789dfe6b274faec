"""The steps for every dataset: read raw rows, check them, label users, filter interactions, write atomic files."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from recbole_aia.data.anonymous import form_of
from recbole_aia.data.atomic import scratch_folder, write_dataset
from recbole_aia.data.converters.atomic_files import write_as_shards, write_interactions, write_users
from recbole_aia.data.converters.base import Converter, Labels
from recbole_aia.data.converters.interactions import TIME, Collector, Index, Interactions
from recbole_aia.data.converters.lines import find
from recbole_aia.data.converters.profiles import Conflicts, Profiles
from recbole_aia.data.converters.spilled import SpilledCollector, SpilledInteractions
from recbole_aia.data.converters.summary import Summary
from recbole_aia.data.converters.table import Rows, Table, TableFile
from recbole_aia.data.shards import shards_folder
from recbole_aia.data.specs import AttributeSpec
from recbole_aia.errors import ConfigValueError, RawDataError


@dataclass(frozen=True)
class Options:
    """The user's choices; ``None`` takes the converter's own.

    Attributes:
        core: least number of interactions of every user and item, 1 or more.
        labels: the labels that a user needs to stay: of ``every`` attacked attribute, of ``some``, or ``none``.
        conflicts: which value counts if a user has several: ``majority``, ``last``, or ``drop`` for no value.
        shards: whether interactions are written as shards, and wait on the disk until then.
    """

    core: int | None = None
    labels: Labels | None = None
    conflicts: Conflicts = "majority"
    shards: bool = False


def prepare(converter: Converter, raw: Path, out: Path, options: Options | None = None) -> Summary:
    """Makes a dataset's atomic files of its raw files, all of them or none.

    Args:
        converter: the dataset's converter.
        raw: the folder with the raw files, or a folder above it.
        out: the folder of datasets, in which the dataset's own folder is made.
        options: the user's choices.

    Returns:
        The account of what was read, dropped and kept; ``<name>.prepared.json`` beside the data holds it too.

    Raises:
        RawDataError: a raw file is missing, damaged or of another kind, or the filters leave nothing.
        ConfigValueError: an option is not allowed, or ``out`` cannot be written to.
    """
    options = options or Options()
    preparation = _Preparation(converter, raw, options)
    with scratch_folder(out, converter.name) if options.shards else nullcontext() as scratch:
        interactions = preparation.interactions(scratch)
        users = preparation.users_of(interactions)
        write_dataset(out, converter.name, lambda folder: preparation.write(folder, interactions, users))
    return preparation.summary


class _Preparation:
    """One preparation, step by step: :meth:`interactions`, then :meth:`users_of`."""

    def __init__(self, converter: Converter, raw: Path, options: Options) -> None:
        self.converter, self.raw = converter, raw
        self.core = converter.core if options.core is None else options.core
        self.labels = options.labels or converter.labels
        self.conflicts = options.conflicts
        if self.core < 1:
            raise ConfigValueError(f"core is {self.core}. It must be 1, which keeps all, or more.")
        chosen = {"core": self.core, "labels": self.labels, "conflicts": self.conflicts}
        self.summary = Summary(converter.name, chosen)
        defined, attacked = converter.specifications()
        self.specs = [AttributeSpec.from_mapping(name, entry) for name, entry in defined.items()]
        self.attacked = [spec for spec in self.specs if spec.name in attacked]
        self.users, self.items = Index(), Index()
        self.profiles = Profiles(list(converter.fields))
        self.frame = pd.DataFrame()
        # ``met``: an interaction has been read whose user is in the table of users. ``first_stranger``: line and user
        # of the first interaction whose user is not in it.
        self.met = False
        self.first_stranger: tuple[int, int] | None = None

    def interactions(self, scratch: Path | None = None) -> Interactions | SpilledInteractions:
        """Reads both tables, applies all rules, and returns the interactions that are kept.

        Args:
            scratch: a folder in which interactions wait; ``None``: they wait in memory.
        """
        file = self._file(self.converter.interactions)
        labelled = None if self.converter.users is None else self._read_users(self.converter.users)
        merge = self.converter.merge
        collector = Collector(merge) if scratch is None else SpilledCollector(merge, scratch)
        for rows in file:
            collector.add(self._part(rows, labelled))
        self.summary.read(file)
        self._refuse_strangers(file)
        kept: Interactions | SpilledInteractions = collector.all()
        self._count("the same user and item again", collector.repeated)
        if labelled is None:
            labelled = self._label(file)
            kept, before = kept.of_users(labelled), len(kept)
            self._count("of users without a label", before - len(kept))
        kept, before = kept.core(self.core), len(kept)
        self._count(f"outside the {self.core}-core", before - len(kept))
        if not len(kept):
            rules = ", ".join(f"{count:,} {rule}" for rule, count in self.summary.dropped.items())
            raise RawDataError(f"nothing is left of '{file.path}' after the filters: {rules}. Give --core or --labels.")
        return kept

    def users_of(self, interactions: Interactions | SpilledInteractions) -> pd.DataFrame:
        """The frame of the users of some interactions, with ids and attributes; counts what is kept."""
        of_users, of_items = interactions.counts()
        codes = np.flatnonzero(of_users)
        table = len(self.frame)
        frame = self.frame.reindex(codes).fillna("").reset_index(drop=True)
        self.summary.absent = int(table - (codes < table).sum()) if self.converter.users is not None else 0
        self.summary.kept = {
            "interactions": len(interactions),
            "users": codes.size,
            "items": int((of_items > 0).sum()),
        }
        for spec in self.specs:
            encoded = spec.encode(frame[spec.field])
            sizes = np.bincount(encoded.codes[encoded.codes >= 0], minlength=len(encoded.classes))
            entry = {
                "classes": dict(zip(encoded.classes, sizes.tolist(), strict=True)),
                "missing": int((encoded.codes < 0).sum()),
                "affected": encoded.affected,
                "conflicts": self.summary.conflicts.get(spec.field, {}),
            }
            self.converter.check_classes(spec.name, sizes)
            self.summary.attributes[spec.name] = {what: count for what, count in entry.items() if count != {}}
        tokens = list(self.users)
        frame.insert(0, "user_id", [tokens[code] for code in codes.tolist()])
        return frame

    def write(self, folder: Path, interactions: Interactions | SpilledInteractions, users: pd.DataFrame) -> None:
        """Writes the files of the dataset into a folder."""
        name, tokens = self.converter.name, (list(self.users), list(self.items))
        if isinstance(interactions, Interactions):
            self.summary.escaped = write_interactions(folder / f"{name}.inter", interactions, *tokens)
        else:
            self.summary.escaped = write_as_shards(shards_folder(folder, name), interactions, *tokens)
        write_users(folder / f"{name}.user", users)
        (folder / f"{name}.prepared.json").write_text(self.summary.to_json(), "utf-8", "backslashreplace")

    def _file(self, table: Table) -> TableFile:
        return TableFile(table, find(self.raw, table.files, self.converter.source))

    def _read_users(self, table: Table) -> np.ndarray:
        """Reads the table of users; returns a mask of the users who may stay."""
        file = self._file(table)
        for rows in file:
            ids = self.converter.ids(rows)
            named = np.fromiter(map(bool, ids), bool, len(ids))
            codes = self.users.numbers(filter(None, ids), int(named.sum()))
            kept = rows.where(named)
            self.profiles.add(codes, self.converter.attributes(kept), kept.lines)
        self.summary.read(file)
        return self._label(file)

    def _label(self, file: TableFile) -> np.ndarray:
        """Makes the frame of the users read so far; returns a mask ``[n_users]`` of the users who may stay."""
        for spec in self.specs:
            self.profiles.check(spec, file.path)
        self.frame, self.summary.conflicts = self.profiles.frame(len(self.users), self.specs, self.conflicts)
        known = []
        for spec in self.specs:
            encoded = replace(spec, min_class=0).encode(self.frame[spec.field])
            missing = encoded.codes < 0
            # The empty id is among the users without a label, and its rows are dropped.
            number = int(missing.sum()) - ("" in self.users)
            self.summary.raw[spec.name] = {"missing": number, **encoded.affected}
            if spec in self.attacked:
                known.append(~missing)
        if self.labels == "none" or not known:
            return np.ones(len(self.users), bool)
        number = np.sum(known, axis=0)
        return np.asarray(number == len(known) if self.labels == "every" else number > 0)

    def _part(self, rows: Rows, labelled: np.ndarray | None) -> Interactions:
        """The interactions of some rows, without those that a rule can drop row by row."""
        events = self.converter.events(rows)
        for rule, count in events.dropped.items():
            self._count(rule, count)
        rows, n = events.rows or rows, len(events.users)
        users, items = self.users.numbers_of_runs(events.users), self.items.numbers(events.items, n)
        named = np.ones(n, bool)
        for index, codes, what in ((self.users, users, "a user"), (self.items, items, "an item")):
            absent = named & (codes == index.get("", -1))
            self._count(f"without {what}", int(absent.sum()))
            named &= ~absent
        part = Interactions(users, items, events.numbers).where(named)
        if labelled is not None:
            return self._of_known_users(part, rows.lines[named], labelled)
        rows = rows.where(named)
        self.profiles.add(part.users, self.converter.attributes(rows), rows.lines, part.numbers.get(TIME))
        return part

    def _of_known_users(self, part: Interactions, lines: np.ndarray, labelled: np.ndarray) -> Interactions:
        known = part.users < len(labelled)
        self.met = self.met or bool(known.any())
        if self.first_stranger is None and not known.all():
            stranger = int(np.argmin(known))
            self.first_stranger = int(lines[stranger]), int(part.users[stranger])
        if self.labels == "none":
            return part
        part = self._where(part, known, "of users who are not in the table of users")
        return self._where(part, labelled[part.users], "of users without a label")

    def _refuse_strangers(self, file: TableFile) -> None:
        if self.met or self.first_stranger is None:
            return
        line, code = self.first_stranger
        form = form_of(list(self.users)[code])
        raise RawDataError(
            f"'{file.path}', line {line}: the user (an id like {form}) is not in the table of users, nor is "
            "any other. Are columns swapped, or do the files not belong together?"
        )

    def _where(self, part: Interactions, mask: np.ndarray, rule: str) -> Interactions:
        """The interactions that a mask selects; counts the others as dropped by ``rule``."""
        self._count(rule, int((~mask).sum()))
        return part if mask.all() else part.where(mask)

    def _count(self, rule: str, count: int) -> None:
        if count:
            self.summary.dropped[rule] += count
