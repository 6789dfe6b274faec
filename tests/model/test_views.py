import pytest
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.model.general_recommender import BPR, SimpleX
from recbole.utils import InputType

from recbole_aia.config.registry import models
from recbole_aia.data import prepare_loaders
from recbole_aia.errors import ConfigValueError, UnsupportedModelError
from recbole_aia.model import UserEmbeddingView, build_model, register_view, registered_views
from recbole_aia.model.model_views import BPRView
from recbole_aia.model.views import view_class
from recbole_aia.testing import ViewContract, split_once


class TestViews(ViewContract):
    """Ours, of stock models and of our faster ones; a view joins by being registered."""

    @pytest.fixture(params=registered_views())
    def model(self, request):
        return models()[request.param]

    @pytest.fixture(params=[True, False], ids=["fast", "stock"])
    def subject(self, request, model):
        return model, {"fast": request.param}


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
        (model.calculate_loss(next(iter(train_data)).to(model.device)) + view.served().pow(2).mean()).backward()
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
