"""Mistakes in what is asked of an unlearning."""

from pathlib import Path

import pytest

from recbole_aia.cli import main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing is asked for"),
        (["--checkpoint", "x.pth", "--list"], "--checkpoint and --list are given"),
        (["--checkpoint", "x.pth"], "need --attributes"),
        (["--checkpoint", "x.pth", "--attributes=[gender]"], "'x.pth' cannot be read"),
        (["--list"], "there is no ledger"),
        (["--list", "--users", "strangers.txt"], "--list makes none"),
        (["--withdraw", "1", "--users", "strangers.txt"], "--withdraw makes none"),
        (["--checkpoint", "BASE", "--attributes=[gender]", "--user=strangers.txt"], "Did you mean --users?"),
        (["--checkpoint", "BASE", "--attributes=[gender]", "--modes=data_free"], "Did you mean --mode?"),
        (["--withdraw", "1"], "there is no ledger"),
        (["--add", "--attributes=[age]", "--seed=1"], "keeps the settings"),
        (["--checkpoint", "BASE", "--attributes=[]"], "names nothing"),
        (["--checkpoint", "BASE", "--attributes=5"], "names nothing"),
        (["--checkpoint", "BASE", "--attributes=true"], "names nothing"),
        (["--checkpoint", "BASE", "--attributes=2020-01-01"], "names nothing"),
        (["--checkpoint", "BASE", "--attributes={5: {bins: [3]}}"], "names nothing"),
        (["--checkpoint", "BASE", "--attributes={age: 2020-01-01}"], "such as a date"),
        (["--checkpoint", "BASE", "--attributes={age: {2020-01-01: [3]}}"], "such as a date"),
        (["--checkpoint", "BASE", "--attributes=[gender]", "--users", "empty.txt"], "nobody"),
        (
            ["--checkpoint", "BASE", "--attributes=[gender]", "--users", "edge:0.0001", "--calibrated_labels=own"],
            "nothing can be aligned",
        ),
        (["--checkpoint", "BASE", "--attributes=[gender]", "--attack_views=[sreved]"], "Did you mean served"),
        (["--checkpoint", "BASE", "--attributes=[gendr]"], "Did you mean 'gender'"),
        (["--checkpoint", "BASE", "--attributes=[gender]", "--users", "nobody.txt"], "nobody.txt cannot be read"),
        (["--checkpoint", "BASE", "--attributes=[gender]", "--users", "core:2"], "cannot be drawn"),
        (["--checkpoint", "BASE", "--attributes=[gender]", "--users", "strangers.txt"], "'stranger' first"),
        (
            ["--checkpoint", "BASE", "--attributes=[gender]", "--defense", "raid"],
            "raid trains items and all users anew",
        ),
        (
            ["--checkpoint", "BASE", "--attributes=[gender]", "--defense", "u2u", "--mode", "data_free"],
            "--mode is for",
        ),
        (["--checkpoint", "BASE", "--attributes=[gender]", "--seed=1"], "--seed is the trained model's own"),
        (["--checkpoint", "BASE", "--attributes=[gender]", "--holdout_users=0.2"], "--users says who asks"),
        (["--checkpoint", "BASE", "--attributes=[gender]", "--epochs=77"], "nothing is trained here"),
        (["--checkpoint", "BASE", "--attributes=[gender]", "--init_checkpoint=a.pth"], "--checkpoint says which"),
        (["--checkpoint", "BASE", "--attributes=[gender]", "--stage=in"], "--stage is always post here"),
        (["--checkpoint", "BASE", "--attributes=[gender]", "--unlearn_maxsteps=3"], "Did you mean 'unlearn_max_steps'"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(base, arguments, message, capsys, tmp_path):
    Path("strangers.txt").write_text("1\nstranger\n")
    Path("empty.txt").write_text("\n")
    arguments = [str(base) if word == "BASE" else word for word in arguments]
    assert main(["unlearn", "--output_dir", "safe", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not Path("safe").exists()


def test_a_folder_that_holds_something_is_not_overwritten(base, capsys):
    Path("safe").mkdir()
    Path("safe/checkpoint.pth").write_text("precious")
    arguments = ["--checkpoint", str(base), "--attributes=[gender]", "--output_dir", "safe"]
    assert main(["unlearn", *arguments]) == 2
    assert Path("safe/checkpoint.pth").read_text() == "precious"
