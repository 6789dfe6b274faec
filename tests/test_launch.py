import pytest

from recbole_aia import cli
from recbole_aia.launch import Place, place, start


class TestPlace:
    def test_without_torchrun_a_process_is_alone(self, monkeypatch):
        for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
            monkeypatch.delenv(name, raising=False)
        assert place() == Place(0, 0, 1, 1)

    @pytest.mark.parametrize(
        ("count", "found"), [("4", Place(3, 1, 4, 4)), ("1", Place(0, 0, 1, 1)), ("many", Place(0, 0, 1, 1))]
    )
    def test_it_is_that_of_torchruns_variables(self, monkeypatch, count, found):
        given = {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": count, "MASTER_ADDR": "localhost"}
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        assert place() == found


class TestStart:
    def test_processes_that_all_end_well(self, capfd):
        assert start(["doctor", "--help"], nproc=2, world_size=2) == 0
        assert capfd.readouterr().out.count("usage: ") == 2

    def test_the_exit_code_is_that_of_the_first_to_fail_and_the_others_end_too(self, capfd):
        assert start(["nothing"], nproc=2, world_size=3, offset=1) == 2
        assert "killed" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--nproc=0"], "nproc is 0"),
        (["--nproc=1.5"], "nproc is 1.5"),
        (["--nproc=2", "--port=x"], "port is 'x'"),
        (["--nproc=2", "--world_size=2", "--group_offset=1"], "the last process would be number 3. Raise world_size"),
    ],
)
def test_numbers_of_processes_that_do_not_fit_are_one_line(capsys, words, said):
    assert cli.main(["run", "--model=BPR", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_one_process_is_started_by_nobody(monkeypatch):
    monkeypatch.setattr("recbole_aia.quick_start.run_recbole_aia", lambda **given: given["argv"].append("seen"))
    assert cli.main(["run", "--model=BPR", "--nproc=1"]) == 0
