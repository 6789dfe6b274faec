import logging
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import pytest

from recbole_aia.config.aia_config import AIAConfig
from recbole_aia.errors import AttributeDataError, ConfigValueError
from recbole_aia.storage import run_folder


@pytest.fixture
def without(monkeypatch):
    def of(*names):
        def found(name):
            if name in names:
                raise PackageNotFoundError(name)
            return version(name)

        monkeypatch.setattr(run_folder, "version", found)

    return of


def test_a_module_of_another_distribution_has_that_ones_version(without, monkeypatch):
    without("xgboost")
    monkeypatch.setattr(
        run_folder, "packages_distributions", lambda: {"xgboost": ["scipy"]}
    )  # as xgboost-cpu brings it
    assert run_folder.versions()["xgboost"] == version("scipy")


def test_what_cannot_be_told_does_not_end_a_run(without):
    without("POT", "nothing")
    assert run_folder.versions()["POT"] == "unknown"
    assert run_folder.package_version("nothing") is None


class TestFolder:
    def test_a_folder_is_made_with_those_above_it_and_left_empty(self, tmp_path):
        run_folder.make_folder(tmp_path / "a" / "b")
        assert list((tmp_path / "a" / "b").iterdir()) == []

    def test_one_that_cannot_be_written_says_which_key_to_change(self, tmp_path):
        (tmp_path / "taken").write_text("")
        with pytest.raises(ConfigValueError, match="Give another --out") as caught:
            run_folder.make_folder(tmp_path / "taken", "--out")
        assert "\n" not in str(caught.value)

    def test_a_folder_of_another_run_is_not_free(self, tmp_path):
        run_folder.check_free(tmp_path, ["results.json"])
        (tmp_path / "results.json").write_text("{}")
        run_folder.check_free(tmp_path, ["ledger.json"])
        with pytest.raises(ConfigValueError, match=r"holds another run's results\.json\. Begin anew, or remove it"):
            run_folder.check_free(tmp_path, ["ledger.json", "results.json"], "Begin anew")


class TestConfiguration:
    def test_what_is_written_builds_the_same_configuration(self, make_config, tmp_path):
        config = make_config("LightGCN", defense="raid", raid_eta=2.0, attributes=["gender"])
        run_folder.write_config(config, tmp_path, "how it was made")
        text = (tmp_path / "config.yaml").read_text()
        assert text.startswith("# how it was made\n")
        again = AIAConfig(config_file_list=[tmp_path / "config.yaml"], argv=[])
        assert again.final_config_dict == config.final_config_dict
        assert run_folder.config_text(again) == run_folder.config_text(config)

    def test_the_folder_of_the_data_is_kept_as_it_was_given(self):
        values = {"dataset": "mine", "data_path": "data/mine", "device": "cpu"}
        assert run_folder.kept_values(values) == {"dataset": "mine", "data_path": "data"}
        assert run_folder.kept_values({**values, "dataset": "ml-100k"}) == {"dataset": "ml-100k"}

    def test_a_digest_names_what_is_computed_and_not_how_it_is_shown(self, make_config):
        def digest(**values):
            return run_folder.config_digest(run_folder.config_text(make_config(**values)))

        first = digest()
        assert len(first) == 6
        assert digest(show_progress=True, output_dir="elsewhere", state="warning") == first
        assert digest(seed=1) != first
        assert digest(attributes=["gender"]) != first


@pytest.mark.parametrize("table", [None, np.ones((3, 4))])
def test_vectors_are_read_without_pickle_and_released_ones_have_no_table_beside_them(tmp_path, table):
    tokens, served = np.array(["u1", "u22", "ü"]), np.arange(6.0).reshape(3, 2)
    run_folder.write_embeddings(tmp_path / "e.npz", tokens, served, table)
    with np.load(tmp_path / "e.npz", allow_pickle=False) as found:
        assert found["user_tokens"].tolist() == tokens.tolist()
        np.testing.assert_array_equal(found["embeddings"], served.astype(np.float32))
        assert set(found) == {"user_tokens", "embeddings", *(["table"] if table is not None else [])}


class TestActivity:
    def test_it_is_read_by_name_as_it_was_written(self, tmp_path):
        tokens, path = np.array(["u1", "01", "ü", "NA", "a, b"]), tmp_path / run_folder.ACTIVITY
        run_folder.write_activity(path, tokens, np.array([3, 1, 2, 5, 4]))
        assert run_folder.read_activity(path, tokens[[4, 1, 3]]).tolist() == [4, 1, 5]

    def test_without_the_file_it_is_unknown(self, tmp_path):
        assert run_folder.read_activity(tmp_path / run_folder.ACTIVITY, np.array(["u1"])) is None

    @pytest.mark.parametrize("content", ["", "user,interactions\nu2,3\n", "user,interactions\nu1,many\n", "u1,3\n"])
    def test_a_file_that_does_not_tell_every_user_is_an_error(self, tmp_path, content):
        (tmp_path / run_folder.ACTIVITY).write_text(content)
        with pytest.raises(AttributeDataError, match=r"activity.csv' does not hold .* Remove it"):
            run_folder.read_activity(tmp_path / run_folder.ACTIVITY, np.array(["u1"]))


class TestLog:
    def test_a_run_has_its_own_log_and_the_next_one_another(self, make_config, tmp_path):
        config, root = make_config(), logging.getLogger()
        before = list(root.handlers), root.level
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            with run_folder.run_log(config, tmp_path / name):
                root.info(f"\x1b[1;31m{name}\x1b[0m")
        assert (list(root.handlers), root.level) == before
        for name, other in (("one", "two"), ("two", "one")):
            text = (tmp_path / name / "run.log").read_text()
            assert name in text
            assert other not in text
            assert "\x1b" not in text

    def test_the_log_of_a_failed_run_says_so_by_its_name(self, make_config, tmp_path):
        with pytest.raises(ZeroDivisionError), run_folder.run_log(make_config(), tmp_path):
            raise ZeroDivisionError
        assert (tmp_path / "failed.log").exists()
        assert not (tmp_path / "run.log").exists()

    def test_a_run_that_succeeds_leaves_no_log_of_an_earlier_failure(self, make_config, tmp_path):
        (tmp_path / "failed.log").touch()
        with run_folder.run_log(make_config(), tmp_path):
            pass
        assert [path.name for path in tmp_path.glob("*.log")] == ["run.log"]


@pytest.mark.parametrize("content", [b"", b"only text", b"\xff\xfe", b"- a list"])
def test_a_config_file_that_cannot_be_read_is_another_runs(tmp_path, content):
    (tmp_path / "config.yaml").write_bytes(content)
    assert run_folder.written_digest(tmp_path) is None
    with pytest.raises(ConfigValueError, match=r"holds another run's config.yaml"):
        run_folder.check_free(tmp_path, ["config.yaml"])


@pytest.mark.parametrize("content", [b"a: [", b"\xff\xfe", b"[1]", b"3", b"day: 2020-01-01\n"])
def test_a_configuration_of_unknown_origin_has_no_digest(tmp_path, content):
    (tmp_path / "config.yaml").write_bytes(content)
    assert run_folder.written_digest(tmp_path) is None


def test_a_name_that_no_folder_can_have_is_refused(tmp_path):
    with pytest.raises(ConfigValueError, match="null byte"):
        run_folder.make_folder(tmp_path / "a\0b")
