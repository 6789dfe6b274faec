import pytest
import torch

from recbole_aia.data import prepare_loaders
from recbole_aia.model import UserEmbeddingView, build_model
from recbole_aia.testing import split_once
from recbole_aia.trainer.targets import GraphTarget, ParameterTarget, make_target


@pytest.fixture
def view(make_config, ml100k):
    def of(model, **values):
        config = make_config(model, **{"embedding_size": 16, "n_layers": 3, "init_std": 0.1, **values})
        torch.manual_seed(0)
        return UserEmbeddingView(build_model(config, prepare_loaders(config, split_once(ml100k))[0].dataset))

    return of


class TestGraphTarget:
    @pytest.mark.parametrize("layers", [1, 3])
    @pytest.mark.parametrize("some", [943, 100])
    def test_users_are_served_where_they_were_placed(self, some, layers, view):
        graph = view("LightGCN", n_layers=layers)
        users = graph.users[:some]
        target = make_target(graph, users, "table")
        assert isinstance(target, GraphTarget)
        table, way = graph.table().detach().clone(), 0.1 * torch.randn(some, 16)
        target.place(target.initial + way)
        target.finish()
        left = (graph.served(users) - target.initial - way).norm() / way.norm()
        assert left < 2e-3
        assert torch.equal(graph.table()[some:], table[some:])

    def test_who_is_there_already_stays(self, view):
        graph = view("LightGCN")
        target = make_target(graph, graph.users, "table")
        before = graph.table().detach().clone()
        target.place(target.initial)
        assert torch.equal(graph.table(), before)

    def test_a_way_too_short_for_the_graph_ends(self, view):
        graph = view("LightGCN")
        target = make_target(graph, graph.users, "table")
        nearly = target.initial.clone()
        nearly[0, 0] = nearly[0, 0].nextafter(torch.tensor(1.0))
        target.place(nearly)
        assert graph.table().isfinite().all()

    def test_a_subclass_that_propagates_otherwise_is_descended(self, view):
        graph = view("LightGCN")
        graph.model.__class__ = type("Other", (type(graph.model),), {"forward": lambda self: (None, None)})
        assert not graph.affine

    def test_layers_that_are_not_linear_are_descended(self, view):
        graph = view("NGCF", hidden_size_list=[16])
        assert type(make_target(graph, graph.users, "table")) is ParameterTarget
