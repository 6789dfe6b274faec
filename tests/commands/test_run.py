"""The command ``recbole-aia run``: mistakes, help, and a run."""

import pytest

from recbole_aia.cli import main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model=LightGNC"], "no model 'LightGNC'"),
        (["--model=Pop"], "Pop has no user embedding view"),
        (["--model=BPR", "--dataset=ml-100m"], "ml-100m.inter"),
        (["--model=BPR", "--attributes=[gendr]"], "Did you mean 'gender'"),
        (["--model=BPR", "--attributes=[zip_code]"], "795 classes"),
        (["--model=BPR", "--defense=riad"], "no defense 'riad'"),
        (["--model=BPR", "--raid_etta=1"], "Did you mean 'raid_eta'"),
        (["--model=BPR", "--defense=raid", "--raid_eta=-1"], "raid_eta is -1"),
        (["--model=BPR", "--attackers=[logistik]"], "logistic"),
        (["--model=BPR", "--epochs=ten"], "epochs is 'ten'"),
        (["--model=BPR", "--attributes", "gender"], "Write --key=value"),
        (["--model=BPR", "--config_files", "nowhere.yaml"], "nowhere.yaml' does not exist"),
        ([], "no model is given"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments, message, capsys, tmp_path):
    assert main(["run", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("recbole-aia: ")
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_help_for_run_lists_the_keys(capsys):
    main(["run", "--help"])
    printed = capsys.readouterr().out
    assert "raid_eta: 1.0" in printed
    assert "attack_folds: ~" in printed


def test_a_run_from_the_command_line(tmp_path):
    arguments = [
        "-m", "BPR", "-d", "ml-100k", "--attributes=gender", "--epochs=1", "--attackers=[logistic]",
        "--attack_repeats=1", "--attack_jobs=1", "--show_progress=False", "--output_dir=out",
        "--no_labels_out",
    ]  # fmt: skip
    assert main(["run", *arguments]) == 0
    assert (tmp_path / "out" / "results.json").is_file()
    assert not (tmp_path / "out" / "users.csv").exists()
