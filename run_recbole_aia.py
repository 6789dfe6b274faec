"""The entry script: ``python run_recbole_aia.py --model=LightGCN --defense=raid`` is ``recbole-aia run ...``."""

import sys

from recbole_aia.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["run", *sys.argv[1:]]))
