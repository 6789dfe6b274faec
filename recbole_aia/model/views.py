"""User embedding views: which vectors of a model an attacker sees, and which parameters a defense may move."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recbole_aia.config.registry import add_model, load_plugins
from recbole_aia.errors import ConfigValueError, UnsupportedModelError


class UserEmbeddingView:
    """The users of one model, trained or in training.

    ``UserEmbeddingView(model)`` gives the view that is registered for the model's class or for a base class.
    RecBole's internal ids name the users. The padding user, id 0, is never among them.

    Args:
        model: a RecBole model.

    Raises:
        UnsupportedModelError: no view is registered for the model.
    """

    model: Any
    #: Attributes in which the model keeps results of earlier scoring.
    caches: ClassVar[tuple[str, ...]] = ()
    #: Methods without arguments that compute all users at once.
    shared: ClassVar[tuple[str, ...]] = ()
    #: What a defense after training can move, the default first: ``table``, the users' raw parameters; ``tower``, the
    #: parameters that compute users; ``released``, the users' served vectors, frozen.
    targets: ClassVar[tuple[str, ...]] = ("table",)
    #: Whether served vectors have exact zeros, as after a ReLU. Which units are zero depends on the user, and stays so
    #: if vectors are moved one by one.
    zeros: ClassVar[bool] = False

    def __new__(cls, model: nn.Module) -> UserEmbeddingView:
        """Makes an object of the view class that is registered for the model."""
        return super().__new__(view_class(type(model)) if cls is UserEmbeddingView else cls)

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    @property
    def users(self) -> Tensor:
        """All users but the padding user, ``[n_users - 1]``."""
        return torch.arange(1, self.model.n_users, device=self.model.device)

    @property
    def affine(self) -> bool:
        """Whether the served vectors are known to be ``M table + c`` with a positive definite matrix ``M``."""
        return False

    def served(self, users: Tensor | None = None) -> Tensor:
        """The vectors that produce the scores; gradients flow through them.

        Args:
            users: ids ``[n]``; ``None`` means all users, in order.

        Returns:
            ``[n, d]``.
        """
        table = self.table(users)
        assert table is not None
        return table

    def drawn(self, users: Tensor | None = None) -> Tensor:
        """The vectors as the model's own loss draws them in training, ``[n, d]``; see :meth:`served`.

        They differ from the served ones where training adds dropout or noise, as MultiVAE's does. Every call draws
        anew.
        """
        return self.served(users)

    def table(self, users: Tensor | None = None) -> Tensor | None:
        """The users' raw parameters ``[n, d']``, differentiable; ``None`` if the model has no table of users."""
        tables, ids = self.tables(), self._ids(users)
        # F.embedding and not table[ids]: the backward of indexing sorts the ids.
        parts = [F.embedding(ids, table) for table in tables]
        return torch.cat(parts, dim=1) if tables else None

    def tables(self) -> list[nn.Parameter]:
        """The parameters that hold users, each ``[n_users, d_i]``; empty if the model computes its users.

        A view of a model with user tables and inner products has to override this method and no other.
        """
        return [self.model.user_embedding.weight]

    def tower(self) -> list[nn.Parameter]:
        """The parameters that compute users and nothing else; empty if the users have tables."""
        return []

    @property
    def released(self) -> Tensor | None:
        """The frozen vectors that score for all users, ``[n_users, d]``; ``None`` before :meth:`release`."""
        vectors: Tensor | None = getattr(self.model, "released_users", None)
        return vectors

    @torch.no_grad()
    def release(self) -> Tensor:
        """Freezes the served vectors of all users. They score from then on; see :attr:`released`.

        A graph model's item vectors are frozen too, and both of its tables are set to zero: whoever has the frozen
        items, the item table and the interactions could solve for the user table. A tower stays in the model as it is.

        Returns:
            The frozen vectors, ``[n_users, d]``.

        Raises:
            UnsupportedModelError: the model serves its table, or has no place for frozen vectors.
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
        """Sets the users' table and clears the model's caches.

        If the model has no table, the users' served vectors are set and frozen.

        Args:
            values: ``[n, d']``.
            users: ids ``[n]``; ``None`` means all users.
        """
        tables, ids = self.tables(), self._ids(users)
        for table, part in zip(tables, values.split([t.shape[1] for t in tables], dim=1), strict=True):
            table[ids] = part.to(table)
        self.clear_caches()

    def clear_caches(self) -> None:
        """Deletes results of earlier scoring. RecBole saves them in checkpoints too."""
        for name in self.caches:
            setattr(self.model, name, None)

    def logits(self, users: Tensor, items: Tensor) -> Tensor:
        r"""The scores :math:`s_{ui}` of ``n`` pairs, differentiable, ``[n]``.

        :math:`\sigma(s_{ui})` is the probability of an interaction (RAID, eq. 5).
        """
        pairs = {self.model.USER_ID: self._ids(users), self.model.ITEM_ID: self._ids(items)}
        return self.model.predict(pairs)  # type: ignore[no-any-return]

    def scores(self, vectors: Tensor) -> Tensor:
        """The scores ``[n, n_items]`` of all items for users with the served vectors ``[n, d]``."""
        return vectors @ self.items().t()

    @contextmanager
    def shared_forward(self) -> Iterator[None]:
        """Inside, the methods in :attr:`shared` run once: the recommendation loss and the defense share the result.

        Use it for one step: parameters must not change inside.
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
        """Freezes or empties the other parts of the model that :meth:`release` names, which calls it."""

    def items(self) -> Tensor:
        """The vectors ``[n_items, d]`` whose inner products with served vectors are the logits, differentiable.

        Raises:
            UnsupportedModelError: the model has none, because it scores in another way.
        """
        table = getattr(self.model, "item_embedding", None)
        if table is None:
            raise UnsupportedModelError(f"{type(self.model).__name__} has no vectors of items that score alone.")
        items: Tensor = table.weight
        return items

    def _ids(self, users: Tensor | None) -> Tensor:
        """Ids on the model's device; ``None`` means all users."""
        return self.users if users is None else users.to(self.model.device)


_VIEWS: dict[type, type[UserEmbeddingView]] = {}


def register_view(model: type, view: type[UserEmbeddingView], *, replace: bool = False) -> None:
    """Gives a model class a view. Every attack and every defense then works on the model.

    Args:
        model: a model class of RecBole or of any package. The view covers its subclasses too.
        view: a subclass of :class:`UserEmbeddingView`.
        replace: whether ``view`` may replace the view that the class has already.

    Raises:
        ConfigValueError: ``model`` is no model class, ``view`` is no view class, or the model class has a view already.
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


def registered_views() -> list[str]:
    """The names of the model classes that have a view, sorted."""
    load_plugins()
    return sorted(model.__name__ for model in _VIEWS)


def view_class(model_class: type) -> type[UserEmbeddingView]:
    """The view that is registered for a model class or for its nearest base class.

    Raises:
        UnsupportedModelError: no view is registered for any of them.
    """
    load_plugins()
    for base in model_class.__mro__:
        if base in _VIEWS:
            return _VIEWS[base]
    raise UnsupportedModelError(
        f"{model_class.__name__} has no user embedding view. Use one of {', '.join(registered_views())}, "
        "or register a view for it (register_view)."
    )
