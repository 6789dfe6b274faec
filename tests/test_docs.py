"""The manual: its links lead somewhere, its Python runs, and what does not run says why."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from recbole_aia.model import views

ROOT = Path(__file__).parents[1]
GENERATED = {"api", "project"}
DOCS = ROOT / "docs"
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    *(page for page in sorted(DOCS.rglob("*.md")) if page.relative_to(DOCS).parts[0] not in GENERATED),
]
FENCE = re.compile(r"^(```+)(.*?)\n(.*?)^\1 *$", flags=re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
NOT_RUN = re.compile(r"<!-- not run: \S.*-->\n\Z")
MOST_LINES = 150


def name_of(page):
    return str(page.relative_to(ROOT))


def prose(page):
    """A page without its code, which may hold anything that looks like a link or a heading."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page):
    """The anchors that GitHub, and MyST as `docs/conf.py` sets it, give to the headings of a page."""
    headings = re.findall(r"^#{1,4} (.+?)\s*$", prose(page), flags=re.MULTILINE)
    words = (re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)) for heading in headings)
    return {heading.lower().replace(" ", "-") for heading in words}


def python_blocks(page):
    """The Python of a page that is meant to run, one text each."""
    text = page.read_text(encoding="utf-8")
    blocks = [block for block in FENCE.finditer(text) if block[2] == "python"]
    return [block[3] for block in blocks if not NOT_RUN.search(text[: block.start()])]


RUNNABLE = [
    pytest.param(code, id=f"{name_of(page)}-{number}")
    for page in PAGES
    if page.name != "README.md"  # test_readme.py runs the README's
    for number, code in enumerate(python_blocks(page), 1)
]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_leads_to_a_file_and_a_heading(page):
    lost = []
    for link in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)
    assert not lost


@pytest.mark.parametrize("code", RUNNABLE)
def test_the_python_of_the_manual_runs_as_printed(code, monkeypatch):
    monkeypatch.setattr(views, "_VIEWS", dict(views._VIEWS))
    exec(compile(code, "docs", "exec"), {"__name__": "__main__"})


def test_every_page_of_the_manual_is_in_its_table_of_contents():
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    listed = {line for block in FENCE.finditer(index) for line in block[3].splitlines() if line and ":" not in line}
    manual = {str(page.relative_to(DOCS).with_suffix("")) for page in PAGES if page.is_relative_to(DOCS)}
    copied = {f"project/{page.stem}" for page in PAGES if page.parent == ROOT}
    assert listed == (manual | copied) - {"index"}


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < MOST_LINES


@pytest.mark.parametrize("page", ["reference", "published"])
def test_a_page_is_what_the_declarations_and_data_say(page):
    """In a process of its own: other tests register guests in this one."""
    command = [sys.executable, "-c", f"import generate; print(generate.{page}(), end='')"]
    made = subprocess.run(command, cwd=DOCS, capture_output=True, text=True, check=True).stdout
    assert (DOCS / f"{page}.md").read_text(encoding="utf-8") == made, "run python docs/generate.py"
