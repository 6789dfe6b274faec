"""The processes of one training: their parts of the work, sums over them, and what the first of them says.

All hold the same model, draw the same random numbers and take the same decisions. Only the work is split: a batch, the
users of a large sum. What is split is added up before anybody goes on, so all stay alike.

The first process does the job: it reads and writes files, and reports. The others :func:`follow` it: they do their part
of each :class:`Work` that it gives. :func:`ranks` is the one process alone outside of such work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from recbole_aia.errors import LostProcessError
from recbole_aia.launch import place

Said = TypeVar("Said")
_BUCKET = 2**22  # numbers that are sent at a time: 16 megabytes in single precision
_PATIENCE = timedelta(minutes=30)  # after which a process that does not answer counts as lost; a dead one does at once
_LONG_PATIENCE = timedelta(days=1)  # with the first process, which does alone what is not shared, and with attacks
_ROUND = 2.0  # seconds after which a process hands over what it has made: a bar moves, and a death costs little


class Part(NamedTuple):
    """Which rows of a batch this process has."""

    rows: slice
    whole: int
    """How many rows the batch has."""
    share: float
    """Of the batch; 0 for a process without a row of its own, which has a row all the same, as gradients need one."""


class Ranks:
    """One process alone: everything is its part, and sums are what they are."""

    rank: ClassVar[int] = 0
    count: ClassVar[int] = 1
    #: The part of a batch whose loss is being computed.
    batch: Part | None = None

    def parts(self, n: int) -> list[slice]:
        """Which of ``n`` things are whose, by process; sizes differ by one at most, and may be 0."""
        return [slice(rank * n // self.count, (rank + 1) * n // self.count) for rank in range(self.count)]

    def part(self, n: int) -> slice:
        """Which of ``n`` things are this process's; see :meth:`parts`."""
        return self.parts(n)[self.rank]

    def of_batch(self, loss: Callable[[Any], Tensor], batch: Any) -> Tensor:
        """The loss of a batch, a mean over rows: this process's share, which adds up to the loss over all processes."""
        return loss(batch)

    def alike(self, loss: Tensor) -> Tensor:
        """The share of a loss that all processes compute alike."""
        return loss

    def own(self, rows: Tensor) -> Tensor:
        """This process's part of rows ``[n, ...]`` that all have; all get the gradient of all rows."""
        return rows

    def total(self, sums: Tensor) -> Tensor:
        """The sum over processes, from which all go on alike; the gradient passes as it is."""
        return sums

    def by_columns(self, compute: Callable[[Tensor], Tensor], table: Tensor) -> Tensor:
        """``compute(table)``, where ``compute`` treats every column of the table by itself.

        While the loss of a batch is computed, each of several processes computes its part of the columns, and all get
        all columns. The gradient of the table is then that of the loss of all processes in the own columns, and zero
        in the others, so that it adds up over processes. Elsewhere each process computes all columns, because nothing
        says that the others do so too, or that gradients are added up.

        Args:
            compute: of a table ``[n, c]`` another, ``[m, c]``, for any number of columns.
            table: ``[n, d]``, the same in all processes.

        Returns:
            ``[m, d]``.
        """
        return compute(table)

    def add(self, *tensors: Tensor) -> None:
        """Replaces each tensor by its sum over processes, in place."""

    def gathered(self, value: Said) -> list[Said]:
        """The values of all processes, in order."""
        return [value]

    def told(self, make: Callable[[], Said]) -> Said:
        """What ``make`` returns in the first process, which alone calls it."""
        return make()

    def merged(self, own: Iterator[Said]) -> Iterator[Said]:
        """What all processes make, in no order; given to the first one, while the others get nothing.

        Args:
            own: what this process makes. What it raises is raised in the first process.
        """
        return own


class Together(Ranks):
    """One of several processes, of torch's default group."""

    def __init__(self) -> None:
        self.rank, self.count = dist.get_rank(), dist.get_world_size()  # type: ignore[misc]
        self._talk = dist.new_group(timeout=_LONG_PATIENCE, backend="gloo")

    def of_batch(self, loss: Callable[[Any], Tensor], batch: Any) -> Tensor:
        """See :meth:`Ranks.of_batch`."""
        rows, n = self.part(len(batch)), len(batch)
        share = (rows.stop - rows.start) / n
        rows = rows if share else slice(0, 1)
        self.batch = Part(rows, n, share)
        try:
            part: Tensor = loss(batch[rows]) * share
            return part
        finally:
            self.batch = None

    def alike(self, loss: Tensor) -> Tensor:
        """See :meth:`Ranks.alike`."""
        return loss / self.count

    def own(self, rows: Tensor) -> Tensor:
        """See :meth:`Ranks.own`."""
        return _Own.apply(rows, self)  # type: ignore[no-any-return, no-untyped-call]

    def total(self, sums: Tensor) -> Tensor:
        """See :meth:`Ranks.total`."""
        return _Total.apply(sums, self)  # type: ignore[no-any-return, no-untyped-call]

    def by_columns(self, compute: Callable[[Tensor], Tensor], table: Tensor) -> Tensor:
        """See :meth:`Ranks.by_columns`."""
        if self.batch is None:
            return compute(table)
        n_columns = table.shape[1]
        own = table[:, self.part(n_columns)]
        # All compute and send equally many columns, of which some may be empty. gloo takes no other parts.
        if missing := -(-n_columns // self.count) - own.shape[1]:
            own = F.pad(own, (0, missing))
        return _Columns.apply(compute(own), n_columns, self)  # type: ignore[no-any-return, no-untyped-call]

    @torch.no_grad()
    def add(self, *tensors: Tensor) -> None:
        """See :meth:`Ranks.add`; small tensors travel together."""
        with _company():
            for bucket in _buckets(tensors):
                if len(bucket) == 1 and bucket[0].is_contiguous():
                    dist.all_reduce(bucket[0])
                    continue
                flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
                dist.all_reduce(flat)
                for tensor, part in zip(bucket, flat.split([tensor.numel() for tensor in bucket]), strict=True):
                    tensor.copy_(part.view_as(tensor))

    def swapped(self, parts: Tensor) -> Tensor:
        """Sends ``parts[r]`` to process r; ``[count, ...]``, what each process has sent to this one."""
        found = torch.empty_like(parts)
        with _company():
            # Of gloo's ways the one that sends no number twice: its reduce_scatter is an all_reduce.
            dist.all_to_all_single(found, parts)
        return found

    def gathered(self, value: Said) -> list[Said]:
        """See :meth:`Ranks.gathered`."""
        values: list[Any] = [None] * self.count
        with _company():
            dist.all_gather_object(values, value)
        return values

    def told(self, make: Callable[[], Said]) -> Said:
        """See :meth:`Ranks.told`."""
        said = [make() if not self.rank else None]
        with _company():
            dist.broadcast_object_list(said, 0, self._talk)
        return said[0]  # type: ignore[return-value]

    def merged(self, own: Iterator[Said]) -> Iterator[Said]:
        """See :meth:`Ranks.merged`; a process sends what it has made every few seconds, and at the end nothing."""
        if self.rank:
            self._hand_over(own)
            return
        makers = [*range(self.count)]
        while makers:
            for rank in [*makers]:
                part = self._handed_over(rank) if rank else _part(own)
                yield from part
                if not part:
                    makers.remove(rank)

    def _hand_over(self, own: Iterator[Any]) -> None:
        part: list[Any] | Exception | None = None
        while part is None or (part and not isinstance(part, Exception)):
            try:
                part = _part(own)
            except Exception as error:
                part = error
            with _company():
                dist.send_object_list([part], 0, self._talk)

    def _handed_over(self, rank: int) -> list[Any]:
        said: list[Any] = [None]
        with _company():
            dist.recv_object_list(said, rank, self._talk)
        if isinstance(said[0], Exception):
            raise said[0]
        part: list[Any] = said[0]
        return part


class Work(Protocol):
    """Something for all processes to do, as the first one gives it to the others; it can be pickled."""

    def along(self, config: Any, dataset: Any) -> None:
        """Does another process's part; see :func:`follow`."""


_ALONE = Ranks()
_crew = _working = _ALONE


def ranks() -> Ranks:
    """The processes that share the present work: those of a training inside :func:`at_work`, elsewhere this one."""
    return _working


def crew() -> Ranks:
    """The processes inside :func:`joined`, whether they share the present work or not."""
    return _crew


@contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """Joins the processes that were started together, if this one was: by gloo on a CPU, by NCCL on a GPU.

    Args:
        device: where this process computes.

    Raises:
        LostProcessError: another process does not come, or ends before this one.
    """
    global _crew  # noqa: PLW0603 - as torch has one default group
    if place().count == 1:
        yield _ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    with _company():
        dist.init_process_group("gloo" if device.type == "cpu" else "cpu:gloo,cuda:nccl", timeout=_PATIENCE)
    _crew = Together()
    try:
        yield _crew
    finally:
        leave()


def leave() -> None:
    """Leaves the processes that :func:`joined` has joined; this one then works alone."""
    global _crew  # noqa: PLW0603
    if _crew is not _ALONE:
        _crew = _ALONE
        with suppress(RuntimeError):
            dist.destroy_process_group()


def followers() -> Ranks:
    """The processes that :func:`follow` this one, the first, with this one: all, unless they share work just now."""
    return _crew if _working is _ALONE else _ALONE


def follow(config: Any, dataset: Any) -> None:
    """Does this process's part of each work that the first one gives, until it dismisses the others; writes nothing.

    Args:
        config: the run's configuration, the same as the first process's.
        dataset: the dataset as created.
    """
    work: Work | None
    while (work := _crew.told(_nothing)) is not None:
        work.along(config, dataset)


def dismiss() -> None:
    """Lets the processes inside :func:`follow` go; this one, the first, goes on alone."""
    _crew.told(_nothing)
    leave()


def lead(config: Any, work: Callable[[], None]) -> None:
    """In the middle of shared work, the first process does ``work`` alone, and the others follow it meanwhile."""
    group = _working
    with alone():
        if group.rank:
            follow(config, None)
            return
        work()
    group.told(_nothing)


def _nothing() -> None:
    return None


@contextmanager
def at_work(group: Ranks | None = None) -> Iterator[None]:
    """Inside, all processes of :func:`crew` do the same work and share it; or ``group`` does."""
    global _working  # noqa: PLW0603
    before, _working = _working, _crew if group is None else group
    try:
        yield
    finally:
        _working = before


@contextmanager
def alone() -> Iterator[None]:
    """Inside, this process works alone, in the middle of shared work."""
    with at_work(_ALONE):
        yield


@contextmanager
def _company() -> Iterator[None]:
    """Turns torch's error of a process that is no longer there into one line."""
    try:
        yield
    except RuntimeError as error:
        raise LostProcessError(
            "another process of this run has ended or does not answer. What is done is kept: the same command "
            "goes on, with any number of processes."
        ) from error


def _part(own: Iterator[Any]) -> list[Any]:
    """What comes within :data:`_ROUND`, one thing at least; nothing if there is nothing left."""
    part, until = [], time.monotonic() + _ROUND
    for each in own:
        part.append(each)
        if time.monotonic() > until:
            break
    return part


def _buckets(tensors: Iterable[Tensor]) -> Iterator[Sequence[Tensor]]:
    """Neighbours of one type and device, :data:`_BUCKET` numbers at most unless one alone is larger."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        size = sum(each.numel() for each in bucket) + tensor.numel()
        if bucket and (size > _BUCKET or (bucket[0].dtype, bucket[0].device) != (tensor.dtype, tensor.device)):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket


class _Own(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, group: Together) -> Tensor:  # type: ignore[override]
        ctx.group, ctx.shape = group, rows.shape
        return rows[group.part(len(rows))]

    @staticmethod
    def backward(ctx: Any, of_part: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        gradient = of_part.new_zeros(ctx.shape)
        gradient[ctx.group.part(len(gradient))] = of_part
        ctx.group.add(gradient)
        return gradient, None


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, sums: Tensor, group: Together) -> Tensor:  # type: ignore[override]
        total = sums.clone()
        group.add(total)
        return total

    @staticmethod
    def backward(ctx: Any, of_total: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return of_total, None


class _Columns(torch.autograd.Function):
    """Puts the columns of all processes side by side; backward each gets the gradient of its own, summed over all."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, n_columns: int, group: Together) -> Tensor:  # type: ignore[override]
        ctx.group, ctx.width = group, own.shape[1]
        found = own.new_empty(len(own), n_columns)
        sizes = [columns.stop - columns.start for columns in group.parts(n_columns)]
        for rows in _blocks(len(own), group.count * ctx.width):
            every = group.swapped(own[rows].expand(group.count, -1, -1).contiguous())
            torch.cat([part[:, :size] for part, size in zip(every, sizes, strict=True)], dim=1, out=found[rows])
        return found

    @staticmethod
    def backward(ctx: Any, of_all: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        group, gradient = ctx.group, of_all.new_empty(len(of_all), ctx.width)
        for rows in _blocks(len(of_all), group.count * ctx.width):
            block = of_all[rows]
            sent = block.new_zeros(group.count, len(block), ctx.width)
            for part, columns in zip(sent, group.parts(of_all.shape[1]), strict=True):
                part[:, : columns.stop - columns.start] = block[:, columns]
            torch.sum(group.swapped(sent), dim=0, out=gradient[rows])
        return gradient, None, None


def _blocks(n: int, width: int) -> Iterator[slice]:
    """Rows of a table ``[n, width]``, :data:`_BUCKET` numbers at a time."""
    step = max(1, _BUCKET // width)
    return (slice(start, start + step) for start in range(0, n, step))
