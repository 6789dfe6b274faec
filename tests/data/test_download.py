"""Downloads of archives that lie beside the test; never the network."""

import urllib.error
import zipfile

import pytest

from recbole_aia.config.aia_config import AIAConfig
from recbole_aia.data import create_dataset, download, load_labels
from recbole_aia.errors import AttributeDataError

PAIRS = [(u, i) for u in range(1, 31) for i in range(1, 31) if (u + i) % 2]
INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + "".join(f"{u}\t{i}\t5\t9\n" for u, i in PAIRS)
ROWS = "".join(f"{u}\t{[1, 35, 50][u % 3]}\t{'FM'[u % 2]}\t{u % 2}\t{u}\n" for u in range(1, 31))
RIGHT = "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
SWAPPED = "user_id:token\tgender:token\tage:token\toccupation:token\tzip_code:token\n"


@pytest.fixture
def serve(monkeypatch, tmp_path):
    """Lets RecBole's address be an archive with some files."""

    def to(files):
        path = tmp_path / "served" / "ml-1m.zip"
        path.parent.mkdir()
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in files.items():
                archive.writestr(name, text)
        monkeypatch.setattr(download, "read_yaml", lambda _: {"ml-1m": path.as_uri()})
        return path

    return to


def config(tmp_path, name="ml-1m"):
    return AIAConfig("BPR", name, config_dict={"data_path": str(tmp_path / "my data")}, argv=[])


@pytest.mark.parametrize("header", [RIGHT, SWAPPED])
def test_movielens_is_downloaded_and_age_and_gender_are_told_apart_by_their_values(serve, tmp_path, header):
    serve({"ml-1m.inter": INTER, "ml-1m.user": header + ROWS})
    settings = config(tmp_path)
    dataset = create_dataset(settings)
    assert dataset.inter_num == 450
    assert load_labels(settings, dataset).summary()["gender"]["classes"] == {"F": 15, "M": 15}
    assert sorted(path.name for path in (tmp_path / "my data" / "ml-1m").iterdir()) == ["ml-1m.inter", "ml-1m.user"]
    assert [path.name for path in (tmp_path / "my data").iterdir()] == ["ml-1m"]


@pytest.mark.parametrize("case", ["no network", "no archive", "another archive"])
def test_without_a_download_the_way_by_hand_is_told_and_nothing_is_left(serve, tmp_path, monkeypatch, case):
    path = serve({"readme": "x"})
    if case == "no archive":
        path.write_text("<html>not today</html>")
    if case == "no network":
        monkeypatch.setattr(download, "download_url", _unreachable)
    with pytest.raises(AttributeDataError, match=r"ml-1m\.inter', and it cannot be downloaded") as caught:
        create_dataset(config(tmp_path))
    assert f"recbole-aia prepare ml-1m --raw DIR --out '{tmp_path}/my data'" in str(caught.value)
    assert "https://files.grouplens.org" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "my data").iterdir()) == []


def _unreachable(*_):
    raise urllib.error.URLError("Temporary failure in name resolution")


def test_a_dataset_that_recbole_does_not_have_as_ours_is_not_downloaded(tmp_path):
    with pytest.raises(AttributeDataError, match=r"lastfm-360k\.inter'\. Get .*zenodo.*prepare lastfm-360k --raw DIR"):
        create_dataset(config(tmp_path, "lastfm-360k"))
    assert not (tmp_path / "my data").exists()


def test_a_folder_that_is_there_is_left_alone(serve, tmp_path):
    serve({"ml-1m.inter": INTER, "ml-1m.user": RIGHT + ROWS})
    (tmp_path / "my data" / "ml-1m").mkdir(parents=True)
    with pytest.raises(AttributeDataError, match="prepare ml-1m --raw DIR"):
        create_dataset(config(tmp_path))
    assert list((tmp_path / "my data" / "ml-1m").iterdir()) == []
