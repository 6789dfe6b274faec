"""Makes MovieLens-1M's raw files, in GroupLens's format, from RecBole's atomic files, to check ``prepare``.

    python -m benchmarks.ml_1m_raw --atomic dataset/ml-1m --raw ml-1m

If the atomic files have no times, line numbers replace them. Such raw files are good for counts only.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

_FIRST_TIME = 956_703_932  # seconds since 1970 of the first rating in MovieLens-1M


def write_raw(atomic: Path, raw: Path) -> None:
    """Writes ``ratings.dat`` and ``users.dat``."""
    ratings, users = (_read(atomic / f"ml-1m.{suffix}") for suffix in ("inter", "user"))
    if "timestamp" not in ratings:
        ratings["timestamp"] = [str(_FIRST_TIME + line) for line in range(len(ratings))]
    raw.mkdir(parents=True, exist_ok=True)
    for name, frame, columns in (
        ("ratings.dat", ratings, ["user_id", "item_id", "rating", "timestamp"]),
        ("users.dat", users, ["user_id", "gender", "age", "occupation", "zip_code"]),
    ):
        rows = zip(*(frame[column] for column in columns), strict=True)
        (raw / name).write_text("".join("::".join(row) + "\n" for row in rows))


def _read(path: Path) -> pd.DataFrame:
    frame = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    return frame.rename(columns=lambda name: name.split(":")[0])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--atomic", type=Path, required=True, metavar="DIR", help="holds ml-1m.inter and ml-1m.user")
    parser.add_argument("--raw", type=Path, required=True, metavar="DIR", help="gets ratings.dat and users.dat")
    arguments = parser.parse_args()
    write_raw(arguments.atomic, arguments.raw)
