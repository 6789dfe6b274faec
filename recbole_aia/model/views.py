"""Where each model keeps its users: what an attacker sees of them, and what a defense may move."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from recbole.model import general_recommender
from torch import Tensor, nn

from recbole_aia.config.registry import add_model, load_plugins
from recbole_aia.errors import ConfigValueError, UnsupportedModelError
from recbole_aia.model.lightgcn import LightGCN
from recbole_aia.model.neumf import all_logits, user_tables


class UserEmbeddingView:
    """The users of one trained or training model.

    ``UserEmbeddingView(model)`` gives the view that is registered for the model's class or a base class
    of it. Users are named by RecBole's internal ids; id 0, the padding user, is never among them.

    Args:
        model: a RecBole model.

    Raises:
        UnsupportedModelError: no view is registered for the model.
    """

    model: Any
    #: Names of attributes in which the model keeps results of earlier scoring.
    caches: ClassVar[tuple[str, ...]] = ()
    #: Names of argument-free methods that compute all users at once.
    shared: ClassVar[tuple[str, ...]] = ()
    #: What a defense after training can move: ``table``, the raw parameters of users; ``tower``, what computes them;
    #: ``released``, their served vectors, frozen. The first is the default.
    targets: ClassVar[tuple[str, ...]] = ("table",)

    def __new__(cls, model: nn.Module) -> UserEmbeddingView:
        """Picks the registered class."""
        return super().__new__(view_class(type(model)) if cls is UserEmbeddingView else cls)

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    @property
    def users(self) -> Tensor:
        """All users but the padding user, ``[n_users - 1]``."""
        return torch.arange(1, self.model.n_users, device=self.model.device)

    @property
    def affine(self) -> bool:
        """Whether served vectors are known to be an affine function of the table, by a positive definite matrix."""
        return False

    def served(self, users: Tensor | None = None) -> Tensor:
        """The vectors that produce the scores, differentiable.

        Args:
            users: ids ``[n]``; all users in order where ``None``.

        Returns:
            ``[n, d]``.
        """
        table = self.table(users)
        assert table is not None
        return table

    def table(self, users: Tensor | None = None) -> Tensor | None:
        """The raw parameters of users ``[n, d']``, differentiable; ``None`` where the model has no such table."""
        tables, ids = self.tables(), self._ids(users)
        # Not table[ids], whose backward sorts.
        parts = [F.embedding(ids, table) for table in tables]
        return torch.cat(parts, dim=1) if tables else None

    def tables(self) -> list[nn.Parameter]:
        """The parameters that hold users, each ``[n_users, d_i]``; none where users are computed.

        The one method that a view of a model with user tables and inner products has to override.
        """
        return [self.model.user_embedding.weight]

    def tower(self) -> list[nn.Parameter]:
        """The parameters that compute users and nothing else; none where users have tables."""
        return []

    @property
    def released(self) -> Tensor | None:
        """The frozen vectors that serve all users, ``[n_users, d]``; ``None`` while the model computes them."""
        vectors: Tensor | None = getattr(self.model, "released_users", None)
        return vectors

    @torch.no_grad()
    def release(self) -> Tensor:
        """Freezes the served vectors of all users, which score from then on; see :attr:`released`.

        A graph model's items are frozen with them. Its tables are emptied, of items too: from frozen items, their table
        and the interactions, that of users could be solved for. A tower stays in the model as it is.

        Raises:
            UnsupportedModelError: the model serves its table, or cannot take vectors back.
        """
        name = type(self.model).__name__
        if "released" not in self.targets:
            raise UnsupportedModelError(f"{name} serves its table, there is nothing to release. Use the target table.")
        if not hasattr(self.model, "released_users"):
            raise UnsupportedModelError(f"stock {name} cannot take user vectors back. Build it with fast: True.")
        if self.model.released_users is None:
            served = self.served()
            self.freeze()
            self.model.released_users = torch.cat([torch.zeros_like(served[:1]), served])
            self.clear_caches()
        return self.model.released_users  # type: ignore[no-any-return]

    @torch.no_grad()
    def write(self, values: Tensor, users: Tensor | None = None) -> None:
        """Sets the table of users and forgets what the model had cached.

        Where there is no table, the users' served vectors are set and frozen.

        Args:
            values: ``[n, d']``.
            users: ids ``[n]``; all users where ``None``.
        """
        tables, ids = self.tables(), self._ids(users)
        for table, part in zip(tables, values.split([t.shape[1] for t in tables], dim=1), strict=True):
            table[ids] = part.to(table.dtype)
        self.clear_caches()

    def clear_caches(self) -> None:
        """Forgets results of earlier scoring, which RecBole also saves in checkpoints."""
        for name in self.caches:
            setattr(self.model, name, None)

    def logits(self, users: Tensor, items: Tensor) -> Tensor:
        """Differentiable scores ``[n]`` of pairs, to be read through a sigmoid (RAID, eq. 5)."""
        pairs = {self.model.USER_ID: users, self.model.ITEM_ID: items}
        return self.model.predict(pairs)  # type: ignore[no-any-return]

    def scores(self, vectors: Tensor) -> Tensor:
        """The logits ``[n, n_items]`` that the model gives to users with the served vectors ``[n, d]``."""
        return vectors @ self.items().t()

    @contextmanager
    def shared_forward(self) -> Iterator[None]:
        """Inside, a model that computes all users at once does so once, for recommendation and defense alike.

        Holds for one step: parameters must not change inside.
        """
        names = [name for name in self.shared if hasattr(self.model, name)]
        for name in names:
            setattr(self.model, name, functools.cache(getattr(self.model, name)))
        try:
            yield
        finally:
            for name in names:
                delattr(self.model, name)

    def freeze(self) -> None:
        """Called by :meth:`release`: freezes or empties what else of the model computes the users."""

    def items(self) -> Tensor:
        """The vectors ``[n_items, d]`` whose inner products with served vectors are the logits, differentiable."""
        items: Tensor = self.model.item_embedding.weight
        return items

    def _ids(self, users: Tensor | None) -> Tensor:
        return self.users if users is None else users.to(self.model.device)


class BPRView(UserEmbeddingView):
    """Matrix factorisation: one table, scored by inner products."""


class NeuMFView(UserEmbeddingView):
    """Two tables side by side, as far as the model uses both; scores come from an MLP."""

    def tables(self) -> list[nn.Parameter]:
        """See :meth:`UserEmbeddingView.tables`."""
        return user_tables(self.model)

    def logits(self, users: Tensor, items: Tensor) -> Tensor:
        """See :meth:`UserEmbeddingView.logits`."""
        return self.model(users, items)  # type: ignore[no-any-return]

    def scores(self, vectors: Tensor) -> Tensor:
        """See :meth:`UserEmbeddingView.scores`."""
        return all_logits(self.model, vectors)


class GraphView(UserEmbeddingView):
    """LightGCN and NGCF: the table is the ego layer, the served vectors are propagated from it."""

    caches = ("restore_user_e", "restore_item_e")
    shared = ("forward",)
    targets = ("released", "table")

    def served(self, users: Tensor | None = None) -> Tensor:
        """See :meth:`UserEmbeddingView.served`."""
        return F.embedding(self._ids(users), self.model.forward()[0])

    def tables(self) -> list[nn.Parameter]:
        """See :meth:`UserEmbeddingView.tables`; none of a model that serves released vectors."""
        return super().tables() if self.released is None else []

    def freeze(self) -> None:
        """See :meth:`UserEmbeddingView.freeze`."""
        self.model.released_items = self.model.forward()[1].clone()
        self.model.user_embedding.weight.zero_()
        self.model.item_embedding.weight.zero_()

    def items(self) -> Tensor:
        """See :meth:`UserEmbeddingView.items`."""
        return self.model.forward()[1]  # type: ignore[no-any-return]


class LightGCNView(GraphView):
    """Layers are sums over neighbors: what a table adds to its users, the graph spreads and damps."""

    @property
    def affine(self) -> bool:
        """See :attr:`UserEmbeddingView.affine`; a subclass that propagates otherwise may leave users out."""
        return type(self.model).forward in (general_recommender.LightGCN.forward, LightGCN.forward)


class DMFView(UserEmbeddingView):
    """No table: users are the output of a tower over their interactions, unless they have been released."""

    caches = ("i_embedding", "u_embedding")
    shared = ("user_features", "item_features")
    targets = ("released", "tower")

    def write(self, values: Tensor, users: Tensor | None = None) -> None:
        """See :meth:`UserEmbeddingView.write`: releases all users with ``values`` in place of those named."""
        released = self.release().detach().clone()
        released[self._ids(users)] = values.to(released.dtype)
        self.model.released_users = released
        self.clear_caches()

    def logits(self, users: Tensor, items: Tensor) -> Tensor:
        """See :meth:`UserEmbeddingView.logits`."""
        return self.model(users, items)  # type: ignore[no-any-return]

    def served(self, users: Tensor | None = None) -> Tensor:
        """See :meth:`UserEmbeddingView.served`."""
        if hasattr(self.model, "user_vectors"):
            return self.model.user_vectors(self._ids(users))  # type: ignore[no-any-return]
        return self.model.user_fc_layers(self.model.get_user_embedding(self._ids(users)))  # type: ignore[no-any-return]

    def tables(self) -> list[nn.Parameter]:
        """See :meth:`UserEmbeddingView.tables`."""
        return []

    def tower(self) -> list[nn.Parameter]:
        """See :meth:`UserEmbeddingView.tower`."""
        return [*self.model.user_linear.parameters(), *self.model.user_fc_layers.parameters()]

    def items(self) -> Tensor:
        """See :meth:`UserEmbeddingView.items`."""
        return self.model.get_item_embedding()  # type: ignore[no-any-return]


_VIEWS: dict[type, type[UserEmbeddingView]] = {}


def register_view(model: type, view: type[UserEmbeddingView], *, replace: bool = False) -> None:
    """Gives a model a view; every attack and defense then works on it.

    Args:
        model: the model class, of RecBole or of anybody else. Subclasses are covered.
        view: a subclass of :class:`UserEmbeddingView`.
        replace: whether it may take the place of another view of the same class.

    Raises:
        ConfigValueError: no classes of these kinds, or the class has a view already.
    """
    if not (isinstance(model, type) and issubclass(model, nn.Module)):
        raise ConfigValueError(f"{model!r} is no model class. Register the class, such as BPR, not its name.")
    if not (isinstance(view, type) and issubclass(view, UserEmbeddingView)):
        raise ConfigValueError(f"{view!r} is no view. Register a subclass of UserEmbeddingView.")
    taken = _VIEWS.get(model)
    if taken not in (None, view) and not replace:
        raise ConfigValueError(
            f"{model.__name__} has a view already: {taken.__module__}.{taken.__qualname__}. "  # type: ignore[union-attr]
            "Register yours with replace=True."
        )
    _VIEWS[model] = view
    add_model(model)


for _model, _view in (
    (general_recommender.BPR, BPRView),
    (general_recommender.NeuMF, NeuMFView),
    (general_recommender.DMF, DMFView),
    (general_recommender.LightGCN, LightGCNView),
    (general_recommender.NGCF, GraphView),
):
    register_view(_model, _view)


def registered_views() -> list[str]:
    """Names of the models that have a view."""
    load_plugins()
    return sorted(model.__name__ for model in _VIEWS)


def view_class(model_class: type) -> type[UserEmbeddingView]:
    """The view registered for a model class, or for the nearest base class.

    Raises:
        UnsupportedModelError: there is none.
    """
    load_plugins()
    for base in model_class.__mro__:
        if base in _VIEWS:
            return _VIEWS[base]
    raise UnsupportedModelError(
        f"{model_class.__name__} has no user embedding view. Use one of {', '.join(registered_views())}, "
        "or register a view for it (register_view)."
    )
