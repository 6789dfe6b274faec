"""What every view of a model's users promises."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_aia.config.aia_config import AIAConfig
from recbole_aia.data import prepare_loaders
from recbole_aia.errors import UnsupportedModelError
from recbole_aia.model import UserEmbeddingView, build_model
from recbole_aia.testing.base import Contract, ml_100k, required, split_once

USERS = torch.tensor([5, 1, 900])


@functools.cache
def built(model: Any, values: tuple[tuple[str, Any], ...]) -> Any:
    """A model on ml-100k whose weights are large enough for every user to score differently."""
    config = AIAConfig(model, "ml-100k", config_dict={"init_std": 0.1, **dict(values)}, argv=[])
    train_data, _, _ = prepare_loaders(config, split_once(ml_100k()))
    torch.manual_seed(0)
    return build_model(config, train_data.dataset).eval()


@torch.no_grad()
def full_scores(model: Any, users: Tensor) -> Tensor:
    """The scores of all items ``[n, n_items]`` as RecBole asks the model for them."""
    interaction = Interaction({model.USER_ID: users.to(model.device)})
    try:
        scores: Tensor = model.full_sort_predict(interaction)
    except NotImplementedError:
        pairs = interaction.repeat_interleave(model.n_items)
        pairs.update(Interaction({model.ITEM_ID: torch.arange(model.n_items, device=model.device).repeat(len(users))}))
        scores = model.predict(pairs)
    return scores.view(len(users), -1)


@torch.no_grad()
def readable(view: UserEmbeddingView, users: Tensor | None = None) -> Tensor:
    """What :meth:`UserEmbeddingView.write` takes: the table of users, or their served vectors where there is none."""
    table = view.table(users)
    return (view.served(users) if table is None else table).clone()


def write(view: UserEmbeddingView, values: Tensor, users: Tensor | None = None) -> None:
    """Writes users; skips the test where the model has no place for them."""
    try:
        view.write(values, users)
    except UnsupportedModelError:
        pytest.skip("this model cannot take users back")


class ViewContract(Contract):
    """What every view promises; give the class of your model as ``model``."""

    #: The model's class, which has a registered view.
    model: ClassVar[type | None] = None
    #: Values by key that it is built with.
    values: ClassVar[Mapping[str, Any]] = {}

    @pytest.fixture
    def subject(self) -> tuple[Any, Mapping[str, Any]]:
        """The model's class, and the values that it is built with."""
        return required(type(self).model, type(self), "model = MyModel"), self.values

    @pytest.fixture
    def trained(self, subject: tuple[Any, Mapping[str, Any]]) -> Any:
        """A model, built anew for the test."""
        model, values = subject
        return copy.deepcopy(built(model, tuple(values.items())))

    @pytest.fixture
    def view(self, trained: Any) -> UserEmbeddingView:
        """Its view."""
        return UserEmbeddingView(trained)

    def test_it_has_a_row_for_every_user_but_the_padding_user(self, view: UserEmbeddingView) -> None:
        assert view.served().shape[0] == len(view.users) == view.model.n_users - 1
        assert 0 not in view.users

    def test_users_come_in_the_order_asked_for(self, view: UserEmbeddingView) -> None:
        torch.testing.assert_close(view.served(USERS), view.served()[USERS - 1])
        if (table := view.table()) is not None:
            torch.testing.assert_close(view.table(USERS), table[USERS - 1])

    def test_what_is_served_is_what_produces_the_scores(self, view: UserEmbeddingView) -> None:
        logits = view.scores(view.served(USERS))
        actual = full_scores(view.model, USERS)
        expected = logits if torch.allclose(actual, logits, atol=1e-4) else logits.sigmoid()
        torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-4)

    def test_logits_of_pairs_are_entries_of_the_scores(self, view: UserEmbeddingView) -> None:
        items = torch.tensor([7, 7, 300])
        expected = view.scores(view.served(USERS))[torch.arange(3), items]
        torch.testing.assert_close(view.logits(USERS, items), expected, atol=1e-5, rtol=1e-4)

    def test_a_gradient_reaches_the_parameters(self, view: UserEmbeddingView) -> None:
        view.served(USERS).pow(2).sum().backward()
        grads = [parameter.grad for parameter in view.model.parameters() if parameter.grad is not None]
        assert any(grad.abs().sum() > 0 for grad in grads)

    def test_the_gradient_of_some_users_leaves_other_tables_alone(self, view: UserEmbeddingView) -> None:
        table = view.table(USERS)
        if table is None:
            pytest.skip("no table")
        table.sum().backward()
        for parameter in view.tables():
            assert parameter.grad is not None
            touched = parameter.grad.abs().sum(dim=1).nonzero().squeeze(1)
            assert sorted(touched.tolist()) == sorted(USERS.tolist())

    def test_writing_back_what_was_read_changes_nothing(self, view: UserEmbeddingView) -> None:
        before = full_scores(view.model, USERS)
        write(view, readable(view))
        torch.testing.assert_close(full_scores(view.model, USERS), before, atol=1e-6, rtol=1e-5)

    def test_scores_follow_what_is_written_and_caches_do_not_hide_it(self, view: UserEmbeddingView) -> None:
        before = full_scores(view.model, USERS)
        write(view, readable(view).flip(0))
        after = full_scores(view.model, USERS)
        assert not torch.equal(after, before)
        with torch.no_grad():
            logits = view.scores(view.served(USERS))
        assert torch.allclose(after, logits, atol=1e-5) or torch.allclose(after, logits.sigmoid(), atol=1e-5)

    def test_writing_some_users_leaves_the_others_bit_identical(self, view: UserEmbeddingView) -> None:
        before = readable(view)
        write(view, readable(view, USERS) + 1.0, USERS)
        others = torch.ones(len(view.users), dtype=torch.bool)
        others[USERS - 1] = False
        after = readable(view)
        assert torch.equal(after[others], before[others])
        torch.testing.assert_close(after[~others], before[~others] + 1.0)

    def test_released_users_score_as_before_and_in_place_of_what_computes_them(self, view: UserEmbeddingView) -> None:
        model = view.model
        if "released" not in view.targets or not hasattr(model, "released_users"):
            with pytest.raises(UnsupportedModelError, match=r"nothing to release|fast: True"):
                view.release()
            return
        by_items = type(view).scores is UserEmbeddingView.scores
        before, items = full_scores(model, USERS), view.items().detach().clone() if by_items else None
        vectors = view.release()
        assert vectors is view.release() is view.released
        torch.testing.assert_close(full_scores(model, USERS), before, atol=1e-6, rtol=1e-5)
        vectors[USERS] = vectors[USERS.flip(0)]
        view.clear_caches()
        torch.testing.assert_close(full_scores(model, USERS), before.flip(0), atol=1e-6, rtol=1e-5)
        assert items is None or torch.equal(view.items(), items)
        state = model.other_parameter()
        assert state["released_users"] is vectors
        assert not view.tables()
        for name in ("user_embedding", "item_embedding"):
            held = getattr(model, name, None)
            assert not isinstance(held, torch.nn.Embedding) or not held.weight.any(), "users could be solved for"

    def test_users_are_computed_from_a_table_or_a_tower(self, view: UserEmbeddingView) -> None:
        assert bool(view.tables()) != bool(view.tower())
        assert ("table" in view.targets, "tower" in view.targets) == (bool(view.tables()), bool(view.tower()))

    def test_a_shared_forward_gives_the_same_vectors_and_ends(self, view: UserEmbeddingView) -> None:
        expected = view.served()
        with view.shared_forward():
            assert torch.equal(view.served(), expected)
            assert torch.equal(view.served(), expected)
        assert not set(view.shared) & set(vars(view.model))
