"""What a defense after training moves of a model: the users' vectors one by one, or what computes them."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from recbole_aia.errors import ConfigValueError
from recbole_aia.model import UserEmbeddingView

_SOLVED = 1e-3  # the solver ends when what is left to move is below this share of the whole move
_ROUNDED = 1e-6  # or below this share of the vectors themselves, which is what single precision can tell
_SOLVER_STEPS = 50  # at most; each leaves half of the way or less, so 10 reach _SOLVED


class Target(ABC):
    """The tensors that move, and the served vectors of the users who asked as a function of them.

    Attributes:
        parameters: the tensors that an optimizer moves.
        holders: the tensors of the model that hold users, or compute them.
        initial: the users' served vectors before anything moved, ``[n, d]``.
    """

    parameters: list[Tensor]
    holders: list[Tensor]
    initial: Tensor

    def __init__(self, view: UserEmbeddingView, users: Tensor) -> None:
        self.view, self.users = view, users

    @abstractmethod
    def embeddings(self) -> Tensor:
        """The served vectors ``[n, d]`` of the users as they are now, differentiable."""

    @abstractmethod
    def pull_back(self, embeddings: Tensor, gradient: Tensor) -> list[Tensor]:
        """The gradient of the parameters that belongs to a gradient of :meth:`embeddings`, ``[n, d]``."""

    @abstractmethod
    def model_gradient(self, loss: Callable[[], Tensor]) -> tuple[Tensor, list[Tensor]]:
        """A loss of the model with the parameters in it, and its gradient."""

    def place(self, embeddings: Tensor) -> None:
        """Sets the users' served vectors, ``[n, d]``; :meth:`finish` then leaves them in the model.

        Raises:
            ConfigValueError: what moves computes the vectors in a way that cannot be solved for.
        """
        raise ConfigValueError(
            f"{type(self.view.model).__name__} computes its users, and this defense sets their vectors. "
            "Write --target=released."
        )

    @abstractmethod
    def finish(self) -> None:
        """Leaves the parameters in the model, with nothing cached."""

    def scales(self) -> list[float]:
        """The standard deviation of what moves, of each parameter; 0 of a single number."""
        return [float(parameter.detach().std()) if parameter.numel() > 1 else 0.0 for parameter in self.parameters]


class VectorTarget(Target):
    """Each user's own vector, in tables or released. Users who did not ask are never written."""

    def __init__(self, view: UserEmbeddingView, users: Tensor, released: bool) -> None:
        super().__init__(view, users)
        self.holders = [view.release()] if released else list(view.tables())
        # A copy for each table: NeuMF's two have scales of their own, and so have the steps that fit them.
        self.parameters = [holder.detach()[users].requires_grad_() for holder in self.holders]
        self.initial = self.embeddings().detach()

    def embeddings(self) -> Tensor:
        """See :meth:`Target.embeddings`."""
        return torch.cat(self.parameters, dim=1)

    def pull_back(self, embeddings: Tensor, gradient: Tensor) -> list[Tensor]:
        """See :meth:`Target.pull_back`: the vectors are the parameters."""
        return self._by_table(gradient)

    def model_gradient(self, loss: Callable[[], Tensor]) -> tuple[Tensor, list[Tensor]]:
        """See :meth:`Target.model_gradient`."""
        self._write()
        value = loss()
        return value.detach(), [part[self.users] for part in torch.autograd.grad(value, self.holders)]

    @torch.no_grad()
    def place(self, embeddings: Tensor) -> None:
        """Sets the users' vectors, ``[n, d]``."""
        for parameter, part in zip(self.parameters, self._by_table(embeddings), strict=True):
            parameter.copy_(part)

    def finish(self) -> None:
        """See :meth:`Target.finish`."""
        self._write()

    def _by_table(self, embeddings: Tensor) -> list[Tensor]:
        return list(embeddings.split([holder.shape[1] for holder in self.holders], dim=1))

    @torch.no_grad()
    def _write(self) -> None:
        for holder, parameter in zip(self.holders, self.parameters, strict=True):
            holder[self.users] = parameter
        self.view.clear_caches()


class ParameterTarget(Target):
    """What the served vectors are computed from: the rows of a graph model's table, or a tower.

    Args:
        view: the model's view.
        users: those who asked, ``[n]``.
        rows: whether rows of the parameters belong to users, and only those of ``users`` move.
    """

    def __init__(self, view: UserEmbeddingView, users: Tensor, rows: bool) -> None:
        super().__init__(view, users)
        self.parameters = self.holders = list(view.tables() if rows else view.tower())
        self._rows = users if rows else None
        with torch.no_grad():
            self.initial = view.served(users)

    def embeddings(self) -> Tensor:
        """See :meth:`Target.embeddings`."""
        self.view.clear_caches()
        return self.view.served(self.users)

    def pull_back(self, embeddings: Tensor, gradient: Tensor) -> list[Tensor]:
        """See :meth:`Target.pull_back`."""
        return self._asked(torch.autograd.grad(embeddings, self.parameters, gradient, retain_graph=True))

    def model_gradient(self, loss: Callable[[], Tensor]) -> tuple[Tensor, list[Tensor]]:
        """See :meth:`Target.model_gradient`."""
        self.view.clear_caches()
        value = loss()
        return value.detach(), self._asked(torch.autograd.grad(value, self.parameters))

    def finish(self) -> None:
        """See :meth:`Target.finish`."""
        self.view.clear_caches()

    def scales(self) -> list[float]:
        """See :meth:`Target.scales`."""
        if self._rows is None:
            return super().scales()
        return [float(parameter.detach()[self._rows].std()) for parameter in self.parameters]

    def _asked(self, gradients: tuple[Tensor, ...]) -> list[Tensor]:
        """Gradients that are zero, and so leave an Adam step at zero, for everybody else."""
        if self._rows is None:
            return list(gradients)
        return [torch.zeros_like(g).index_copy_(0, self._rows, g[self._rows]) for g in gradients]


class GraphTarget(ParameterTarget):
    """Rows of a graph model's table, of which the served vectors are an affine function with a positive matrix."""

    @torch.no_grad()
    def place(self, embeddings: Tensor) -> None:
        """Sets the rows from which the users' served vectors become ``[n, d]``, by minimal residuals.

        With two or three layers the matrix has eigenvalues of which the largest is at most three times the least, and
        a step leaves a half of the way or less.

        Source:
            Saad (2003), section 5.3.2.
        """
        (table,), here = self.parameters, self.embeddings()
        residual = embeddings - here
        enough = max(_SOLVED * float(residual.norm()), _ROUNDED * float(here.norm()))
        for _ in range(_SOLVER_STEPS):
            if residual.norm() <= enough:
                return
            table[self.users] += residual
            moved = self.embeddings() - here
            rate = (residual * moved).sum() / moved.square().sum()
            table[self.users] -= (1 - rate) * residual
            residual, here = residual - rate * moved, here + rate * moved


def target_name(view: UserEmbeddingView, name: str | None) -> str:
    """A target that the model has: the one asked for, or its default.

    Args:
        view: the model's view.
        name: ``None`` takes ``released`` where users have been released before, otherwise the first of the view's that
            the model can have.

    Raises:
        ConfigValueError: the model has no such target, or it serves nobody any more.
    """
    model = type(view.model).__name__
    if name is None:
        # A stock model has no place for released vectors.
        can_release = hasattr(view.model, "released_users")
        offered = [target for target in view.targets if target != "released" or can_release]
        name = "released" if view.released is not None else offered[0]
    if name not in view.targets:
        raise ConfigValueError(f"{model} has no target '{name}'. Choose one of {', '.join(view.targets)}.")
    if view.released is not None and name != "released":
        raise ConfigValueError(f"the users of this {model} are released: its {name} serves nobody. Leave target out.")
    return name


def make_target(view: UserEmbeddingView, users: Tensor, name: str | None) -> Target:
    """The target of a name, for defenses that descend; see :func:`target_name`.

    Args:
        view: the model's view.
        users: ids of those who asked, ``[n]``.
        name: ``table``, ``tower``, ``released`` or ``None``.

    Raises:
        ConfigValueError: the model has no such target, or a tower is to move for some users only.
        UnsupportedModelError: a stock model cannot take released vectors.
    """
    name = target_name(view, name)
    if name == "released":
        return VectorTarget(view, users, released=True)
    if name == "tower":
        if len(users) < len(view.users):
            raise ConfigValueError(
                f"{type(view.model).__name__}'s tower computes all users, and only {len(users)} are to move. "
                "Write --target=released."
            )
        return ParameterTarget(view, users, rows=False)
    serves_table = type(view).served is UserEmbeddingView.served
    if serves_table:
        return VectorTarget(view, users, released=False)
    return (GraphTarget if view.affine else ParameterTarget)(view, users, rows=True)


@contextmanager
def only_moving(model: nn.Module, target: Target) -> Iterator[None]:
    """Inside, gradients are computed for what holds the users and for nothing else of a model."""
    before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    for parameter, _ in before:
        parameter.requires_grad_(False)
    for holder in target.holders:
        holder.requires_grad_(True)
    try:
        yield
    finally:
        for holder in target.holders:
            holder.requires_grad_(False)
        for parameter, needed in before:
            parameter.requires_grad_(needed)


@contextmanager
def intact_on_error(model: Any) -> Iterator[None]:
    """A model that is edited inside is afterwards edited to the end, or as it was."""
    state, others = copy.deepcopy((model.state_dict(), model.other_parameter()))
    try:
        yield
    except BaseException:
        model.load_state_dict(state)
        model.load_other_parameter(others)
        raise
