"""Fits that wait for each other, so that those of one kind are done side by side."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol


class Task(Protocol):
    """What there is to fit."""

    @property
    def kind(self) -> Hashable:
        """What tasks must have in common to be done side by side."""


class Learner(Protocol):
    """What is fitted."""

    def take(self, found: Any) -> None:
        """Takes the result of its task."""


Solve = Callable[[Sequence[Any]], Sequence[Any]]


class _Waiting(NamedTuple):
    learner: Learner
    task: Task
    solve: Solve


#: Fits that wait for the end of :func:`trained_together`; None outside of it.
_waiting: ContextVar[list[_Waiting] | None] = ContextVar("waiting", default=None)


def fit_or_wait(learner: Learner, task: Task, solve: Solve) -> None:
    """Solves a task for a learner: at once, or with others of its kind where :func:`trained_together` ends.

    Args:
        learner: takes the result.
        task: what there is to fit.
        solve: from tasks of one kind to their results, in the same order.
    """
    waiting = _waiting.get()
    if waiting is None:
        learner.take(solve([task])[0])
    else:
        waiting.append(_Waiting(learner, task, solve))


@contextmanager
def trained_together() -> Iterator[None]:
    """What is fitted inside is done when it ends, tasks of equal kind side by side."""
    token = _waiting.set([])
    try:
        yield
        waiting = _waiting.get() or []
    finally:
        _waiting.reset(token)
    groups: dict[Hashable, list[_Waiting]] = {}
    for each in waiting:
        groups.setdefault((each.solve, each.task.kind), []).append(each)
    for group in groups.values():
        for each, found in zip(group, group[0].solve([each.task for each in group]), strict=True):
            each.learner.take(found)
