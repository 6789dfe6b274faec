"""The job ``compare``: a grid of runs, and the table that is made of their results."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm  # type: ignore[import-untyped]

from recbole_aia.config.aia_config import AIAConfig
from recbole_aia.config.grid import Cell, Grid
from recbole_aia.config.run_keys import ONE_OF_MANY
from recbole_aia.config.text import to_yaml
from recbole_aia.data import files_digest
from recbole_aia.errors import AIAError
from recbole_aia.jobs.executors import Execute, Task, run_local
from recbole_aia.report.compared import Compared
from recbole_aia.report.comparison_tables import write_tables
from recbole_aia.report.figures.comparison import comparison_figures
from recbole_aia.report.figures.images import write_images
from recbole_aia.report.page.comparison import comparison_page
from recbole_aia.report.results import PAGE
from recbole_aia.storage.files import write_whole
from recbole_aia.storage.run_folder import kept_place, kept_results, make_folder

_NO_FILES = hashlib.sha256().hexdigest()  # the digest of a data set that is not on this machine


@dataclass(frozen=True)
class _Planned:
    """A cell, and where its results are, or why it cannot run."""

    cell: Cell
    folder: Path | None
    data: str = ""  # digest of the data set's files; empty if unknown
    refused: str | None = None


def compare(
    grid: Grid,
    output_dir: Path,
    *,
    execute: Execute = run_local,
    runs: Path = Path("runs"),
    images: tuple[Path, Sequence[str]] | None = None,
) -> dict[str, Any]:
    """Makes the runs of a grid that are missing, and the tables of all.

    A run is found again by its folder, whose name holds the hash of the keys that decide its numbers. So an interrupted
    grid goes on where it stopped, and grids share their runs. A run that fails is kept with its line, and does not stop
    the others; the next call tries it again.

    Args:
        grid: the runs, and the table.
        output_dir: the folder for the tables and the runs' logs.
        execute: where the runs are made: :func:`~recbole_aia.jobs.executors.run_local`, one at a time, or
            :class:`~recbole_aia.jobs.ray_executor.RayExecutor`.
        runs: the folder of the runs.
        images: a folder for the figures, and their formats, see
            :func:`~recbole_aia.report.figures.images.write_images`; ``None`` for no files.

    Returns:
        ``made``, ``reused`` and ``failed``, numbers of runs, and ``files``, the tables' paths by their kind.

    Raises:
        ConfigValueError: a folder cannot be written to.
    """
    make_folder(output_dir)
    make_folder(output_dir / "cells")
    digests = dict[str, str]()  # of the data sets' files
    planned = [_plan(cell, runs, digests) for cell in grid.cells()]
    failed = {_key(each): each.refused for each in planned if each.refused is not None}
    ready = {_key(each): each for each in planned if each.folder is not None}
    missing = {key: each for key, each in ready.items() if _results(each) is None}
    tasks = [_task(key, each, output_dir) for key, each in missing.items()]
    with tqdm(total=len(ready), initial=len(ready) - len(tasks), desc="Runs", unit="run") as bar:

        def done(task: Task, reason: str | None) -> None:
            if reason is None and _results(missing[task.name]) is None:
                reason = "it was made of other data, or by other versions, than this machine has"
            if reason is not None:
                failed[task.name] = reason
            bar.update()

        execute(tasks, done)
    finished = [(each.cell, _results(each)) for each in planned if _key(each) not in failed]
    compared = [Compared(cell, results) for cell, results in finished if results is not None]
    lines = [(each.cell, failed[_key(each)]) for each in planned if _key(each) in failed]
    without = [(cell, reason or "") for cell, reason in lines]
    files = write_tables(grid, compared, without, output_dir)
    text = comparison_page(grid, compared, without)
    write_whole(output_dir / PAGE, lambda aside: aside.write_text(text, encoding="utf-8"))
    if images is not None:
        write_images(comparison_figures(grid, compared), *images)
    return {
        "made": len(missing) - sum(key in missing for key in failed),
        "reused": len(ready) - len(missing),
        "failed": len(failed),
        "files": files,
    }


def _plan(cell: Cell, runs: Path, digests: dict[str, str]) -> _Planned:
    """Where a cell's run is. The configuration is built for its hash, which finds most mistakes before any run."""
    try:
        config = AIAConfig(config_dict={**ONE_OF_MANY, **cell.settings}, argv=[])
    except AIAError as error:
        return _Planned(cell, None, refused=str(error))
    place = config["data_path"]
    digests[place] = digests.get(place) or files_digest(config)
    return _Planned(cell, kept_place(config, runs), "" if digests[place] == _NO_FILES else digests[place])


def _key(planned: _Planned) -> str:
    """What tells a run from others; a refused one has no folder."""
    cell = planned.cell
    if planned.folder is not None:
        return planned.folder.name
    return "-".join([cell.model, cell.dataset, cell.method, str(cell.seed), *cell.attributes])


def _results(planned: _Planned) -> dict[str, Any] | None:
    return None if planned.folder is None else kept_results(planned.folder, planned.data)


def _task(key: str, planned: _Planned, output_dir: Path) -> Task:
    place = output_dir / "cells" / f"{key}.yaml"
    text = to_yaml({**ONE_OF_MANY, **planned.cell.settings})
    write_whole(place, lambda aside: aside.write_text(text, encoding="utf-8"))
    assert planned.folder is not None
    return Task(key, ("--config_files", str(place)), planned.folder, place.with_suffix(".log"))
