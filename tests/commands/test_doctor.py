"""The command ``recbole-aia doctor``."""

from recbole_aia.cli import main


def test_the_doctor_finds_nothing_wrong_here(capsys):
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert "all is well" in printed
    assert "ml-100k" in printed
