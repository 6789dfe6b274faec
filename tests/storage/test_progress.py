import os
import subprocess
import sys

import pytest

from recbole_aia.errors import ConfigValueError, Interrupted, StorageError
from recbole_aia.storage.progress import CONFIG, check_interrupted, interrupted_job, progress


def begin(folder, error=None, settings="s", basis="b"):
    """Does a first piece of work in a folder, then ends by an error or well; returns what earlier ones had done."""
    with progress(folder, settings, basis, "epochs: 3\n") as kept:
        found = kept.stage("training").last()
        kept.stage("training").save({"step": 1})
        if error is not None:
            raise error
    return found


@pytest.mark.parametrize("error", [Interrupted(2), KeyboardInterrupt(), StorageError("full"), OSError(28, "full")])
def test_what_is_done_stays_after_an_interruption_and_after_an_error_of_the_disk(tmp_path, error):
    with pytest.raises((KeyboardInterrupt, StorageError)):
        begin(tmp_path, error)
    assert interrupted_job(tmp_path) == "s"
    assert check_interrupted(tmp_path, "s")
    assert (tmp_path / CONFIG).read_text() == "epochs: 3\n"
    assert begin(tmp_path) == {"step": 1}


def test_an_interruption_that_was_wrapped_counts_as_one(tmp_path):
    wrapped = RuntimeError("wrapped")
    wrapped.__cause__ = Interrupted(15)
    with pytest.raises(RuntimeError):
        begin(tmp_path, wrapped)
    assert begin(tmp_path) == {"step": 1}


def test_an_interruption_says_where_the_work_is(tmp_path):
    with pytest.raises(Interrupted) as caught:
        begin(tmp_path, Interrupted(15))
    assert caught.value.way_on == f"What is done is kept in '{tmp_path}': the same command goes on from there."


@pytest.mark.parametrize("error", [None, ConfigValueError("diverged"), ZeroDivisionError()])
def test_nothing_stays_after_an_end_for_good(tmp_path, error):
    if error is None:
        begin(tmp_path)
    else:
        with pytest.raises(type(error)):
            begin(tmp_path, error)
    assert list(tmp_path.iterdir()) == []
    assert not check_interrupted(tmp_path, "s")


def test_another_basis_begins_anew(tmp_path):
    with pytest.raises(Interrupted):
        begin(tmp_path, Interrupted(2))
    assert begin(tmp_path, basis="other data") is None


def test_other_settings_are_refused(tmp_path):
    with pytest.raises(Interrupted):
        begin(tmp_path, Interrupted(2))
    with pytest.raises(ConfigValueError, match="interrupted job with other settings"):
        check_interrupted(tmp_path, "other")


def test_a_damaged_note_of_the_job_counts_as_none(tmp_path):
    (tmp_path / CONFIG).parent.mkdir()
    (tmp_path / CONFIG).with_name("job.json").write_text("[1]")
    assert interrupted_job(tmp_path) is None


def test_two_processes_do_not_work_in_one_folder(tmp_path):
    code = (
        "import sys; from pathlib import Path; from recbole_aia.storage.progress import progress\n"
        "with progress(Path(sys.argv[1]), 's', 'b'): print('in', flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ) as other:
        assert other.stdout.readline() == b"in\n"
        with pytest.raises(ConfigValueError, match="another process works in"):
            begin(tmp_path)
        other.kill()
    assert begin(tmp_path) is None
