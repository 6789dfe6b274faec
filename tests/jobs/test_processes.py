"""A run in several processes: what is written and said, and what is left when one of them dies."""

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import together

from recbole_aia import cli
from recbole_aia.data.synthetic import generate, write
from recbole_aia.evaluator import fits
from recbole_aia.launch import place
from recbole_aia.storage.progress import interrupted_job
from recbole_aia.storage.snapshots import Snapshots
from recbole_aia.trainer import DefenseTrainer

ATTACK = ["--attackers=[logistic]", "--attack_repeats=1", "--attack_folds=3", "--attack_permutations=20"]
QUIET = ["--attack_jobs=1", "--attack_views=[served]", "--show_progress=False", "--use_gpu=False"]
SMALL = ["--model=NeuMF", "--dataset=synthetic", "--data_path=data", "--train_batch_size=512", "--mlp_hidden_size=[8]"]
RAID = ["--defense=raid", "--epochs=4", "--raid_atoms=8", "--raid_phase1_epochs=2", "--raid_refresh_epochs=1"]
BASE = ["run", *SMALL, *ATTACK, *QUIET]
RUN = [*BASE, *RAID]
HOME = str(Path(cli.__file__).parents[1])
FILES = {"results.json", "config.yaml", "checkpoint.pth", "embeddings.npz", "activity.csv", "users.csv", "run.log"}


@pytest.fixture(autouse=True)
def _data(tmp_path):
    write(generate(60, 40, 900, leak=3.0), tmp_path / "data")


def numbers(folder):
    """What several processes have to find as one does."""
    found = json.loads(Path(folder, "results.json").read_text())
    rows = [(row["state"], row["attribute"], row["metrics"]["auc"]["mean"]) for row in found["attacks"]]
    return found["utility"], rows


def assert_as_alone(folder):
    assert cli.main([*RUN, "--output_dir=alone", "--checkpoint_dir=other"]) == 0
    (utility, rows), (wanted, wanted_rows) = numbers(folder), numbers("alone")
    for state in wanted:
        assert utility[state] == pytest.approx(wanted[state], abs=1e-5)
    assert [row[:2] for row in rows] == [row[:2] for row in wanted_rows]
    assert [row[2] for row in rows] == pytest.approx([row[2] for row in wanted_rows], abs=1e-2)


def command(*words, run=RUN):
    """The exit code of a command and what it has said."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main([*run, *(words or ["--output_dir=out"])])
    return code, out.getvalue(), err.getvalue()


def test_the_first_process_writes_and_speaks_and_finds_what_one_finds():
    (code, out, _), *others = together(3, command, working=False)
    assert code == 0
    assert "results in out/" in out
    assert others == [(0, "", "")] * 2
    assert {path.name for path in Path("out").iterdir()} >= FILES
    assert len(list(Path("log_tensorboard").iterdir())) <= 2
    assert_as_alone("out")


def attacks(*words):
    """The exit code of a command, and how many times this process has fitted attackers."""
    original, fitted = fits._attack, []

    def attack(*arguments):
        fitted.append(arguments)
        return original(*arguments)

    fits._attack = attack
    return command(*words)[0], len(fitted)


def test_the_twin_of_one_process_is_reused_by_several_which_attack_it_as_one_does():
    assert cli.main([*BASE, "--epochs=4", "--output_dir=base"]) == 0
    (kept,) = Path("saved").glob("*.attacks")
    shutil.rmtree(kept)
    (code, first), (other_code, other) = together(2, attacks, "--output_dir=again", "--attack_every=4", working=False)
    assert code == other_code == 0
    log = Path("again/run.log").read_text()
    assert "reused from" in log
    assert "epoch 3 attack" in log
    # Three folds of each state, of the last epoch, and of what the defense has moved, seen in two ways.
    assert (first, other) == (9, 6)
    assert log.count("Attack: 3 fits, dealt to 2 processes: [2, 1]") == 3
    alone, shared = (json.loads(Path(folder, "results.json").read_text()) for folder in ("base", "again"))
    rows = [row for row in shared["attacks"] if row["state"] == "undefended"]
    assert len(rows) == len(alone["attacks"]) == 1
    assert [{**row, "seconds": None} for row in rows] == [{**row, "seconds": None} for row in alone["attacks"]]
    for name, case in alone["worst_case"].items():
        assert shared["worst_case"][name]["undefended"] == case["undefended"]


def killed():
    Snapshots.due = True
    original = DefenseTrainer._epoch_ended

    def epoch_ended(self, epoch):
        original(self, epoch)
        if place().rank and self.defense == "raid" and epoch == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    DefenseTrainer._epoch_ended = epoch_ended
    return command("--output_dir=out", "--state=error")


def test_a_death_ends_the_run_in_one_line_and_one_process_goes_on_to_the_same_numbers():
    (code, _, err), *others = together(3, killed, working=False)
    assert code == 2
    said = [line for line in err.splitlines() if line.startswith("recbole-aia: ")]
    assert len(said) == 1
    assert said[0].startswith("recbole-aia: another process of this run has ended or does not answer. What is")
    assert others == [None, None]
    assert interrupted_job(Path("out")) is not None
    assert (Path("out") / ".progress" / "defended").is_dir()
    assert command()[0] == 0
    assert "goes on from epoch 3" in Path("out/run.log").read_text()
    assert_as_alone("out")


ATTACKED = ["--epochs=1", "--output_dir=out", "--state=error"]


def killed_in_an_attack():
    original = fits._attack

    def attack(*arguments):
        if place().rank:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments)

    fits._attack = attack
    return command(*ATTACKED, run=BASE)


def test_a_death_during_attacks_ends_the_run_in_one_line_and_one_process_goes_on():
    (code, _, err), other = together(2, killed_in_an_attack, working=False)
    assert (code, other) == (2, None)
    (line,) = [line for line in err.splitlines() if line.startswith("recbole-aia: ")]
    assert "another process of this run has ended" in line
    assert interrupted_job(Path("out")) is not None
    assert command(*ATTACKED, run=BASE)[0] == 0
    assert interrupted_job(Path("out")) is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--defense=adversarial"], "adversarial does not train in several processes. Train it in one process"),
        (["--nproc=2"], "Leave --nproc out"),
        (["--epochs=0"], "epochs is 0"),
    ],
)
def test_a_mistake_is_one_line_of_the_first_process(words, said):
    (code, _, err), other = together(2, mistaken, words, working=False)
    assert (code, other[0], other[2]) == (2, 2, "")
    (line,) = [line for line in err.splitlines() if line.startswith("recbole-aia: ")]
    assert said in line


def mistaken(words):
    keys = {word.partition("=")[0] for word in words}
    base = [word for word in RUN if word.partition("=")[0] not in keys]
    base = [word for word in base if "raid" not in word] if "--defense" in keys else base
    err = io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
        return cli.main([*base, *words, "--output_dir=out", "--state=error"]), "", err.getvalue()


def test_other_commands_are_refused():
    def audit():
        return cli.main(["report", "--results", "x"])

    assert together(2, audit, working=False) == [2, 2]


def test_nproc_starts_processes():
    done = subprocess.run(
        [sys.executable, "-m", "recbole_aia.cli", *BASE, "--epochs=1", "--output_dir=out", "--nproc=2"],
        capture_output=True, text=True, timeout=240, check=False, env={**os.environ, "PYTHONPATH": HOME},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("results in out/") == 1
    assert {path.name for path in Path("out").iterdir()} >= FILES
