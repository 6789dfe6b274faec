"""Where each model keeps its users: what an attacker sees of them, and what a defense may move."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recbole_aia.config.registry import load_plugins
from recbole_aia.errors import ConfigValueError, UnsupportedModelError


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
            self._freeze()
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
        return vectors @ self._items().t()

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

    def _freeze(self) -> None:
        """What else of the model stands still, or goes, when its users are released."""

    def _items(self) -> Tensor:
        items: Tensor = self.model.item_embedding.weight
        return items

    def _ids(self, users: Tensor | None) -> Tensor:
        return self.users if users is None else users.to(self.model.device)


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


def registered_views() -> list[str]:
    """Names of the models that have a view."""
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
