"""The pages in a real browser: ``pip install playwright``, Debian's chromium, and axe-core in ``AXE``."""

import os
import shutil
from pathlib import Path

import pytest
from pages import audited, full, hostile, results, swept, varied

from recbole_aia.report.page import page
from recbole_aia.report.page.comparison import comparison_page
from recbole_aia.report.page.sweep import sweep_page

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")
AXE = os.environ.get("AXE")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")
ALL_OPEN = "document.querySelectorAll('details').forEach(each => { each.open = true; })"
SIZES = {"desktop": (1200, 900, "light"), "phone": (390, 844, "dark")}


PAGES = {
    "run": lambda: page(full(after=0.3)),
    "audit": lambda: page(audited()),
    "unlearning": lambda: page(results(unlearned=[])),
    "comparison": lambda: comparison_page(*varied(), []),
    "sweep": lambda: sweep_page(swept(), {"model": "BPR"}),
    "hostile": lambda: page(hostile()),
}


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", PAGES)
def test_a_page_opens_from_the_disk(chromium, tmp_path, kind, size):
    width, height, scheme = SIZES[size]
    place = tmp_path / "report.html"
    place.write_text(PAGES[kind](), encoding="utf-8")
    context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, offline=True)
    opened, said, asked = context.new_page(), [], []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("dialog", lambda dialog: said.append(dialog.message))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(place.as_uri())
    plots, drawn = (f"document.querySelectorAll('{css}').length" for css in (".plot", ".js-plotly-plot"))
    opened.wait_for_function(f"{plots} > 0 && {plots} === {drawn}")
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert opened.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    column = 6 if kind != "sweep" else 5  # the advantage, or the number of the first measure
    opened.click(f"table.sortable th:nth-child({column}) button")
    cells = opened.eval_on_selector_all(
        f"table.sortable tbody td:nth-child({column})", "cells => cells.map(cell => parseFloat(cell.textContent))"
    )
    assert cells == sorted(cells)
    shots = Path(os.environ.get("SCREENSHOTS", tmp_path))
    opened.screenshot(path=shots / f"{kind}-{size}.png", full_page=True)
    opened.evaluate(ALL_OPEN)
    assert opened.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    opened.evaluate(ALL_OPEN.replace("true", "false"))
    opened.set_viewport_size({"width": 794, "height": 1123})  # a sheet of A4
    opened.emulate_media(media="print")
    opened.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert opened.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth + 1")
    if AXE:
        opened.emulate_media(media="screen")
        opened.evaluate("window.dispatchEvent(new Event('afterprint'))")
        opened.set_viewport_size({"width": width, "height": height})
        opened.evaluate(ALL_OPEN)
        opened.add_script_tag(path=AXE)
        found = opened.evaluate("axe.run().then(found => found.violations.map(v => [v.impact, v.id, v.nodes[0].html]))")
        assert [each for each in found if each[0] in ("serious", "critical")] == []
    context.close()
