import copy

import pytest
import torch

from recbole_aia.data import prepare_loaders
from recbole_aia.model import build_model
from recbole_aia.testing.base import split_once
from recbole_aia.trainer import UndefendedTrainer
from recbole_aia.trainer.per_user import evaluated


@pytest.mark.parametrize(("topk", "length"), [([5, 10], 10), ([3], 3)])
def test_the_mean_over_users_is_recboles_metric(make_config, ml100k, topk, length):
    config = make_config("BPR", topk=topk, valid_metric=f"NDCG@{topk[-1]}", metric_decimal_place=9)
    train_data, _, test_data = prepare_loaders(config, split_once(ml100k))
    trainer = UndefendedTrainer(config, build_model(config, train_data.dataset))
    result, by_user = evaluated(trainer, test_data, load_best_model=False)
    assert by_user.keys() == {f"ndcg@{length}", f"hit@{length}"}
    for name, values in by_user.items():
        seen = ~values.isnan()
        assert float(values[seen].mean()) == pytest.approx(result[name], abs=1e-8)
        assert seen.nonzero().squeeze(1).tolist() == sorted(test_data.uid_list.tolist())
    assert torch.equal(by_user[f"hit@{length}"] > 0, by_user[f"ndcg@{length}"] > 0)


def test_metrics_without_lists_have_no_users(make_config, ml100k):
    config = make_config("BPR")
    train_data, _, test_data = prepare_loaders(config, split_once(ml100k))
    trainer = UndefendedTrainer(config, build_model(config, train_data.dataset))
    trainer.eval_collector = copy.copy(trainer.eval_collector)
    trainer.evaluate = lambda data, **how: trainer.evaluator.evaluate({}) if False else {"auc": 0.5}
    assert evaluated(trainer, test_data) == ({"auc": 0.5}, {})
