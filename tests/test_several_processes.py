"""The benchmark of several processes measures what its formulas say; docs/scale.md holds the tables that they print."""

from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks import formulas
from benchmarks.formulas import SECONDS, Job, fitted
from benchmarks.several_processes import compared, together
from recbole_aia.data.synthetic import generate

MANUAL = (Path(__file__).parents[1] / "docs/scale.md").read_text("utf-8")


def test_two_processes_send_what_the_formula_says():
    values = {"train_batch_size": 200, "embedding_size": 7}
    one, two = compared(generate(60, 50, 900), [1, 2], steps=2, rounds=1, **values)
    assert (one["processes"], one["sent_bytes"], one["communication"], one["ratio_to_first"]) == (1, 0, 0, 1)
    # Besides three norms in single precision, and in half of the steps two sums in double precision.
    assert two["sent_bytes"] == two["sent_bytes_formula"] + 3 * 4 + 8
    assert 0 < two["communication"] < 1


def broken():
    raise ZeroDivisionError("a mistake in a process")


def test_a_mistake_in_a_process_is_shown():
    with pytest.raises(SystemExit, match="a mistake in a process"):
        together(2, broken)


def test_the_fit_finds_the_constants():
    jobs = [
        Job(n, 100 + n % 700, 50 * n, 64, 2, batch, count)
        for n in (500, 4000)
        for batch in (9, 900)
        for count in (1, 2)
    ]
    found = fitted([{**asdict(job), "processor_s": job.seconds()} for job in jobs])
    assert found["seconds"] == pytest.approx(SECONDS)
    assert found["largest_error"] < 1e-6


@pytest.mark.parametrize("table", [formulas.needs, formulas.limits])
def test_the_manual_has_the_tables_as_they_are_printed(table):
    assert table() in MANUAL
