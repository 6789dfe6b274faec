"""What holds for the command line as a whole: help, one-line errors, and how little help costs."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from recbole_aia.cli import main

SCRIPT = Path(__file__).parents[1] / "run_recbole_aia.py"

# Prints help as the command does, then whether a heavy library was loaded for it.
HELP = """
import sys
from recbole_aia.cli import main
try:
    main(["--help"])
except SystemExit:
    pass
print(*{name.split(".")[0] for name in sys.modules}, file=sys.stderr)
"""


def test_the_error_of_the_script_has_no_traceback(tmp_path):
    done = subprocess.run(
        [sys.executable, SCRIPT, "--model=BPR", "--defense=riad"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["nonsense"], ["doctor", "--fix"], [], ["prepare"], ["prepare", "nonsense"]])
def test_an_unknown_command_is_one_line(arguments, capsys):
    try:
        code = main(arguments)
    except SystemExit as stopped:  # argparse's own errors
        code = stopped.code
    assert code == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["run", "--help"],
        ["audit", "--help"],
        ["unlearn", "--help"],
        ["doctor", "--help"],
        ["prepare", "--help"],
        ["prepare", "synthetic", "--help"],
        ["prepare", "ml-1m", "--help"],
        ["prepare", "csv", "--help"],
    ],
)
def test_every_command_has_help(arguments, capsys):
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = stop.code
    assert code == 0
    assert len(capsys.readouterr().out) > 150


def test_help_loads_no_heavy_library():
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True, timeout=120)
    assert "usage: recbole-aia" in done.stdout
    assert not {"torch", "numpy", "pandas", "scipy", "sklearn", "xgboost", "recbole"} & set(done.stderr.split())


def test_help_takes_less_than_four_tenths_of_a_second_of_processor_time():
    """The only test that asserts a time. The least of five, because other processes slow a processor down."""
    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "recbole_aia.cli", "--help"], capture_output=True, check=True, timeout=120
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(times) < 0.4
