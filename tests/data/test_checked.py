"""Data that RecBole would misread or refuse: hidden columns, byte order marks, users who have all items."""

import numpy as np
import pytest
import torch

from recbole_aia.config.aia_config import AIAConfig
from recbole_aia.data import create_dataset, prepare_loaders

USERS, ITEMS = 12, 6


@pytest.fixture
def shop(tmp_path):
    """Makes a dataset; user u0 has all items, and every other user has four."""

    def make(encoding="utf-8", **values):
        folder = tmp_path / "shop"
        folder.mkdir(exist_ok=True)
        rows = [(user, (user + k) % ITEMS, k) for user in range(USERS) for k in range(ITEMS if user == 0 else 4)]
        lines = [f"u{user}\ti{item}\t{time}" for user, item, time in rows]
        text = "\n".join(["user_id:token\titem_id:token\ttimestamp:float", *lines]) + "\n"
        (folder / "shop.inter").write_text(text, encoding=encoding)
        values = {"data_path": str(tmp_path), "topk": [2], "valid_metric": "NDCG@2", **values}
        return AIAConfig("BPR", "shop", config_dict=values, argv=[])

    return make


def interactions(config):
    return create_dataset(config).inter_feat


class TestColumns:
    TIMED = {"eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"}}

    def test_a_time_that_the_default_hides_is_loaded_if_the_split_needs_it(self, shop):
        config = shop(**self.TIMED)
        assert "timestamp" in interactions(config)
        assert config["load_col"]["inter"] == ["user_id", "item_id", "timestamp"]

    def test_a_time_that_nobody_needs_stays_hidden(self, shop):
        config = shop(eval_args={"order": "RO"})
        assert "timestamp" not in interactions(config)
        assert config["load_col"]["inter"] == ["user_id", "item_id"]

    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
    def test_a_byte_order_mark_decides_the_encoding(self, shop, encoding):
        plain = interactions(shop(**self.TIMED))
        config = shop(encoding, **self.TIMED)
        assert interactions(config).equals(plain)
        assert config["encoding"] is None


class TestUsersWhoHaveAllItems:
    # One interaction in a hundred is tested, which rounds to none of a user's six: u0 has all items in training.
    SPLIT = {"eval_args": {"split": {"RS": [0.98, 0.01, 0.01]}, "group_by": "none", "order": "RO", "mode": "full"}}

    @pytest.fixture
    def parts(self, shop, monkeypatch):
        """Loaders of a split that trains on all interactions of u0."""

        def make(**values):
            config = shop(**self.SPLIT, **values)
            dataset = create_dataset(config)
            build = dataset.build

            def kept():
                train, *others = build()
                everything = dataset.inter_feat
                others = [part.copy(everything[everything["user_id"] == 2]) for part in others]
                return [train.copy(everything[everything["user_id"] != 2]), *others]

            monkeypatch.setattr(dataset, "build", kept)
            return prepare_loaders(config, dataset), dataset.field2token_id["user_id"]["u0"]

        return make

    @pytest.mark.parametrize("values", [{}, {"fast": False}, {"train_batch_size": 1}, {"train_batch_size": 5}])
    def test_they_get_no_negatives_and_the_others_do(self, parts, values):
        (train, _, _), full = parts(**values)
        batches = list(train)
        users = torch.cat([batch["user_id"] for batch in batches])
        assert full not in users
        assert len(users) == 4 * (USERS - 2)
        assert all(len(batch) for batch in batches)
        seen = {
            (int(user), int(item))
            for user, item in zip(*map(train.dataset.inter_feat.__getitem__, ("user_id", "item_id")), strict=True)
        }
        pairs = (
            (int(user), int(item))
            for batch in batches
            for user, item in zip(batch["user_id"], batch["neg_item_id"], strict=True)
        )
        assert not seen & set(pairs)

    def test_a_pointwise_model_learns_from_the_others_alone(self, parts):
        (train, _, _), full = parts(train_neg_sample_args={"sample_num": 2})
        counts = np.bincount(torch.cat([batch["user_id"] for batch in train]), minlength=USERS + 1)
        assert counts[full] == 0
        assert counts.max() == 8
