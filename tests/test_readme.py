"""The README's code runs and its commands are the ones that are checked."""

import re
from pathlib import Path

import pytest

from recbole_aia.model import views

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL) for line in block.splitlines()]


@pytest.mark.parametrize("code", PYTHON, ids=["in a RecBole project", "on arrays"])
def test_its_python_runs_as_printed(code, capsys, monkeypatch):
    monkeypatch.setattr(views, "_VIEWS", dict(views._VIEWS))
    exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
    if "print" in code:
        assert capsys.readouterr().out


def test_its_model_is_moved_to_the_device_of_the_configuration():
    assert 'model = BPR(config, train_data.dataset).to(config["device"])' in PYTHON[0].splitlines()


def test_it_has_two_commands_of_one_line_each_complete_on_a_fresh_machine():
    assert len(COMMANDS) == 2
    for command in COMMANDS:
        assert command.startswith("python3.11 -m venv ")
        assert "pip install" in command
    assert "run_recbole_aia.py --model=LightGCN --dataset=ml-100k --defense=calibrated" in COMMANDS[0]
    assert COMMANDS[1].endswith("-m pytest")


def test_the_checks_run_exactly_its_test_command():
    pattern = re.search(r"grep -E '([^']+)' README\.md", (ROOT / ".ci" / "run").read_text()).group(1)
    assert [line for line in README.splitlines() if re.search(pattern, line)] == [COMMANDS[1]]
