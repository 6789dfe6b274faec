import base64
import gzip
import json
import re
from html.parser import HTMLParser

import pytest
from pages import HOSTILE, audited, epoch, full, hostile, results, varied

from recbole_aia.cli import main
from recbole_aia.report import write_results
from recbole_aia.report.page import page, sentences
from recbole_aia.report.page.comparison import comparison_page


class Text(HTMLParser):
    """The text of a page, and its elements."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.words, self._inside = [], [], None
        self.feed(html)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag):
        self._inside = None

    def handle_data(self, data):
        if self._inside not in ("script", "style"):
            self.words.append(data)


class TestSentences:
    def test_at_or_below_the_floor_nothing_is_found(self):
        (verdict,) = sentences.verdicts(results(after=0.1))
        assert verdict.is_protected is True
        assert "55 of 100 pairs" in verdict.text

    def test_above_the_floor_an_attribute_is_not_protected(self):
        (verdict,) = sentences.verdicts(results(after=0.11))
        assert (verdict.is_protected, verdict.headline) == (False, "not protected")
        assert "gender: not protected." in sentences.not_protected(results(after=0.11))

    def test_what_the_movement_tells_counts(self):
        informed = {"gender": {"verdict": "above", "beyond_old": 0.3, "floor": 0.1}}
        found = results(informed={"attributes": informed})
        assert sentences.verdicts(found)[0].headline == "not protected from whoever has old vectors"
        assert any("Destroy old vectors" in said for said in sentences.what_changed(found))

    def test_with_a_high_floor_nothing_can_be_told(self):
        found = results()
        found["worst_case"]["gender"]["defended"]["floor"] = 0.6
        assert sentences.verdicts(found)[0].is_protected is None

    def test_reversed_answers_are_called_a_leak(self):
        assert "come out reversed" in sentences.how_much(results(after=0.6, auc=0.2))[0]
        assert "come out reversed" not in sentences.how_much(results(after=0.6, auc=0.8))[0]

    def test_the_cost_is_said_as_a_share(self):
        assert "kept to 90 %" in sentences.what_it_cost(results())[0]

    def test_what_was_not_hidden_is_named(self):
        found = results()
        found["worst_case"]["age"] = found["worst_case"]["gender"]
        assert "The defense was not asked to hide age." in sentences.not_protected(found)


class TestPage:
    def test_it_is_one_file_below_five_megabytes_that_asks_for_nothing(self):
        html = page(results())
        assert len(html.encode()) < 5_000_000
        outside = [(tag, given) for tag, given in Text(html).tags if "src" in given or given.get("rel") == "stylesheet"]
        assert outside == []

    def test_the_drawing_library_is_in_it(self):
        packed = re.search(r'<script id="plotly" type="application/gzip">([^<]*)</script>', page(results())).group(1)
        assert b"plotly.js" in gzip.decompress(base64.b64decode(packed))[:200]

    def test_many_classes_and_epochs_do_not_make_it_large(self):
        found = full()
        classes = {f"class {k}": {**found["densities"][0]["classes"]["F"], "density": [0.123] * 65} for k in range(10)}
        grid = [k / 65 for k in range(65)]
        found["densities"] = [
            {**each, "attribute": f"a{k}", "grid": grid, "classes": classes}
            for k in range(10)
            for each in found["densities"]
        ]
        found["curves"]["states"] = {state: [epoch(k) for k in range(1000)] for state in found["curves"]["states"]}
        assert len(page(found).encode()) < 5_000_000

    def test_figures_have_tables_of_their_numbers(self):
        for html in (page(full()), comparison_page(*varied(), [])):
            tags = [tag for tag, _ in Text(html).tags]
            assert tags.count("details") == tags.count("figure") > 1
        assert "NDCG@10, validation items" not in Text(page(results())).text
        assert "Its numbers : Privacy and usefulness series" in Text(page(results())).text

    def test_without_plotly_it_says_that_there_are_no_figures(self, monkeypatch):
        monkeypatch.setattr("recbole_aia.report.page.build._plotly", lambda: "")
        html = page(results())
        assert "Plotly is not installed" in Text(html).text
        assert "Plotly.react" not in html
        assert all(given.get("role") != "img" for _, given in Text(html).tags)

    def test_the_order_is_what_a_reader_asks_first(self):
        text = Text(page(results(comparisons=[]))).text
        heads = [
            "How much leaks",
            "To whom",
            "What it cost",
            "How sure this is",
            "What is not protected",
            "How to repro",
        ]
        places = [text.index(head) for head in heads]
        assert places == sorted(places)

    def test_hostile_names_are_text(self):
        html = page(hostile())
        assert "<script>alert" not in html
        assert HOSTILE in Text(html).text
        assert sum(tag == "script" for tag, _ in Text(html).tags) == 3

    def test_small_counts_stay_hidden(self):
        assert "M <5" in Text(page(results())).text

    def test_every_figure_has_a_text_and_every_heading_of_a_table_a_scope(self):
        tags = Text(page(results())).tags
        ids = {given["id"] for _, given in tags if "id" in given}
        figures = [given for tag, given in tags if given.get("role") == "img"]
        assert figures
        assert all(given["aria-labelledby"] in ids for given in figures)
        assert all("scope" in given for tag, given in tags if tag == "th")

    def test_an_audit_without_a_defense_has_a_page(self):
        assert "not protected" in Text(page(audited())).text


class TestCommand:
    @pytest.fixture
    def place(self, tmp_path):
        (tmp_path / "run").mkdir()
        write_results(results(), tmp_path / "run" / "results.json")
        return tmp_path

    def test_the_page_is_made_of_results_alone(self, place, capsys):
        written = (place / "run" / "report.html").read_bytes()
        (place / "run" / "report.html").unlink()
        assert main(["report", "run"]) == 0
        assert (place / "run" / "report.html").read_bytes() == written
        assert main(["report", "run/results.json", "--out", "page.html"]) == 0
        assert (place / "page.html").read_bytes() == written

    def test_figures_are_written_on_request(self, place, capsys):
        pytest.importorskip("matplotlib")
        assert main(["report", "run", "--figures", "figures", "--formats", "svg"]) == 0
        assert sorted(file.name for file in (place / "figures").iterdir()) == ["attackers-1.svg", "plane.svg"]
        assert "2 files of figures in figures/" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["run", "--figures", "f", "--formats", "png,jpg"], "--formats is png,jpg. Name some of png,pdf,svg."),
            (["run", "--formats", "png"], "Give --figures DIR as well"),
            (["run", "run", "--figures", "f"], "--figures is for one PATH"),
            (["absent"], "cannot read 'absent'"),
            (["other.json"], "does not hold results"),
            (["run", "run", "--out", "p.html"], "--out is one page"),
        ],
    )
    def test_what_is_no_result_is_refused(self, place, capsys, arguments, message):
        (place / "other.json").write_text(json.dumps({"schema": 1}), encoding="utf-8")
        assert main(["report", *arguments]) == 2
        assert message in capsys.readouterr().err
        assert not (place / "p.html").exists()
