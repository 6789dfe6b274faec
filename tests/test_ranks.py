import os

import pytest
import torch
from processes import together

from recbole_aia import ranks as ranks_module
from recbole_aia.errors import LostProcessError
from recbole_aia.ranks import Ranks, alone, crew, followers, lead, ranks


class TestAlone:
    def test_all_work_is_its_part_and_sums_are_what_they_are(self):
        here, value = ranks(), torch.tensor([1.0, 2.0])
        here.add(value)
        assert here.part(5) == slice(0, 5)
        assert here.own(value) is here.total(value) is here.alike(value) is value
        assert here.of_batch(sum, [1, 2]) == 3
        assert (here.gathered("x"), here.told(lambda: "x"), value.tolist()) == (["x"], "x", [1.0, 2.0])


@pytest.mark.parametrize(("n", "count"), [(7, 3), (2, 4), (0, 2)])
def test_parts_are_whole_and_differ_by_one_at_most(n, count):
    parts = []
    for rank in range(count):
        here = Ranks()
        here.rank, here.count = rank, count
        parts.append(list(range(n)[here.part(n)]))
    assert [each for part in parts for each in part] == list(range(n))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def everything():
    here = ranks()
    rank = here.rank
    values = [torch.full((3,), float(rank)), torch.tensor(rank), torch.ones(2, 5).t()]
    here.add(*values)
    users = torch.arange(5.0).requires_grad_()
    sums = here.total(here.own(users * 1).square().sum())
    sums.square().backward()
    with alone():
        inside = ranks().count, ranks().gathered(rank)
    said = here.told(lambda: f"process {rank}")
    share = here.of_batch(lambda rows: torch.tensor(rows).mean(), [1.0, 2.0, 6.0])
    only = here.of_batch(lambda rows: torch.tensor(rows).mean(), [4.0])
    gathered = here.gathered("ab"[rank])
    return [each.tolist() for each in values], users.grad.tolist(), float(sums), inside, said, share, only, gathered


def test_processes_add_up_gather_and_hear_the_first():
    first, second = together(2, everything)
    assert first[0] == second[0]
    assert first[0] == [[1.0] * 3, 1, [[2.0] * 2] * 5]
    # The gradient of the square of a sum of squares: all processes have that of all rows.
    assert first[1] == second[1] == [4.0 * 30 * x for x in range(5)]
    assert (first[2], second[2]) == (30.0, 30.0)
    assert (first[3], second[3]) == ((1, [0]), (1, [1]))
    assert first[4] == second[4] == "process 0"
    assert float(first[5] + second[5]) == pytest.approx(3.0)
    assert float(first[6] + second[6]) == 4.0
    assert first[7] == second[7] == ["a", "b"]


def made(*counts):
    here = crew()
    found = list(here.merged(f"{here.rank}{number}" for number in range(counts[here.rank])))
    here.gathered(None)  # nobody waits for another one any longer
    return found


def test_the_first_gets_what_all_make_be_it_nothing(monkeypatch):
    assert list(Ranks().merged(iter("ab"))) == ["a", "b"]
    monkeypatch.setattr(ranks_module, "_ROUND", 0.0)  # one thing at a time
    first, *others = together(3, made, 2, 0, 3)
    assert sorted(first) == ["00", "01", "20", "21", "22"]
    assert others == [[], []]


def failing():
    here = crew()

    def make():
        yield "one"
        if here.rank:
            raise ValueError("not this one")

    if here.rank:
        return list(here.merged(make()))
    with pytest.raises(ValueError, match="not this one"):
        list(here.merged(make()))
    return "told"


def test_an_error_of_another_process_is_raised_in_the_first():
    assert together(2, failing) == ["told", []]


class Noted:
    """Work that leaves a note in the process that has done it."""

    def along(self, config, dataset):
        config.append(dataset)


def led():
    notes = []
    lead(notes, lambda: followers().told(Noted))
    return notes, followers().count


def test_others_do_what_the_first_gives_in_the_middle_of_shared_work():
    assert together(2, led) == [([], 1), ([None], 1)]


def columns(n_columns):
    """The table of every column's own function, its gradient, and what a batch is cut into; with and without one."""
    here, table = ranks(), torch.arange(4.0 * n_columns).view(4, n_columns).requires_grad_()
    mixed = torch.tensor([[2.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 3.0]])
    widths = []

    def compute(part):
        widths.append(part.shape[1])
        return mixed @ part

    def loss(rows):
        # The gradient of the result differs from entry to entry, and from process to process.
        found.append(here.by_columns(compute, table))
        return (found[-1] ** 2 * torch.tensor(rows).view(-1, 1, 1)).mean(0).sum()

    found = []
    here.of_batch(loss, [1.0, 2.0, 6.0, 5.0, 3.0]).backward()
    split, gradient = widths.pop(), table.grad.clone()
    here.add(gradient)
    with alone():
        loss([1.0])
    here.by_columns(compute, table)  # no batch: nobody else need come
    return split, found[0].tolist(), gradient.tolist(), table.grad.tolist(), widths


@pytest.mark.parametrize(("count", "n_columns", "sent_at_a_time"), [(2, 6, 7), (3, 7, 2**22), (3, 2, 2**22)])
def test_processes_split_columns_and_gradients_add_up_to_those_of_one(monkeypatch, count, n_columns, sent_at_a_time):
    monkeypatch.setattr("recbole_aia.ranks._BUCKET", sent_at_a_time)
    wanted = columns(n_columns)
    for rank, found in enumerate(together(count, columns, n_columns)):
        assert found[0] == -(-n_columns // count) < n_columns == wanted[0]
        assert found[1] == wanted[1]
        assert torch.allclose(torch.tensor(found[2]), torch.tensor(wanted[2]))
        # A process has the whole gradient of its columns before anything is added up.
        own = slice(rank * n_columns // count, (rank + 1) * n_columns // count)
        others = torch.tensor(found[3])
        assert torch.allclose(others[:, own], torch.tensor(wanted[2])[:, own])
        others[:, own] = 0
        assert not others.any()
        assert found[4] == [n_columns] * 2


def left_alone():
    if ranks().rank:
        os._exit(1)
    with pytest.raises(LostProcessError, match="another process of this run has ended"):
        ranks().add(torch.ones(2))
    return "told"


def test_a_dead_process_is_an_error_of_one_line_at_once():
    assert together(2, left_alone) == ["told", None]


def test_the_crew_is_one_process_where_none_was_started():
    assert crew().count == 1
