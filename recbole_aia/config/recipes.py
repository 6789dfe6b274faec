"""The grids that come with recbole-aia: the tables of papers, as files that a user copies and edits."""

from __future__ import annotations

from pathlib import Path

from recbole_aia.config.grid import Grid
from recbole_aia.config.hints import did_you_mean
from recbole_aia.config.properties import properties_dir
from recbole_aia.errors import ConfigValueError


def recipes() -> dict[str, Path]:
    """The recipes' files by name."""
    return {path.stem: path for path in sorted((properties_dir() / "recipes").glob("*.yaml"))}


def recipe(name: str) -> Path:
    """The file of a recipe.

    Raises:
        ConfigValueError: there is no recipe of this name.
    """
    offered = recipes()
    if name not in offered:
        raise ConfigValueError(
            f"there is no recipe '{name}'.{did_you_mean(name, offered)} See recbole-aia compare --list-recipes."
        )
    return offered[name]


def recipes_text() -> str:
    """What each recipe shows, needs and takes."""
    blocks = []
    for name, path in recipes().items():
        grid = Grid.read(path)
        blocks.append(
            f"{name}: {grid.title}\n"
            f"  {len(grid.cells())} runs: {', '.join(grid.models)} on {', '.join(grid.datasets)}, "
            f"{len(grid.lines())} methods, {len(grid.seeds)} seeds\n"
            f"  {grid.note}"
        )
    return "\n\n".join(blocks)
