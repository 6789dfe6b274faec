"""Prepares miniatures of raw files."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from miniatures import write_raw

from recbole_aia.data.converters import CONVERTERS, Options, Summary, prepare


@dataclass(frozen=True)
class Prepared:
    """What came out: the summary, and the lines of both files."""

    summary: Summary
    inter: list[str]
    user: list[str]
    account: dict

    @property
    def dropped(self):
        return dict(self.summary.dropped)


@pytest.fixture
def convert(tmp_path):
    """Prepares a dataset of files given by name and content."""

    def run(name, files, converter=None, **options):
        converter = converter or CONVERTERS[name]
        summary = prepare(converter, write_raw(tmp_path / "raw", files), tmp_path / "out", Options(**options))
        folder = tmp_path / "out" / name
        inter, user = (
            (folder / f"{name}{suffix}").read_text(encoding="utf-8").split("\n") for suffix in (".inter", ".user")
        )
        assert inter.pop() == user.pop() == ""
        account = json.loads((folder / f"{name}.prepared.json").read_text(encoding="utf-8"))
        assert {file.name for file in folder.iterdir()} == {f"{name}{s}" for s in (".inter", ".user", ".prepared.json")}
        return Prepared(summary, inter, user, account)

    return run
