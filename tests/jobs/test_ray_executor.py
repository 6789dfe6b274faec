"""A comparison on a local Ray cluster."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from grids import TABLES

from recbole_aia.cli import main
from recbole_aia.jobs.executors import Task
from recbole_aia.jobs.ray_executor import _bring, _Made, _made

pytest.importorskip("ray")
pytestmark = pytest.mark.filterwarnings("ignore")


def _worker_of_a_run():
    """The process of Ray's that has started a run, if one is going on."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if b"recbole_aia.cli import main" in (place / "cmdline").read_bytes():
                parent = int((place / "stat").read_text().rsplit(")", 1)[1].split()[1])
                if b"ray::" in Path(f"/proc/{parent}/cmdline").read_bytes():
                    return parent
        except (OSError, ValueError):
            continue
    return None


def _kill_one(killed, over):
    while not over.is_set() and not killed:
        worker = _worker_of_a_run()
        if worker is not None:
            os.kill(worker, signal.SIGKILL)
            killed.append(worker)
        time.sleep(0.05)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes as Linux names them")
def test_a_cluster_gives_the_table_of_one_machine_though_a_worker_is_killed(compared, grid, monkeypatch, capsys):
    monkeypatch.setenv("RAY_ADDRESS", "")
    killed, over = [], threading.Event()
    killer = threading.Thread(target=_kill_one, args=(killed, over))
    killer.start()
    try:
        assert main(["compare", "tiny.yaml", "--executor", "ray"]) == 0
    finally:
        over.set()
        killer.join()
    assert killed
    assert "2 runs made, 0 found, 1 failed" in capsys.readouterr().out
    for name in TABLES:
        assert (grid / "compare" / "tiny" / name).read_bytes() == (compared / "compare" / "tiny" / name).read_bytes(), (
            name
        )
    assert not list((grid / "runs").glob(".*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--cpus", "0"], "--cpus is 0"), (["--gpus", "-1"], "--gpus is -1"), (["--gpus", "nan"], "--gpus is nan")],
)
def test_a_wrong_wish_is_refused(grid, capsys, arguments, message):
    assert main(["compare", "tiny.yaml", "--executor", "ray", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_files_of_another_machine_come_back_whole(tmp_path):
    task = Task("a", (), tmp_path / "runs" / "a", tmp_path / "a.log")
    task.folder.mkdir(parents=True)
    (task.folder / "run.log").write_text("of a run that failed", encoding="utf-8")
    _bring(task, _Made(None, b"said", {"results.json": b"{}", "checkpoint.pth": b"\0"}))
    assert {each.name: each.read_bytes() for each in task.folder.iterdir()} == {
        "results.json": b"{}", "checkpoint.pth": b"\0",
    }  # fmt: skip
    assert task.log.read_bytes() == b"said"
    assert [each.name for each in (tmp_path / "runs").iterdir()] == ["a"]


def test_a_machine_without_the_callers_folder_sends_all_files_back(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "there"))
    (tmp_path / "there").mkdir()
    task = Task("a", ("--model=BPR", "--config_files", "gone.yaml"), tmp_path / "runs" / "a", tmp_path / "a.log")
    settings = b"{attributes: [gender], epochs: 1, embedding_size: 8, attackers: [naive_bayes], attack_repeats: 1}"
    made = _made(task, settings, 1, str(tmp_path), str(tmp_path / "no-proof"))
    assert made.reason is None, made.log
    assert {"results.json", "checkpoint.pth", "embeddings.npz"} <= made.files.keys()
    assert not task.folder.exists()
    _bring(task, made)
    assert json.loads((task.folder / "results.json").read_text())["run"]["model"] == "BPR"
