import hashlib
import os
import resource

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_aia.errors import StorageError
from recbole_aia.storage.files import (
    disk_errors,
    folder_aside,
    private_file,
    private_folder,
    sha256_of,
    sweep,
    write_whole,
    written_together,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


class TestWriteWhole:
    def test_the_file_holds_what_was_written_and_nothing_lies_beside_it(self, tmp_path):
        (tmp_path / "file").write_text("old")
        write_whole(tmp_path / "file", lambda aside: aside.write_text("new"))
        assert (tmp_path / "file").read_text() == "new"
        assert names(tmp_path) == ["file"]

    def test_a_failure_leaves_the_old_file_and_no_half_of_the_new_one(self, tmp_path):
        (tmp_path / "file").write_text("old")

        def write(aside):
            aside.write_text("ne")
            raise OSError("the disk is full")

        with pytest.raises(OSError, match="full"):
            write_whole(tmp_path / "file", write)
        assert (tmp_path / "file").read_text() == "old"
        assert names(tmp_path) == ["file"]

    def test_the_old_file_is_there_until_the_new_one_is_whole(self, tmp_path):
        (tmp_path / "file").write_text("old")
        seen = []

        def write(aside):
            aside.write_text("new")
            seen.append((tmp_path / "file").read_text())

        write_whole(tmp_path / "file", write)
        assert seen == ["old"]


class TestWrittenTogether:
    def test_files_are_moved_at_the_end_and_the_last_one_last(self, tmp_path, monkeypatch):
        moved, replace = [], os.replace
        monkeypatch.setattr("os.replace", lambda one, other: (moved.append(other.name), replace(one, other)))
        with written_together(tmp_path, last="b") as aside:
            for name in ("c", "b", "a"):
                (aside / name).write_text(name)
            assert [path for path in tmp_path.iterdir() if not path.name.startswith(".")] == []
        assert moved[-1] == "b"
        assert names(tmp_path) == ["a", "b", "c"]

    def test_nothing_is_moved_where_anything_fails(self, tmp_path):
        (tmp_path / "a").write_text("old")

        def write():
            with written_together(tmp_path, last="b") as aside:
                (aside / "a").write_text("new")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            write()
        assert (tmp_path / "a").read_text() == "old"
        assert names(tmp_path) == ["a"]


def mode(path):
    return path.stat().st_mode & 0o777


class TestOnlyTheOwner:
    @pytest.fixture(autouse=True)
    def open_umask(self):
        before = os.umask(0o000)
        yield
        os.umask(before)

    def test_reads_a_file_that_replaces_one_that_all_could_read(self, tmp_path):
        (tmp_path / "file").write_text("old")
        assert mode(tmp_path / "file") == 0o666
        modes = []
        write_whole(tmp_path / "file", lambda aside: (aside.write_text("new"), modes.append(mode(aside))))
        assert modes == [0o600]
        assert mode(tmp_path / "file") == 0o600

    def test_reads_files_that_are_written_together(self, tmp_path):
        with written_together(tmp_path, last="a") as aside:
            assert mode(aside) == 0o700
            (aside / "a").write_text("")
        assert mode(tmp_path / "a") == 0o600

    def test_enters_folders_that_are_made_and_others_stay_as_they_are(self, tmp_path):
        (tmp_path / "theirs").mkdir(mode=0o755)
        private_folder(tmp_path / "theirs" / "a" / "b")
        private_folder(tmp_path / "theirs")
        assert [mode(tmp_path / "theirs" / name) for name in ("", "a", "a/b")] == [0o755, 0o700, 0o700]

    def test_a_link_that_somebody_put_there_is_not_followed(self, tmp_path):
        (tmp_path / "victim").write_text("kept")
        (tmp_path / "link").symlink_to(tmp_path / "victim")
        private_file(tmp_path / "link")
        assert (tmp_path / "victim").read_text() == "kept"
        assert not (tmp_path / "link").is_symlink()


@given(st.binary())
def test_a_fingerprint_is_the_sha256_of_the_content(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "content"
    path.write_bytes(content)
    assert sha256_of(path) == hashlib.sha256(content).hexdigest()


def test_a_file_of_several_blocks_is_read_to_its_end(tmp_path):
    content = bytes(range(256)) * 10_000  # 2.4 blocks
    (tmp_path / "long").write_bytes(content)
    assert sha256_of(tmp_path / "long") == hashlib.sha256(content).hexdigest()


class TestLitter:
    @pytest.fixture
    def dead(self):
        """The number of a process that has died."""
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        return child

    def test_what_dead_processes_left_is_removed_and_all_else_stays(self, tmp_path, dead):
        stay = {f".{os.getpid()}.run.log", f".{os.getppid()}.x", ".hidden", "7.txt", f".{dead}"}
        for name in {f".{dead}.run.log"} | stay:
            (tmp_path / name).write_text("x")
        (tmp_path / f".{dead}.aside.abc").mkdir()
        (tmp_path / f".{dead}.aside.abc" / "file").write_text("x")
        (tmp_path / f".{dead}.link").symlink_to(tmp_path / ".hidden")
        sweep(tmp_path)
        assert set(names(tmp_path)) == stay

    def test_a_folder_aside_is_gone_at_the_end_and_names_its_process(self, tmp_path):
        def fail():
            with folder_aside(tmp_path, "data") as aside:
                assert aside.name.startswith(f".{os.getpid()}.data.")
                (aside / "file").write_text("x")
                raise ValueError("failed")

        with pytest.raises(ValueError, match="failed"):
            fail()
        assert names(tmp_path) == []

    def test_a_folder_that_is_not_there_has_no_litter(self, tmp_path):
        sweep(tmp_path / "none")


class TestDiskErrors:
    @pytest.mark.parametrize(
        ("error", "said"),
        [
            (OSError(28, "No space left on device", "out/x"), "cannot read or write 'out/x': No space left on device"),
            (OSError(30, "Read-only file system", "out"), "'out': Read-only"),
            (OSError(5, "Input/output error"), "a file: Input/output error"),
        ],
    )
    def test_they_become_one_line(self, error, said):
        with pytest.raises(StorageError, match=said) as caught, disk_errors():
            raise error
        assert "\n" not in str(caught.value)

    def test_a_file_of_tensors_that_finds_no_room_is_named(self, tmp_path):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        try:
            with pytest.raises(StorageError, match=r"checkpoint\.pth': the disk is full"), disk_errors():
                write_whole(tmp_path / "checkpoint.pth", lambda aside: torch.save(torch.zeros(100_000), aside))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert names(tmp_path) == []

    def test_other_errors_pass(self):
        with pytest.raises(RuntimeError, match="ours"), disk_errors():
            raise RuntimeError("ours")
