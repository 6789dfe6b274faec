import copy

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from recbole.trainer import Trainer

from recbole_aia.config.aia_config import AIAConfig
from recbole_aia.config.run_keys import VIEWS
from recbole_aia.data import prepare_loaders
from recbole_aia.errors import AttributeDataError, ConfigValueError, UnsupportedModelError
from recbole_aia.model import UserEmbeddingView, build_model, exposures, registered_views, scores_users
from recbole_aia.model.exposures import (
    COMPONENTS,
    PROJECTIONS,
    expose,
    exposure_names,
    interaction_matrix,
    popular_items,
    reduced,
    run_exposures,
    score_rows,
    top_items,
    vector_exposures,
)
from recbole_aia.testing import split_once

K = 10


class Built:
    """A model with weights large enough for every user to be answered differently, and its data."""

    def __init__(self, name, dataset):
        values = {"init_std": 0.1, "show_progress": False}
        self.config = AIAConfig(name, "ml-100k", config_dict=values, argv=[])
        loaders = prepare_loaders(self.config, split_once(dataset), scores_users=scores_users(self.config))
        self.training, self.valid_data = loaders[0].dataset, loaders[1]
        torch.manual_seed(0)
        self.model = build_model(self.config, self.training).eval()
        self.view = UserEmbeddingView(self.model)
        with torch.no_grad():
            self.scores = self.view.scores(self.view.served())[:, 1:].cpu().numpy()

    def seen(self):
        """Training items by user, straight from the interactions."""
        features, items = self.training.inter_feat, {}
        for user, item in zip(features["user_id"].tolist(), features["item_id"].tolist(), strict=True):
            items.setdefault(user, set()).add(item)
        return items

    def expose(self, name, **values):
        return expose(name, self.model, self.training, **{"k": K, **values})


@pytest.fixture(scope="module", params=registered_views())
def built(request, ml100k):
    return Built(request.param, ml100k)


@pytest.fixture(scope="module")
def bpr(ml100k):
    return Built("BPR", ml100k)


class TestContract:
    """What an attacker can be shown of every model that has a view."""

    @pytest.mark.parametrize("name", VIEWS)
    def test_each_is_a_finite_matrix_of_bounded_width_with_a_row_for_every_user(self, built, name):
        if name in ("table", "both") and built.view.table() is None:
            with pytest.raises(UnsupportedModelError, match="no table of users"):
                built.expose(name)
            return
        found = built.expose(name)
        assert found.dtype == np.float32
        assert len(found) == 943
        assert np.isfinite(found).all()
        assert np.ptp(found, axis=0).any()
        width = dict.fromkeys(("top_k", "top_k_unmasked", "top_k_popular", "profile"), COMPONENTS)
        width["scores"] = PROJECTIONS
        assert found.shape[1] == width.get(name, found.shape[1])

    def test_lists_are_what_recboles_evaluation_recommends(self, built):
        trainer = Trainer(built.config, built.model)
        trainer.tot_item_num, trainer.item_tensor = 1683, built.valid_data._dataset.get_item_feature()
        lists = top_items(built.view, interaction_matrix(built.training), K)
        checked = 0
        for batch in built.valid_data:
            with torch.no_grad():
                interaction, scores, _, _ = trainer._full_sort_batch_eval(batch)
            best = scores.topk(K + 1, dim=1)
            for user, items, values in zip(interaction["user_id"], best.indices, best.values, strict=True):
                if values[K - 1] - values[K] > 1e-6:  # a tie may be broken either way
                    assert set(lists[int(user) - 1].indices + 1) == set(items[:K].tolist())
                    checked += 1
        assert checked > 900

    def test_lists_hold_k_items_that_the_user_has_not_seen(self, built):
        lists, seen = top_items(built.view, interaction_matrix(built.training), K), built.seen()
        assert (np.diff(lists.indptr) == K).all()
        for user in range(1, 944):
            assert not seen[user] & set(lists[user - 1].indices + 1)

    def test_lists_without_a_mask_hold_the_k_best_of_all_items(self, built):
        lists = top_items(built.view, sp.csr_matrix((943, 1682), dtype=np.float32), K)
        listed = built.scores[lists.nonzero()].reshape(943, K)
        best = np.sort(built.scores, axis=1)[:, -K:]
        np.testing.assert_allclose(np.sort(listed, axis=1), best, rtol=1e-3, atol=1e-4)
        np.testing.assert_array_equal(reduced(lists, COMPONENTS, 0), built.expose("top_k_unmasked"))

    def test_distances_between_score_rows_are_kept(self, built):
        rows = built.scores - built.scores.mean(axis=1, keepdims=True)
        found = score_rows(built.view, 1024, seed=0)
        pairs = np.random.default_rng(0).integers(0, 943, (200, 2))
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
        exact, kept = (np.linalg.norm(x[pairs[:, 0]] - x[pairs[:, 1]], axis=1) for x in (rows, found))
        np.testing.assert_allclose(kept, exact, rtol=0.15)

    def test_blocks_of_users_make_no_difference(self, built, monkeypatch):
        whole = built.expose("scores"), top_items(built.view, interaction_matrix(built.training), K)
        monkeypatch.setattr(exposures, "_SCORES", 200 * 1683)
        np.testing.assert_allclose(built.expose("scores"), whole[0], rtol=1e-3, atol=1e-4)
        again = top_items(built.view, interaction_matrix(built.training), K)
        assert (again != whole[1]).nnz <= 4  # ties in the last bit

    def test_the_model_is_left_as_it_was(self, built):
        before = {name: value.clone() for name, value in built.model.state_dict().items()}
        for name in ("top_k", "top_k_unmasked", "scores", "profile"):
            built.expose(name)
        assert not set(built.view.shared) & set(vars(built.model))
        for name, value in built.model.state_dict().items():
            assert torch.equal(value, before[name])
        assert torch.is_grad_enabled()


@pytest.mark.parametrize("name", ["top_k", "top_k_unmasked", "top_k_popular", "scores", "profile"])
def test_equal_seeds_give_equal_views(bpr, name):
    first = bpr.expose(name, seed=3)
    np.testing.assert_array_equal(bpr.expose(name, seed=3), first)
    assert not np.array_equal(bpr.expose(name, seed=4), first)


class TestVectors:
    def test_both_is_served_beside_the_table(self, ml100k):
        built = Built("LightGCN", ml100k)
        served, table, both = (built.expose(name) for name in ("served", "table", "both"))
        np.testing.assert_array_equal(both, np.hstack([served, table]))
        views, notes = vector_exposures(("served", "table", "both"), served, table)
        assert (list(views), notes) == (["served", "table", "both"], [])
        np.testing.assert_array_equal(views["both"], both)

    @pytest.mark.parametrize("served_too", [True, False])
    @pytest.mark.parametrize(("table", "reason"), [(True, "serves its raw parameters"), (False, "there is no table")])
    def test_a_table_that_is_no_view_of_its_own_is_said_and_served_stands_for_it(self, served_too, table, reason):
        served = np.eye(3)
        names = ("served", "table", "both") if served_too else ("table", "both")
        views, notes = vector_exposures(names, served, served.copy() if table else None)
        assert list(views) == ["served"]
        assert [note.split()[0] for note in notes] == ["table", "both"]
        assert all(reason in note for note in notes)


class TestProfile:
    def test_it_is_made_of_the_training_interactions_alone(self, bpr, ml100k):
        matrix, seen = interaction_matrix(bpr.training), bpr.seen()
        assert matrix.shape == (943, 1682)
        assert matrix.nnz == len(bpr.training.inter_feat) < ml100k.inter_num
        assert (matrix.data == 1).all()
        for user in (1, 500, 943):
            assert set(matrix[user - 1].indices + 1) == seen[user]

    def test_a_repeated_interaction_counts_once(self, bpr):
        doubled = copy.copy(bpr.training)
        rows = torch.arange(len(doubled.inter_feat)).repeat(2)
        doubled.inter_feat = doubled.inter_feat[rows]
        assert (interaction_matrix(doubled) != interaction_matrix(bpr.training)).nnz == 0

    def test_it_does_not_depend_on_the_model(self, bpr):
        other = copy.deepcopy(bpr.model)
        torch.nn.init.normal_(other.user_embedding.weight)
        np.testing.assert_array_equal(expose("profile", other, bpr.training), bpr.expose("profile"))

    def test_the_reduction_is_the_best_of_its_rank(self, bpr):
        matrix = interaction_matrix(bpr.training)
        found = reduced(matrix, 16, seed=0)
        left, values, _ = np.linalg.svd(matrix.toarray(), full_matrices=False)
        np.testing.assert_allclose(np.linalg.norm(found, axis=0), values[:16], rtol=0.02)
        best = left[:, :16] * values[:16]
        np.testing.assert_allclose(found @ found.T, best @ best.T, atol=0.05 * (best @ best.T).max())

    def test_fewer_items_than_dimensions_are_kept_whole(self):
        matrix = sp.random(50, 7, density=0.4, format="csr", dtype=np.float32, random_state=0)
        found = reduced(matrix, 64, seed=0)
        assert found.shape == (50, 7)
        np.testing.assert_allclose(found @ found.T, (matrix @ matrix.T).toarray(), atol=1e-4)

    def test_many_users_are_never_made_dense(self):
        import tracemalloc

        rng = np.random.default_rng(0)
        users, items, each = 20_000, 50_000, 20
        places = np.repeat(np.arange(users), each), rng.integers(0, items, users * each)
        matrix = sp.csr_matrix((np.ones(users * each, dtype=np.float32), places), shape=(users, items))
        tracemalloc.start()
        found = reduced(matrix, 16, seed=0)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert found.shape == (users, 16)
        assert peak < users * items * 4 / 50


class TestPopular:
    def test_lists_are_the_most_popular_items_that_the_user_has_not_seen(self, bpr):
        matrix, seen = interaction_matrix(bpr.training), bpr.seen()
        counts = matrix.toarray().sum(axis=0)
        order = sorted(range(1682), key=lambda item: (-counts[item], item))
        lists = popular_items(matrix, K)
        for user in (1, 405, 943):
            expected = [item for item in order if item + 1 not in seen[user]][:K]
            assert set(lists[user - 1].indices) == set(expected)

    def test_blocks_of_users_make_no_difference(self, bpr, monkeypatch):
        matrix = interaction_matrix(bpr.training)
        whole = popular_items(matrix, K)
        monkeypatch.setattr(exposures, "_SCORES", 200 * 1682)
        assert (popular_items(matrix, K) != whole).nnz == 0

    def test_they_do_not_depend_on_the_model(self, bpr):
        other = copy.deepcopy(bpr.model)
        torch.nn.init.normal_(other.user_embedding.weight)
        np.testing.assert_array_equal(expose("top_k_popular", other, bpr.training, k=K), bpr.expose("top_k_popular"))


def test_users_who_have_seen_nearly_everything_get_what_is_left(bpr):
    seen = np.ones((943, 1682), dtype=np.float32)
    seen[:, :3] = 0
    seen[5] = 1
    lists = top_items(bpr.view, sp.csr_matrix(seen), K)
    assert np.diff(lists.indptr).tolist() == [3] * 5 + [0] + [3] * 937
    assert lists.indices.max() == 2


@pytest.mark.parametrize("name", ["top_k", "top_k_unmasked", "scores"])
def test_a_diverged_model_is_an_error_and_not_an_empty_list(bpr, name):
    diverged = copy.deepcopy(bpr.model)
    torch.nn.init.constant_(diverged.user_embedding.weight, float("nan"))
    with pytest.raises(AttributeDataError, match="not finite"):
        expose(name, diverged, bpr.training)


def test_a_gpu_that_is_full_gets_smaller_blocks_and_other_errors_stay(bpr, monkeypatch):
    whole, scores, sizes = bpr.expose("top_k"), type(bpr.view).scores, []

    def cramped(view, vectors):
        sizes.append(len(vectors))
        if len(vectors) > 300:
            raise RuntimeError("CUDA out of memory.")
        return scores(view, vectors)

    monkeypatch.setattr(type(bpr.view), "scores", cramped)
    np.testing.assert_allclose(bpr.expose("top_k"), whole, atol=1e-5)
    assert sizes[:4] == [943, 471, 235, 235]
    monkeypatch.setattr(type(bpr.view), "scores", lambda *_: (_ for _ in ()).throw(RuntimeError("shapes disagree")))
    with pytest.raises(RuntimeError, match="shapes disagree"):
        bpr.expose("top_k")


class TestNames:
    @pytest.mark.parametrize(
        ("asked", "names"),
        [
            (None, ("served",)),
            ("all", VIEWS),
            (["all"], VIEWS),
            ("top_k", ("top_k",)),
            (["profile", "served", "profile"], ("served", "profile")),
        ],
    )
    def test_they_come_in_one_order_each_once(self, asked, names):
        assert exposure_names(asked) == names

    def test_a_run_looks_at_lists_beside_vectors_after_a_defense_unless_it_is_told_what_to_look_at(self):
        assert run_exposures(None, "none") == ("served",)
        assert run_exposures(None, "calibrated") == ("served", "top_k", "top_k_popular")
        assert run_exposures("served", "calibrated") == ("served",)

    @pytest.mark.parametrize(
        ("asked", "message"),
        [
            (["servd"], "'servd', which is no view. Did you mean served"),
            ("profil", "Did you mean profile"),
            (["all", "served"], "all, alone"),
            ([], "is empty"),
        ],
    )
    def test_a_mistake_is_said_in_one_line(self, asked, message):
        with pytest.raises(ConfigValueError, match=message) as caught:
            exposure_names(asked)
        assert "\n" not in str(caught.value)
