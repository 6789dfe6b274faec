import copy

import pytest
import torch
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.model.general_recommender import BPR, SimpleX
from recbole.utils import InputType
from splits import split_once

from recbole_aia.data import prepare_loaders
from recbole_aia.errors import ConfigValueError, UnsupportedModelError
from recbole_aia.model import UserEmbeddingView, build_model, register_view, registered_views
from recbole_aia.model.model_views import BPRView
from recbole_aia.model.views import view_class

USERS = torch.tensor([5, 1, 900])


@pytest.fixture(scope="module", params=[(name, fast) for name in registered_views() for fast in (True, False)])
def built(request, ml100k):
    """A model with weights large enough for every user to score differently."""
    from recbole_aia.config.aia_config import AIAConfig

    name, fast = request.param
    config = AIAConfig(name, "ml-100k", config_dict={"gpu_id": "", "fast": fast, "init_std": 0.1}, argv=[])
    train_data, _, _ = prepare_loaders(config, split_once(ml100k))
    torch.manual_seed(0)
    return build_model(config, train_data.dataset).eval()


@pytest.fixture
def model(built):
    return copy.deepcopy(built)


@pytest.fixture
def view(model):
    return UserEmbeddingView(model)


def full_scores(model, users):
    with torch.no_grad():
        interaction = Interaction({model.USER_ID: users})
        try:
            return model.full_sort_predict(interaction).view(len(users), -1)
        except NotImplementedError:
            pairs = interaction.repeat_interleave(model.n_items)
            pairs.update(Interaction({model.ITEM_ID: torch.arange(model.n_items).repeat(len(users))}))
            return model.predict(pairs).view(len(users), -1)


class TestViewContract:
    """What every view promises; a view joins by being registered."""

    def test_it_has_a_row_for_every_user_but_the_padding_user(self, view, model):
        assert view.served().shape[0] == len(view.users) == model.n_users - 1
        assert 0 not in view.users

    def test_users_come_in_the_order_asked_for(self, view):
        torch.testing.assert_close(view.served(USERS), view.served()[USERS - 1])
        if view.table() is not None:
            torch.testing.assert_close(view.table(USERS), view.table()[USERS - 1])

    def test_what_is_served_is_what_produces_the_scores(self, view, model):
        logits = view.scores(view.served(USERS))
        actual = full_scores(model, USERS)
        expected = logits if torch.allclose(actual, logits, atol=1e-4) else logits.sigmoid()
        torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-4)

    def test_logits_of_pairs_are_entries_of_the_scores(self, view):
        items = torch.tensor([7, 7, 300])
        expected = view.scores(view.served(USERS))[torch.arange(3), items]
        torch.testing.assert_close(view.logits(USERS, items), expected, atol=1e-5, rtol=1e-4)

    def test_a_gradient_reaches_the_parameters(self, view, model):
        view.served(USERS).pow(2).sum().backward()
        grads = [p.grad for p in model.parameters() if p.grad is not None]
        assert any(grad.abs().sum() > 0 for grad in grads)

    def test_the_gradient_of_some_users_leaves_other_tables_alone(self, view):
        table = view.table(USERS)
        if table is None:
            pytest.skip("no table")
        table.sum().backward()
        for parameter in view.tables():
            touched = parameter.grad.abs().sum(dim=1).nonzero().squeeze(1)
            assert sorted(touched.tolist()) == sorted(USERS.tolist())

    def test_writing_back_what_was_read_changes_nothing(self, view, model):
        before = full_scores(model, USERS)
        self.write(view, readable(view))
        torch.testing.assert_close(full_scores(model, USERS), before, atol=1e-6, rtol=1e-5)

    def test_scores_follow_what_is_written_and_caches_do_not_hide_it(self, view, model):
        before = full_scores(model, USERS)
        self.write(view, readable(view).flip(0))
        after = full_scores(model, USERS)
        assert not torch.equal(after, before)
        with torch.no_grad():
            logits = view.scores(view.served(USERS))
        assert torch.allclose(after, logits, atol=1e-5) or torch.allclose(after, logits.sigmoid(), atol=1e-5)

    def test_writing_some_users_leaves_the_others_bit_identical(self, view):
        before = readable(view)
        self.write(view, readable(view, USERS) + 1.0, USERS)
        others = torch.ones(len(view.users), dtype=torch.bool)
        others[USERS - 1] = False
        after = readable(view)
        assert torch.equal(after[others], before[others])
        torch.testing.assert_close(after[~others], before[~others] + 1.0)

    def test_released_users_score_as_before_and_in_place_of_what_computes_them(self, view, model):
        if "released" not in view.targets or not hasattr(model, "released_users"):
            with pytest.raises(UnsupportedModelError, match=r"nothing to release|fast: True"):
                view.release()
            return
        before, items = full_scores(model, USERS), view._items().detach().clone()
        vectors = view.release()
        assert vectors is view.release() is view.released
        torch.testing.assert_close(full_scores(model, USERS), before, atol=1e-6, rtol=1e-5)
        vectors[USERS] = vectors[USERS.flip(0)]
        view.clear_caches()
        torch.testing.assert_close(full_scores(model, USERS), before.flip(0), atol=1e-6, rtol=1e-5)
        assert torch.equal(view._items(), items)
        state = model.other_parameter()
        assert state["released_users"] is vectors
        assert not view.tables()
        for name in ("user_embedding", "item_embedding"):
            held = getattr(model, name, None)
            assert not isinstance(held, torch.nn.Embedding) or not held.weight.any(), "users could be solved for"

    def test_users_are_computed_from_a_table_or_a_tower(self, view):
        assert bool(view.tables()) != bool(view.tower())
        assert ("table" in view.targets, "tower" in view.targets) == (bool(view.tables()), bool(view.tower()))

    def test_a_shared_forward_gives_the_same_vectors_and_ends(self, view, model):
        expected = view.served()
        with view.shared_forward():
            assert torch.equal(view.served(), expected)
            assert torch.equal(view.served(), expected)
        assert not set(view.shared) & set(vars(model))

    @staticmethod
    def write(view, values, users=None):
        try:
            view.write(values, users)
        except UnsupportedModelError:
            pytest.skip("stock DMF cannot take users back")


def readable(view, users=None):
    with torch.no_grad():
        table = view.table(users)
        return (view.served(users) if table is None else table).clone()


@pytest.mark.parametrize(
    ("name", "method"),
    [("LightGCN", "forward"), ("NGCF", "forward"), ("DMF", "user_features"), ("DMF", "item_features")],
)
def test_one_step_computes_all_users_and_items_once(make_config, ml100k, monkeypatch, name, method):
    config = make_config(name)
    train_data = prepare_loaders(config, split_once(ml100k))[0]
    model, calls = build_model(config, train_data.dataset), []
    original = getattr(type(model), method)
    monkeypatch.setattr(type(model), method, lambda self: calls.append(1) or original(self))
    view = UserEmbeddingView(model)
    with view.shared_forward():
        (model.calculate_loss(next(iter(train_data))) + view.served().pow(2).mean()).backward()
    assert len(calls) == 1


class Popular(GeneralRecommender):
    input_type = InputType.PAIRWISE


def test_a_model_without_a_view_is_refused_and_can_be_given_one(monkeypatch):
    monkeypatch.setattr("recbole_aia.model.views._VIEWS", {BPR: BPRView})
    with pytest.raises(UnsupportedModelError, match=r"Popular has no user embedding view.*register_view"):
        view_class(Popular)
    register_view(Popular, BPRView)

    class Child(Popular):
        pass

    assert view_class(Child) is BPRView


class TestRegistering:
    """A view is used for whatever class it was registered for, wherever that class comes from."""

    @pytest.fixture(autouse=True)
    def _own_views(self, monkeypatch):
        monkeypatch.setattr("recbole_aia.model.views._VIEWS", {BPR: BPRView})

    @pytest.mark.parametrize("module", ["recbole.model.general_recommender", "recbole_gnn.model", "my.models"])
    def test_a_class_of_any_module_can_be_given_one(self, module):
        model = type("Elsewhere", (Popular,), {"__module__": module})
        register_view(model, BPRView)
        assert view_class(model) is BPRView

    def test_recboles_own_models_can_be_given_one(self):
        with pytest.raises(UnsupportedModelError, match=r"Use one of BPR, or register"):
            view_class(SimpleX)
        register_view(SimpleX, BPRView)
        assert view_class(SimpleX) is BPRView

    def test_a_class_of_the_same_name_is_another_class(self):
        with pytest.raises(UnsupportedModelError):
            view_class(type("BPR", (GeneralRecommender,), {"__module__": "recbole_other"}))

    def test_a_class_that_has_one_keeps_it_unless_it_is_to_be_replaced(self):
        class Mine(BPRView):
            pass

        with pytest.raises(ConfigValueError, match=r"BPR has a view already.*replace=True"):
            register_view(BPR, Mine)
        assert view_class(BPR) is BPRView
        register_view(BPR, Mine, replace=True)
        assert view_class(BPR) is Mine

    @pytest.mark.parametrize(("model", "view"), [("BPR", BPRView), (BPR, "BPRView"), (dict, BPRView), (Popular, dict)])
    def test_what_is_no_class_of_its_kind_is_refused(self, model, view):
        with pytest.raises(ConfigValueError, match="Register"):
            register_view(model, view)
