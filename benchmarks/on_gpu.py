"""The table at the end of ``benchmarks/on_gpu.sh``: what was aimed at, what was measured, and whether it holds."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

Line = Mapping[str, Any]


class Aim(NamedTuple):
    """A number that a line of JSON gives, and the bound on it.

    Attributes:
        name: the ``name`` of the line.
        what: the number in words.
        value: takes the number out of the line.
        bound: the bound.
        least: whether the number has to be at least the bound; otherwise at most.
    """

    name: str
    what: str
    value: Callable[[Line], float]
    bound: float
    least: bool = False


def _of(key: str) -> Callable[[Line], float]:
    return lambda line: float(line[key])


def _error(line: Line) -> float:
    return max(float(line["loss_error"]), float(line["gradient_error"]))


def _largest(line: Line) -> float:
    return max(line["peak_gib"])


_SPEED_UPS = {"LightGCN": 8.0, "NGCF": 5.0, "DMF": 6.0, "BPR": 6.0}
AIMS = [
    Aim("epoch LightGCN", "epoch of MovieLens-1M's shape, s", _of("ours_s"), 1.0),
    *(Aim(f"epoch {m}", "stock RecBole's time / ours", _of("ratio"), x, least=True) for m, x in _SPEED_UPS.items()),
    *(Aim(f"epoch {m}", "difference of loss and gradients", _error, 1e-5) for m in (*_SPEED_UPS, "NeuMF")),
    Aim("evaluation NeuMF", "stock RecBole's time / ours", _of("ratio"), 5.0, least=True),
    *(Aim(f"raid epoch {m}", "defended / undefended, with a refresh", _of("ratio"), 1.25) for m in ("LightGCN", "BPR")),
    *(Aim(f"calibrated epoch {m}", "defended / undefended", _of("ratio"), 1.25) for m in ("LightGCN", "BPR")),
    Aim("step 943 cuda", "step of alignment, ms", _of("step_ms"), 8.0),
    Aim("step 6040 cuda", "step of alignment, ms", _of("step_ms"), 20.0),
    Aim("protect 1000000 cuda", "two attributes, s", _of("seconds"), 2.0),
    Aim("attack 6040", "strict suite: CPU's time / ours", _of("ratio"), 4.0, least=True),
    Aim("job cuda", "README's main job from cold, s", _of("cold_s"), 30.0),
    Aim("job cuda", "README's main job again, s", _of("again_s"), 20.0),
    Aim("large LightGCN", "memory of an epoch and an alignment, GiB", _largest, 60 * 1e9 / 2**30),
]


def read(folder: Path) -> tuple[dict[str, Line], dict[str, Line]]:
    """The results by name, and how each part ended by its name."""
    lines = [json.loads(line) for line in (folder / "lines.jsonl").read_text(encoding="utf-8").splitlines()]
    found = {line["name"]: line for line in lines if "name" in line}
    both = [found.get(f"attack 6040 {device}") for device in ("cpu", "cuda")]
    if both[0] is not None and both[1] is not None:
        found["attack 6040"] = {"ratio": both[0]["seconds"] / both[1]["seconds"]}
    return found, {line["part"]: line for line in lines if "part" in line}


def rows(found: Mapping[str, Line]) -> Iterator[tuple[str, str, str, str, str]]:
    """Name, number in words, aim, measured, and whether the aim holds; ``?`` where nothing was measured."""
    for aim in AIMS:
        bound = f"{'>=' if aim.least else '<='} {aim.bound:.3g}"
        try:
            value = aim.value(found[aim.name])
        except KeyError:
            yield aim.name, aim.what, bound, "-", "?"
            continue
        holds = value >= aim.bound if aim.least else value <= aim.bound
        yield aim.name, aim.what, bound, f"{value:.3g}", "yes" if holds else "no"


def tests(folder: Path, part: Line | None) -> tuple[str, str, str, str, str]:
    """The row of the tests: pytest's last line, such as ``1 failed, 2000 passed``."""
    log = folder / "tests.log"
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    counted = re.findall(r"^.*\d+ passed.*$", text, flags=re.MULTILINE)
    said = counted[-1].strip("= ") if counted else "did not end"
    return "tests", "pytest --device=cuda", "0 failed", said, "yes" if part and part["exit"] == 0 else "no"


def main() -> None:
    """Prints the table of a folder of logs; the exit code is 1 if something does not hold or was not measured."""
    folder = Path(sys.argv[1])
    found, parts = read(folder)
    table = [("", "", "aim", "measured", "holds"), *rows(found), tests(folder, parts.get("tests"))]
    widths = [max(len(row[column]) for row in table) for column in range(5)]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print("parts:", ", ".join(f"{name} {part['seconds']} s (exit {part['exit']})" for name, part in parts.items()))
    raise SystemExit(0 if all(row[4] == "yes" for row in table[1:]) else 1)


if __name__ == "__main__":
    main()
