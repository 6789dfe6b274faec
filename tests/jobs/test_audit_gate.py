"""The gate of an audit: exit codes, and what is not guarded."""

from pathlib import Path

import pytest
from audited import QUICK, audit, results

from recbole_aia.cli import main


class TestGate:
    @pytest.mark.parametrize("misspelt", ["--fail-above=0.01", "--fail_abov=0.01"])
    def test_one_that_is_misspelt_does_not_stand_open(self, bpr, misspelt, capsys):
        for subject in ([bpr], ["--checkpoint", bpr / "checkpoint.pth"]):
            assert audit(*subject, misspelt) == 2
            assert "Did you mean --fail_above?" in capsys.readouterr().err

    def test_classes_that_are_too_small_are_said_to_be_unguarded(self, bpr, capsys):
        lines = (f"{i},{'x' if i < 8 else 'FM'[i % 2]}\n" for i in range(1, 944))
        Path("small.csv").write_text("user,gender\n" + "".join(lines))
        settings = [setting.replace("folds=3", "folds=10") for setting in QUICK]
        arguments = [f"--embeddings={bpr / 'embeddings.npz'}", "--labels=small.csv", "--fail_above=0.99", *settings]
        assert main(["audit", *arguments]) == 0
        assert "not guarded, too few users: gender: x" in capsys.readouterr().err

    def test_exit_code_1_and_one_line_name_what_exceeds_the_limit(self, bpr, capsys):
        assert audit(bpr, "--fail_above", "0.05", "--output_dir=out") == 1
        error = capsys.readouterr().err
        found = results()
        over = [name for name, worst in found["worst_case"].items() if worst["undefended"]["advantage"] > 0.05]
        assert over
        assert [name for name in ("gender", "age") if f"{name} 0." in error] == over
        assert error.count("\n") == 1
        assert found["audit"]["fail_above"] == 0.05

    def test_exit_code_0_below_it(self, bpr, capsys):
        assert audit(bpr, "--fail_above=0.99") == 0
        assert capsys.readouterr().err == ""
