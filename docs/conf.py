"""Sphinx: the manual in MyST, and a reference of everything public from the docstrings.

sphinx-build -W -b html docs build/docs
sphinx-build -W -b doctest docs build/doctest
"""

import importlib
import pkgutil
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import recbole_aia  # noqa: E402


def rooms() -> list[str]:
    """All packages, and the modules of those that list nothing, named below `recbole_aia`; upper ones first."""
    root = "recbole_aia."
    found = [module.name.removeprefix(root) for module in pkgutil.walk_packages(recbole_aia.__path__, root)]
    shown = [name for name in found if "._" not in f".{name}" and has_page(name)]
    return sorted(shown, key=lambda name: (name.count("."), name))


def has_page(room: str) -> bool:
    """Whether a module has a page: what is inside a package with an `__all__` has its place on the package's page."""
    package, _, _ = f"recbole_aia.{room}".rpartition(".")
    inside = package != "recbole_aia" and hasattr(importlib.import_module(package), "__all__")
    return not inside or hasattr(importlib.import_module(f"recbole_aia.{room}"), "__path__")


def members(room: str) -> dict[str, object]:
    """What the page of a room describes: what the room lists, or what it defines where it has no list."""
    module = importlib.import_module(f"recbole_aia.{room}")
    if hasattr(module, "__all__"):
        return {name: getattr(module, name) for name in module.__all__}
    return {name: value for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__}


def first_homes() -> dict[int, str]:
    """By the identity of each member: its name in the first room that has it. Sphinx wants each described once."""
    homes: dict[int, str] = {}
    for room in rooms():
        for name, value in members(room).items():
            if hasattr(value, "__qualname__"):  # numbers and texts may be one object for several names
                homes.setdefault(id(value), f"{room}.{name}")
    return homes


def repeated(room: str) -> list[str]:
    """The members of a room that another room describes."""
    return [name for name, value in members(room).items() if HOMES.get(id(value), f"{room}.{name}") != f"{room}.{name}"]


def copy_root_pages() -> None:
    """Copies the pages of the root into `docs/project/`, where Sphinx reads them, with links that hold there."""
    folder = ROOT / "docs" / "project"
    folder.mkdir(exist_ok=True)
    for page in ROOT_PAGES:
        text = (ROOT / f"{page}.md").read_text(encoding="utf-8")
        text = re.sub(rf"\]\((?!https?:|#|(?:{'|'.join(ROOT_PAGES)})\.md)", "](../../", text)
        text = text.replace("](../../docs/", "](../")
        (folder / f"{page}.md").write_text(text, encoding="utf-8")


def link_to_root_pages(app: Any, name: str, source: list[str]) -> None:
    """Turns a link from `docs/` to a page of the root into one to its copy."""
    if not name.startswith("project/"):
        source[0] = re.sub(rf"\]\(((?:\.\./)*)\.\./({'|'.join(ROOT_PAGES)})\.md", r"](\1project/\2.md", source[0])


def setup(app: Any) -> None:
    """Called by Sphinx."""
    copy_root_pages()
    app.connect("source-read", link_to_root_pages)


ROOT_PAGES = ("README", "CHANGELOG", "CONTRIBUTING", "SECURITY")
HOMES = first_homes()
PUBLIC = [HOMES[id(value)] for name in recbole_aia.__all__ if id(value := getattr(recbole_aia, name)) in HOMES]


project = "recbole-aia"
author = "the recbole-aia authors"
release = version = recbole_aia.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_templates"]
templates_path = ["_templates"]

# Headings get GitHub's anchors, so that a link works in both places.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "dollarmath"]

# The reference has a page for each package, with the names in its `__all__`. Where a package lists nothing, each of its
# modules has a page. Other names are not public. The pages follow the code, so a module may move without a change here.
autosummary_generate = True
autosummary_context = {
    "rooms": rooms(),
    "public": PUBLIC,
    "repeated": {f"recbole_aia.{room}": repeated(room) for room in rooms()},
}
autodoc_default_options = {"members": True, "show-inheritance": True, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False
napoleon_use_rtype = False
napoleon_custom_sections = [("Source", "params_style"), ("Sources", "params_style")]

doctest_test_doctest_blocks = "default"

html_theme = "furo"
html_title = f"recbole-aia {release}"
html_static_path: list[str] = []
