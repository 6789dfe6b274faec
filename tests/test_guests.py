"""The guests of the manual, installed as another package would be. They need no name that is not public."""

import ast
import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GUESTS = ROOT / "docs" / "guests"
MODULES = ("erasure", "means", "nearest_mean", "popular")
SHORT = (
    "--attributes=[gender]", "--attackers=[nearest_mean]", "--attack_folds=2", "--attack_repeats=1",
    "--attack_jobs=1", "--show_progress=False",
)  # fmt: skip


def install(folder, name, modules):
    """What pip leaves of a package: its folder, and a dist-info that declares the entry points."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    points = "".join(f"{module} = {name}.{module}\n" for module in modules)
    (info / "entry_points.txt").write_text(f"[recbole_aia.plugins]\n{points}")
    (folder / name).mkdir()


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Runs Python where the guests are installed, in a folder that all tests of this module share."""
    site, work = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("work")
    install(site, "guests", MODULES)
    for module in MODULES:
        shutil.copy(GUESTS / f"{module}.py", site / "guests")

    def run(*arguments, installed=(site,)):
        path = os.pathsep.join(map(str, [*installed, ROOT, *filter(None, [os.environ.get("PYTHONPATH")])]))
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=work, env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "120"},
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        done.folder = work
        return done

    return run


@pytest.fixture(scope="module")
def command(python):
    return lambda *arguments, **more: python("-m", "recbole_aia.cli", *arguments, **more)


@pytest.fixture(scope="module")
def ran(command):
    """A run of the guests' model, defense and attacker."""
    places = ("--output_dir=out", "--checkpoint_dir=saved")
    return command(
        "run", "--model=Popular", "--defense=erasure", "--epochs=1", "--embedding_size=8", *SHORT, *places
    )  # fmt: skip


def results(done, folder):
    assert done.returncode == 0, done.stderr
    return json.loads((done.folder / folder / "results.json").read_text())


def test_a_run_has_their_model_defense_and_attacker(ran):
    found = results(ran, "out")
    assert (found["run"]["model"], found["run"]["defense"], found["run"]["stage"]) == ("Popular", "erasure", "post")
    assert {row["attacker"] for row in found["attacks"]} == {"nearest_mean"}
    assert "warning" not in ran.stderr.lower()


def test_unlearning_has_them_too(ran, command):
    (twin,) = (ran.folder / "saved").glob("undefended-Popular-*.pth")
    asked = ("--users=random:0.5", "--erasure_strength=0.9")
    done = command("unlearn", f"--checkpoint={twin}", "--defense=erasure", "--output_dir=safe", *asked, *SHORT)
    found = results(done, "safe")
    assert found["run"]["defense"] == "erasure"
    ledger = json.loads((done.folder / "safe" / "ledger.json").read_text())
    assert "--erasure_strength=0.9" in json.dumps(ledger)


def test_help_lists_the_defense_and_its_key(command):
    for name, words in (("run", "--defense=erasure\n"), ("unlearn", "\n  erasure ")):
        done = command(name, "--help")
        assert done.returncode == 0, done.stderr
        assert words in done.stdout
        assert "erasure_strength" in done.stdout


def test_a_misspelt_key_is_refused_in_one_line(command):
    done = command("run", "--model=BPR", "--defense=erasure", "--erasure_strenght=1")
    assert done.returncode == 2
    assert done.stderr == ("recbole-aia: there is no key 'erasure_strenght'. Did you mean 'erasure_strength'?\n")


def test_they_keep_the_contracts(python, tmp_path):
    tests = shutil.copy(GUESTS / "test_guests.py", tmp_path)
    done = python("-m", "pytest", "-n", "0", "-p", "no:cacheprovider", tests)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def test_a_script_registers_without_being_installed(python, tmp_path):
    script = tmp_path / "script.py"
    use = 'from recbole_aia import AIAConfig\nprint(AIAConfig("BPR", argv=["--defense=erasure"])["erasure_strength"])\n'
    script.write_text((GUESTS / "erasure.py").read_text() + use)
    done = python(script, installed=())
    assert (done.returncode, done.stdout) == (0, "1.0\n"), done.stderr


def test_a_broken_plugin_is_a_warning_that_names_it_and_nothing_more(command, tmp_path):
    install(tmp_path, "broken", ["module"])
    (tmp_path / "broken" / "module.py").write_text('raise RuntimeError("no luck")\n')
    done = command("run", "--help", installed=[tmp_path])
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert "the plugin 'module' (broken.module) cannot be loaded (RuntimeError: no luck)" in line
    assert "raid_eta" in done.stdout


@pytest.mark.parametrize("file", sorted(GUESTS.glob("*.py")), ids=lambda file: file.name)
def test_they_use_nothing_private(file):
    tree, used = ast.parse(file.read_text()), []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            assert not node.attr.startswith("_") or node.attr == "__init__", ast.unparse(node)
        elif isinstance(node, ast.Import):
            assert not any(alias.name.startswith("recbole_aia") for alias in node.names), "import the names"
        elif isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "recbole_aia":
            used += [(node.module, alias.name) for alias in node.names]
    assert used
    for module, name in used:
        assert name in importlib.import_module(module).__all__, f"{module}.{name}"


@pytest.mark.parametrize(("name", "most"), [("erasure", 40), ("means", 40), ("nearest_mean", 30)])
def test_an_example_is_short(name, most):
    assert len((GUESTS / f"{name}.py").read_text().splitlines()) < most
