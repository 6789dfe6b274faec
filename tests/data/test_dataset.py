import pickle

import pytest
from recbole.config import Config
from recbole.data import create_dataset as recbole_dataset
from recbole.data import data_preparation

from recbole_aia.config.aia_config import AIAConfig
from recbole_aia.data import create_dataset, interactions_digest, prepare_loaders
from recbole_aia.errors import AttributeDataError, ConfigValueError


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))


def test_pickles_left_in_the_checkpoint_folder_are_never_read(make_config, tmp_path):
    config = make_config()
    saved = tmp_path / "saved"
    saved.mkdir()
    for name in ("ml-100k-Dataset.pth", "ml-100k-for-BPR-dataloader.pth"):
        (saved / name).write_bytes(pickle.dumps(Bomb()))
    train_data, _, _ = prepare_loaders(config, create_dataset(config))
    assert train_data.dataset.inter_num > 0


def test_a_missing_dataset_is_named(tmp_path):
    config = AIAConfig("BPR", "nothing", config_dict={"data_path": str(tmp_path)}, argv=[])
    with pytest.raises(AttributeDataError, match=r"nothing\.inter"):
        create_dataset(config)


def test_sorting_by_a_time_that_is_not_there_is_refused(tmp_path):
    folder = tmp_path / "ml-1m"
    folder.mkdir()
    (folder / "ml-1m.inter").write_text("user_id:token\titem_id:token\trating:float\n1\t1\t5\n")
    values = {
        "data_path": str(tmp_path),
        "load_col": {"inter": ["user_id", "item_id"]},
        "user_inter_num_interval": "[0,inf)",
        "item_inter_num_interval": "[0,inf)",
    }
    config = AIAConfig("BPR", "ml-1m", config_dict=values, argv=[])
    with pytest.raises(ConfigValueError, match="order: RO"):
        create_dataset(config)


def test_attributes_do_not_change_the_interactions_that_stock_recbole_sees(make_config):
    configs = [make_config(attributes=["gender"]), make_config(attributes=["occupation"], defense="raid")]
    stock = Config("BPR", "ml-100k", config_dict={"eval_args": configs[0]["eval_args"]})
    loaders = [prepare_loaders(config, create_dataset(config))[0] for config in configs]
    digests = [interactions_digest(train_data) for train_data in loaders]
    assert digests[0] == digests[1]
    assert digests[0] == interactions_digest(data_preparation(stock, recbole_dataset(stock))[0])
