#!/usr/bin/env bash
# Checks and times everything on a GPU in one call of under six minutes, without network; prints a short table last.
#   benchmarks/on_gpu.sh [FOLDER]     logs go to FOLDER, on_gpu by default
# Needs a GPU that torch sees, and this checkout installed with its tests (pip install -e '.[test]'), or the packages and
# the checkout on PYTHONPATH. PYTHON names the interpreter, WORKERS the processes of the tests, PARTS what is done.
set -uo pipefail
home=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "${1:-on_gpu}"
logs=$(cd "${1:-on_gpu}" && pwd)
python=${PYTHON:-python}
export PYTHONPATH="$home${PYTHONPATH:+:$PYTHONPATH}" PYTHONWARNINGS=ignore
cd "$home"
: >"$logs/lines.jsonl"

# part NAME SECONDS COMMAND...: one part's failure or length does not stop the next. Lines of JSON are its results.
part() {
  local name=$1 limit=$2 began=$SECONDS
  shift 2
  case " ${PARTS:-epochs align job large tests} " in *" $name "*) ;; *) return 0 ;; esac
  timeout "$limit" "$@" >"$logs/$name.log" 2>&1
  local code=$?
  grep '^{' "$logs/$name.log" >>"$logs/lines.jsonl"
  echo "{\"part\": \"$name\", \"exit\": $code, \"seconds\": $((SECONDS - began))}" >>"$logs/lines.jsonl"
}

# Timings come first and alone. The tests then share the GPU among their processes, in what is left of six minutes.
part epochs 70 "$python" -m benchmarks.gpu_epochs --device cuda --only epoch raid calibrated evaluation
part align 50 "$python" -m benchmarks.gpu_align step protect attack --device cuda
part job 55 "$python" -m benchmarks.gpu_align job --device cuda --alone
part large 40 "$python" -m benchmarks.gpu_large --device cuda
part tests $((355 - SECONDS)) env OMP_NUM_THREADS=1 "$python" -m pytest -p no:cacheprovider -n "${WORKERS:-14}" --device=cuda -q \
  --tb=short -rfE
"$python" -m benchmarks.on_gpu "$logs"
