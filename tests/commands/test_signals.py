import os
import signal

import pytest

from recbole_aia import cli
from recbole_aia.commands import doctor


@pytest.fixture
def doctor_does(monkeypatch):
    """Makes a command do something else."""

    def make(work):
        monkeypatch.setattr(doctor, "_doctor", work)

    return make


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_in_one_line_and_its_own_code(doctor_does, capsys, number, code):
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    doctor_does(lambda *_: os.kill(os.getpid(), number))
    assert cli.main(["doctor"]) == code
    said = capsys.readouterr().err
    assert said.strip() == "recbole-aia: interrupted. Nothing half-written is left. Run the same command again."
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_second_signal_does_not_stop_the_cleaning_up(doctor_does):
    cleaned = []

    def work(*_):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            cleaned.append(True)

    doctor_does(work)
    assert cli.main(["doctor"]) == 143
    assert cleaned == [True]


def test_an_error_of_the_disk_ends_in_one_line_and_code_2(doctor_does, capsys):
    def work(*_):
        raise OSError(28, "No space left on device", "out/file")

    doctor_does(work)
    assert cli.main(["doctor"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "'out/file': No space left on device" in line


def test_a_signal_that_a_library_wraps_in_an_error_of_its_own_is_one_still(doctor_does, capsys):
    def work(*_):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except BaseException as error:
            raise RuntimeError("wrapped") from error

    doctor_does(work)
    assert cli.main(["doctor"]) == 143
    assert "interrupted" in capsys.readouterr().err
