"""Targets: what a defense after training moves in a model, single users' vectors or the parameters behind them."""

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

_SOLVED = 1e-3  # the solver stops when the remaining distance is below this share of the whole distance
_ROUNDED = 1e-6  # or below this share of the vectors' length, about the rounding error of single precision
_SOLVER_STEPS = 50  # most steps of the solver; each leaves at most half of the distance, so 10 reach _SOLVED


class Target(ABC):
    """The tensors that move, and the served vectors of the users who ask as a function of these tensors.

    Attributes:
        parameters: the tensors that an optimizer moves.
        holders: the model's tensors that hold or compute the users.
        initial: the users' served vectors before any move, ``[n, d]``.
    """

    parameters: list[Tensor]
    holders: list[Tensor]
    initial: Tensor

    def __init__(self, view: UserEmbeddingView, users: Tensor) -> None:
        self.view, self.users = view, users

    @abstractmethod
    def embeddings(self) -> Tensor:
        """The users' present served vectors ``[n, d]``, differentiable."""

    @abstractmethod
    def pull_back(self, embeddings: Tensor, gradient: Tensor) -> list[Tensor]:
        """Turns a gradient of the served vectors into a gradient of the parameters (the chain rule).

        Args:
            embeddings: the result of :meth:`embeddings`, ``[n, d]``.
            gradient: the gradient of some loss at ``embeddings``, ``[n, d]``.

        Returns:
            The gradient of each parameter.
        """

    @abstractmethod
    def model_gradient(self, loss: Callable[[], Tensor]) -> tuple[Tensor, list[Tensor]]:
        """The value of a loss of the whole model, and its gradient for each parameter."""

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
        """Writes the parameters into the model and clears its caches."""

    def scales(self) -> list[float]:
        """The standard deviation of the moving entries of each parameter; 0 for a single number."""
        return [float(parameter.detach().std()) if parameter.numel() > 1 else 0.0 for parameter in self.parameters]


class VectorTarget(Target):
    """The users' own vectors, in tables or released. Vectors of users who do not ask are never written.

    Args:
        view: the model's view.
        users: ids of the users who ask, ``[n]``.
        released: whether to release the users first, and move their frozen vectors.
    """

    def __init__(self, view: UserEmbeddingView, users: Tensor, released: bool) -> None:
        super().__init__(view, users)
        self.holders = [view.release()] if released else list(view.tables())
        # A parameter for each table: NeuMF's two tables have different scales, and steps are relative to the scale.
        self.parameters = [holder.detach()[users].requires_grad_() for holder in self.holders]
        self.initial = self.embeddings().detach()

    def embeddings(self) -> Tensor:
        """See :meth:`Target.embeddings`."""
        return torch.cat(self.parameters, dim=1)

    def pull_back(self, embeddings: Tensor, gradient: Tensor) -> list[Tensor]:
        """See :meth:`Target.pull_back`: the vectors are the parameters, so the gradient is only cut by table."""
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
    """The parameters from which served vectors are computed: rows of a graph model's table, or a tower.

    Args:
        view: the model's view.
        users: ids of the users who ask, ``[n]``.
        rows: true for a table, of which only the rows of ``users`` move; false for a tower, which moves as a whole.
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
        """The gradients with zeros in the rows of all other users, whose Adam steps then are zero."""
        if self._rows is None:
            return list(gradients)
        return [torch.zeros_like(g).index_copy_(0, self._rows, g[self._rows]) for g in gradients]


class GraphTarget(ParameterTarget):
    """Rows of a graph model's table, if the served vectors are an affine function of the table."""

    @torch.no_grad()
    def place(self, embeddings: Tensor) -> None:
        r"""Sets the rows so that the users' served vectors become ``embeddings [n, d]``, by minimal residuals.

        With the served vectors :math:`M x + c` of rows :math:`x`, the method solves :math:`M x + c = e` by the steps

        .. math:: x \leftarrow x + \alpha r, \qquad r = e - (M x + c), \quad
            \alpha = \frac{\langle r, M r \rangle}{\lVert M r \rVert^2}.

        With two or three layers the largest eigenvalue of :math:`M` is at most three times the smallest. A step then
        leaves at most half of the distance.

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
    """The name of the target: ``name``, or the model's default.

    Args:
        view: the model's view.
        name: ``table``, ``tower`` or ``released``; ``own`` for the first two, whichever the model has. ``None`` takes
            ``released`` if users have been released before, and otherwise the first of the view's targets that the
            model supports.

    Raises:
        ConfigValueError: the model has no such target, or its users are released and it serves nobody.
    """
    model = type(view.model).__name__
    if name is None:
        # A stock model has no place for released vectors.
        can_release = hasattr(view.model, "released_users")
        offered = [target for target in view.targets if target != "released" or can_release]
        name = "released" if view.released is not None else offered[0]
    check_target(type(view), model, name)
    if name == "own":
        name = _own(type(view))[0]
    if view.released is not None and name != "released":
        raise ConfigValueError(f"the users of this {model} are released: its {name} serves nobody. Leave target out.")
    return name


def check_target(view: type[UserEmbeddingView], model: str, name: str) -> None:
    """Raises :class:`ConfigValueError` if a model, called ``model`` and with this view, has no such target."""
    if name not in view.targets and not (name == "own" and _own(view)):
        raise ConfigValueError(f"{model} has no target '{name}'. Choose one of {', '.join(view.targets)}.")


def _own(view: type[UserEmbeddingView]) -> list[str]:
    """The view's targets that are parameters of the model."""
    return [target for target in view.targets if target != "released"]


def make_target(view: UserEmbeddingView, users: Tensor, name: str | None) -> Target:
    """Makes the target for a defense that descends; see :func:`target_name`.

    Args:
        view: the model's view.
        users: ids of the users who ask, ``[n]``.
        name: ``table``, ``tower``, ``released``, ``own`` or ``None``.

    Raises:
        ConfigValueError: the model has no such target, or a tower would have to move for some users only.
        UnsupportedModelError: the model is RecBole's own class, which has no place for released vectors.
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
    """Inside, only the target's ``holders`` require gradients, and no other parameter of the model does."""
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
    """Restores the model's state if an error ends the block, so that the model is never edited by half."""
    state, others = copy.deepcopy((model.state_dict(), model.other_parameter()))
    try:
        yield
    except BaseException:
        model.load_state_dict(state)
        model.load_other_parameter(others)
        raise
