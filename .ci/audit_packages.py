"""Looks up known weaknesses of the packages in constraints.txt; says so where the list cannot be asked.

python .ci/audit_packages.py

Exit code 1 if a package has a known weakness that is not in ``ACCEPTED``. No answer from the network is no failure.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

#: Weaknesses that do not reach us, each with the reason.
ACCEPTED: dict[str, str] = {}
_COMMAND = ["pip_audit", "--no-deps", "--disable-pip", "--format=json", "--progress-spinner=off", "--timeout=20"]


def main() -> int:
    """Asks, and prints what was found."""
    constraints = Path(__file__).parents[1] / "constraints.txt"
    asked = subprocess.run(
        [sys.executable, "-m", *_COMMAND, "-r", str(constraints)], capture_output=True, text=True, check=False
    )
    return judged(asked.stdout, asked.stderr)


def judged(answer: str, errors: str) -> int:
    """The exit code for an answer of pip-audit, as JSON, or for none."""
    try:
        packages = json.loads(answer)["dependencies"]
    except (ValueError, KeyError):
        print(f"pip-audit had no answer, so nothing was audited: {(errors.strip().splitlines() or ['no reason'])[-1]}")
        return 0
    asked = [package for package in packages if "skip_reason" not in package]
    found = [(package, weakness["id"]) for package in asked for weakness in package.get("vulns", [])]
    if not asked:
        print(f"the list of weaknesses knows none of {len(packages)} packages, so nothing was audited")
    else:
        print(f"{len(asked)} of {len(packages)} packages audited")
    new = [f"{package['name']} {package['version']}: {name}" for package, name in found if name not in ACCEPTED]
    for line in new:
        print(line)
    return bool(new)


if __name__ == "__main__":
    raise SystemExit(main())
