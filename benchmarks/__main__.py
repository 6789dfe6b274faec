"""Measures our code against a plain way to do the same: ``python -m benchmarks NAME [--quick] [--device cuda]``.

Each benchmark prints one JSON line. Both sides compute on the same device, by default on a GPU if torch sees one. The
name ``all`` runs all of them. ``--quick`` takes a small dataset and less than a minute.
``python -m benchmarks.quality`` measures what the defenses protect and cost.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.attacks import FULL, QUICK, attack_suite
from benchmarks.attrcloak import attrcloak
from benchmarks.calibrated import calibrated_overhead, protecting
from benchmarks.epochs import lightgcn_epoch, loader, neumf_eval
from benchmarks.kills import kills
from benchmarks.prepare import prepare_lines
from benchmarks.raid import raid_overhead
from benchmarks.scale import lastfm, scale
from benchmarks.setting import ML1M, SMALL, VALUES, apart, device
from benchmarks.steps import step

Benchmark = Callable[[bool], dict[str, Any]]

BENCHMARKS: dict[str, Benchmark] = {
    "lightgcn_step": lambda quick: step("lightgcn_step", "LightGCN", *_sized(quick, 5, 21)),
    "ngcf_step": lambda quick: step("ngcf_step", "NGCF", *_sized(quick, 5, 21)),
    "dmf_step": lambda quick: step("dmf_step", "DMF", *_sized(quick, 3, 11)),
    "neumf_eval": lambda quick: neumf_eval(*_sized(quick, 3, 7)),
    "loader": lambda quick: loader(*_sized(quick, 5, 7)),
    "lightgcn_epoch": lambda quick: lightgcn_epoch(*_sized(quick, 1, 3)),
    "raid_overhead": lambda quick: raid_overhead(*_sized(quick, 1, 5)),
    "calibrated_overhead": lambda quick: calibrated_overhead(*_sized(quick, 1, 5)),
    "protect": protecting,
    "attrcloak": attrcloak,
    "attack_suite": lambda quick: attack_suite(QUICK if quick else FULL),
    "scale": scale,
    "lastfm": lastfm,
    "prepare": prepare_lines,
    "kills": kills,
}


def _sized(quick: bool, few: int, many: int) -> tuple[Any, int]:
    return (SMALL, few) if quick else (ML1M, many)


def main() -> None:
    """Runs the named benchmarks and prints a line of JSON for each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=[*BENCHMARKS, "all"])
    parser.add_argument("--quick", action="store_true", help="a small dataset, under a minute")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N, for both sides (default: auto)")
    arguments = parser.parse_args()
    VALUES["device"] = arguments.device
    warnings.filterwarnings("ignore")  # RecBole and torch warn about each other's use
    names = list(BENCHMARKS) if arguments.name == "all" else [arguments.name]
    with apart():
        for name in names:
            if device().type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            print(json.dumps({**BENCHMARKS[name](arguments.quick), "quick": arguments.quick}), flush=True)


if __name__ == "__main__":
    main()
