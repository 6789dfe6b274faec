import pytest
from pages import full, hostile, varied

from recbole_aia.errors import ConfigValueError
from recbole_aia.report.figures import figures
from recbole_aia.report.figures.comparison import comparison_figures
from recbole_aia.report.figures.images import write_images

pytest.importorskip("matplotlib")
BEGINNINGS = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}


@pytest.fixture
def drawn(tmp_path):
    return write_images(figures(full()), tmp_path / "figures", ["svg"])


def test_every_figure_is_a_file_of_each_format(tmp_path):
    (plane, _) = comparison_figures(*varied())
    files = write_images([plane], tmp_path / "figures")
    assert [file.name for file in files] == ["plane-1.png", "plane-1.pdf", "plane-1.svg"]
    for file in files:
        assert file.read_bytes().startswith(BEGINNINGS[file.suffix[1:]])


def test_axes_are_named_and_the_same_numbers_are_the_same_file(drawn, tmp_path):
    assert [file.stem for file in drawn] == [figure.name for figure in figures(full())]
    assert "held-out score for M (standard deviations)" in drawn[2].read_text()
    again = write_images(figures(full())[2:3], tmp_path / "again", ["svg"])
    assert again[0].read_bytes() == drawn[2].read_bytes()


def test_names_are_text_and_no_formulas(tmp_path):
    found = hostile()
    for row in found["attacks"]:
        row["attacker"] = "a$b_{$"
    (bars,) = [figure for figure in figures(found) if figure.name == "attackers-1"]
    (file,) = write_images([bars], tmp_path, ["svg"])
    assert "a$b_{$ on served" in file.read_text()
    assert "<script" not in file.read_text()


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigValueError, match="cannot make"):
        write_images([], tmp_path / "file")


def test_without_matplotlib_it_says_what_to_type(tmp_path, monkeypatch):
    monkeypatch.setattr("recbole_aia.report.figures.images.find_spec", lambda name: None)
    with pytest.raises(ConfigValueError, match=r"pip install 'recbole-aia\[figures\]'"):
        write_images([], tmp_path)
