"""Runs, unlearnings and audits that are interrupted, go on, and end as if nothing had been."""

import json
import os
import resource
import signal
from pathlib import Path

import pytest
import torch
from threadpoolctl import threadpool_limits

from recbole_aia import cli
from recbole_aia.data.synthetic import generate, write
from recbole_aia.storage.progress import interrupted_job
from recbole_aia.storage.snapshots import Answers, Snapshots

ATTACK = ["--attackers=[logistic]", "--attack_repeats=1", "--attack_folds=3", "--attack_permutations=20"]
QUIET = ["--attack_jobs=1", "--attack_views=[served]", "--show_progress=False", "--use_gpu=False", "--state=error"]
SMALL = ["--model=BPR", "--dataset=synthetic", "--data_path=data", "--embedding_size=8", "--train_batch_size=256"]
RAID = ["--defense=raid", "--epochs=4", "--raid_atoms=8", "--raid_phase1_epochs=2", "--raid_refresh_epochs=1"]
RUN = ["run", *SMALL, *ATTACK, *QUIET, *RAID, "--output_dir=out"]
UNLEARN = ["unlearn", "--checkpoint=base", "--output_dir=out", "--defense=attrcloak", "--attributes=[group]"]
COMMANDS = {"run": RUN, "unlearn": [*UNLEARN, "--unlearn_max_steps=25"], "audit": ["audit", "base", "--output_dir=out"]}


def results(folder="out"):
    """The content of results.json without times."""

    def timeless(value):
        if isinstance(value, dict):
            return {key: timeless(item) for key, item in value.items() if key not in ("seconds", "when", "efficiency")}
        return [timeless(item) for item in value] if isinstance(value, list) else value

    return timeless(json.loads(Path(folder, "results.json").read_text()))


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A folder with a dataset, a trained base, and what each command gives alone."""
    place = tmp_path_factory.mktemp("begun")
    write(generate(60, 40, 900, leak=3.0), place / "data")
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr("sys.argv", ["recbole-aia"])
        base = [word for word in RUN if word not in RAID and "output_dir" not in word]
        assert cli.main([*base, "--epochs=3", "--output_dir=base"]) == 0
        for name, words in COMMANDS.items():
            assert cli.main(words) == 0
            found[name] = results()
            Path("out").rename(f"out-{name}")
    return place, found


@pytest.fixture
def alone(begun, tmp_path):
    """What each command gives alone; the working directory has the data and the base."""
    place, found = begun
    for name in ("data", "base"):
        (tmp_path / name).symlink_to(place / name)
    return found


@pytest.fixture
def stop_at(monkeypatch):
    """Sends this process SIGTERM when the given number of answers or snapshots have been kept."""

    def make(kind, number):
        method, kept = ("put", Answers) if kind == "answers" else ("save", Snapshots)
        original, calls = getattr(kept, method), []

        def counted(self, *args):
            original(self, *args)
            calls.append(args)
            if len(calls) == number:
                os.kill(os.getpid(), signal.SIGTERM)

        monkeypatch.setattr(kept, method, counted)
        monkeypatch.setattr(Snapshots, "due", True)

    return make


@pytest.mark.parametrize(
    ("name", "kind", "number"),
    [
        ("run", "snapshots", 2),  # the twin's training
        ("run", "snapshots", 8),  # the defended training
        ("run", "answers", 4),
        ("unlearn", "snapshots", 2),  # the descent
        ("unlearn", "snapshots", 3),  # just after it
        ("unlearn", "answers", 2),
        ("audit", "answers", 2),
    ],
)
def test_the_same_command_goes_on_and_ends_as_if_nothing_had_been(alone, stop_at, capsys, name, kind, number):
    stop_at(kind, number)
    assert cli.main(COMMANDS[name]) == 143
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line == "recbole-aia: interrupted. What is done is kept in 'out': the same command goes on from there."
    assert interrupted_job(Path("out")) is not None
    assert cli.main(COMMANDS[name]) == 0
    assert results() == alone[name]
    assert not [path.name for path in Path("out").iterdir() if path.name.startswith(".")]


class TestResume:
    def test_it_takes_the_settings_of_the_interrupted_run(self, alone, stop_at, capsys):
        stop_at("answers", 1)
        assert cli.main(RUN) == 143
        assert cli.main(["run", "--resume", "--output_dir=out"]) == 0
        assert results() == alone["run"]
        assert "resume" not in Path("out/config.yaml").read_text()

    @pytest.mark.parametrize("words", [["run", "--model=BPR", "--resume"], [*UNLEARN, "--resume"]])
    def test_without_an_interrupted_job_it_begins_none(self, alone, capsys, words):
        assert cli.main([*words, "--output_dir=new"] if words[0] == "run" else words) == 2
        assert "Leave --resume out" in capsys.readouterr().err
        assert not Path("new").exists()

    def test_a_folder_says_all_that_is_needed_and_its_absence_is_said(self, capsys):
        assert cli.main(["run", "--resume", "--output_dir=new"]) == 2
        assert capsys.readouterr().err.startswith("recbole-aia: 'new' holds no interrupted job to go on with. Leave")
        assert not Path("new").exists()

    def test_other_settings_do_not_go_on(self, alone, stop_at, capsys):
        stop_at("answers", 1)
        assert cli.main(RUN) == 143
        assert cli.main([*RUN, "--seed=1"]) == 2
        assert "holds an interrupted job with other settings" in capsys.readouterr().err
        assert interrupted_job(Path("out")) is not None


def test_litter_of_a_killed_run_goes_with_the_next(alone):
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    for folder in ("out", "saved"):
        Path(folder).mkdir()
        Path(folder, f".{child}.run.log").write_text("x")
    assert cli.main(RUN) == 0
    assert not [path for folder in ("out", "saved") for path in Path(folder).iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("limit", [300, 2_500])
def test_a_full_disk_is_one_line_and_the_same_command_goes_on(alone, name, limit, capsys):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        code = cli.main(COMMANDS[name])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    said = [line for line in capsys.readouterr().err.splitlines() if "recbole-aia: " in line]
    assert (code, len(said)) == (2, 1)
    assert not Path("out/results.json").exists()
    assert not list(Path().rglob(f".{os.getpid()}.*"))
    assert cli.main(COMMANDS[name]) == 0
    assert results() == alone[name]


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_command_gives_equal_results_on_any_number_of_threads(alone, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads):
            assert cli.main(RUN) == 0
    finally:
        torch.set_num_threads(before)
    assert results() == alone["run"]
