"""``results.json`` and its schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pandas as pd  # type: ignore[import-untyped]

from recbole_aia.errors import AttributeDataError
from recbole_aia.report.page import write_page
from recbole_aia.storage.cells import escaped
from recbole_aia.storage.files import write_whole

SCHEMA = "recbole-aia/1"
#: The page of a results.json, in the same folder.
PAGE = "report.html"


def results_schema() -> dict[str, Any]:
    """The JSON schema of ``results.json``."""
    text = (Path(__file__).parent / "results.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def read_results(path: Path) -> dict[str, Any]:
    """The content of a results.json.

    Raises:
        AttributeDataError: the file cannot be read, or holds something else.
    """
    try:
        results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        jsonschema.validate(results, results_schema())
    except OSError as error:
        raise AttributeDataError(
            f"cannot read '{path}': {error.strerror}. Give a results.json or the folder of a run."
        ) from error
    except (ValueError, jsonschema.ValidationError) as error:
        raise AttributeDataError(f"'{path}' does not hold results of recbole-aia. Give a results.json.") from error
    return results


def write_results(results: Mapping[str, Any], path: Path) -> None:
    """Validates results and writes them, and beside them the page to show, :data:`PAGE`.

    Raises:
        jsonschema.ValidationError: they do not fit the schema; nothing is written.
    """
    jsonschema.validate(results, results_schema())
    write_page(results, path.with_name(PAGE))
    text = json.dumps(results, indent=2, allow_nan=False)
    write_whole(path, lambda aside: aside.write_text(text + "\n", encoding="utf-8"))


def write_users(users: pd.DataFrame, path: Path, *, no_labels_out: bool = False) -> None:
    """Writes who leaks: one line for each user and attribute, highest confidence first.

    With ``no_labels_out`` no file is written, and an earlier one of the same job is removed.

    The file holds the users' true classes beside their names; it is as confidential as the labels are.
    :func:`~recbole_aia.storage.cells.escaped` says how texts are written that a spreadsheet would run.
    """
    if no_labels_out:
        path.unlink(missing_ok=True)
        return
    write_whole(path, lambda aside: escaped(users).to_csv(aside, index=False, encoding="utf-8"))
