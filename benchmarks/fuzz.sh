#!/usr/bin/env bash
# Fuzzes every parser, ten minutes in all; `benchmarks/fuzz.sh 20` takes 20 seconds. Needs: pip install atheris
# Prints a line of JSON for each parser; files that reveal a fault go to fuzzing/, and the exit code is then 1.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p fuzzing
OMP_NUM_THREADS=1 "${PYTHON:-python}" -m benchmarks.fuzzing all --seconds "${1:-600}" 2>fuzzing/log
