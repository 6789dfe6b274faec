"""The job ``doctor``: checks whether this installation works, and says what to do if it does not."""

from __future__ import annotations

import importlib
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

from recbole_aia import compat
from recbole_aia.config.properties import properties_dir
from recbole_aia.config.registry import defenses
from recbole_aia.storage.run_folder import package_version

_SIZE = 2048  # of the matrices whose product is timed
_PACKAGES = ("recbole", "torch", "numpy", "scipy", "pandas", "scikit-learn", "xgboost", "POT", "ray", "setuptools")


def doctor() -> int:
    """Prints versions and the outcome of each check.

    Returns:
        0 if all that a run needs works, otherwise 1. Only RecBole's own ``quick_start`` needs Ray, so a missing Ray is
        printed and does not count.
    """
    print(f"python {platform.python_version()} on {platform.platform()}")
    for package in _PACKAGES:
        print(f"{package} {package_version(package) or 'is not installed'}")
    checks: list[tuple[str, Callable[[], str]]] = [
        ("device", _device),
        ("RecBole's shims", _shims),
        ("property files", _properties),
        ("ml-100k, with user attributes", _embedded_dataset),
        ("writable working directory", _writable),
    ]
    failed = sum([not _passes(name, check) for name, check in checks])
    _passes("Ray, for recbole.quick_start", _ray)
    print("all is well" if not failed else f"{failed} of {len(checks)} checks failed")
    return 1 if failed else 0


def _passes(name: str, check: Callable[[], str]) -> bool:
    try:
        print(f"[ok]   {name}: {check()}")
    except Exception as error:
        print(f"[fail] {name}: {type(error).__name__}: {error}")
        return False
    return True


def _shims() -> str:
    compat.apply()
    from recbole.config import Config

    Config("BPR", "ml-100k")
    return "RecBole reads its configuration"


def _properties() -> str:
    if not (properties_dir() / "overall.yaml").is_file():
        raise FileNotFoundError(f"no property files in {properties_dir()}; install recbole-aia again")
    return f"{properties_dir()} ({', '.join(sorted(defenses()))})"


def _embedded_dataset() -> str:
    import recbole

    folder = Path(recbole.__file__).parent / "dataset_example" / "ml-100k"
    missing = [suffix for suffix in ("inter", "user") if not (folder / f"ml-100k.{suffix}").is_file()]
    if missing:
        raise FileNotFoundError(f"{folder} lacks ml-100k.{missing[0]}; install recbole==1.2.1 again")
    return str(folder)


def _writable() -> str:
    if not os.access(Path.cwd(), os.W_OK):
        raise PermissionError(f"{Path.cwd()}; change to another folder")
    return str(Path.cwd())


def _device() -> str:
    import torch

    found = [f"CPU, {torch.get_num_threads()} threads, {_product('cpu')}"]
    for index in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(index)
        name = f"cuda:{index}, {gpu.name}, {gpu.total_memory / 2**30:.0f} GiB"
        found.append(f"{name}, CUDA {torch.version.cuda}, {_product(f'cuda:{index}')}")
    return "; ".join(reversed(found))


def _product(device: str) -> str:
    """The time of a product of two matrices on a device, in words."""
    import torch

    matrix = torch.ones(_SIZE, _SIZE, device=device)
    taken = []
    for _ in range(3):  # the first one also starts the libraries
        began = time.perf_counter()
        float((matrix @ matrix)[0, 0])  # reading a number waits for a GPU
        taken.append(time.perf_counter() - began)
    return f"a product of {_SIZE:,} x {_SIZE:,} matrices takes {1000 * min(taken):.2g} ms"


def _ray() -> str:
    try:
        importlib.import_module("ray.tune")
    except ImportError as error:
        raise ImportError(f"{error}. Install 'recbole-aia[ray]'; Ray 2.6.3 needs setuptools < 82") from error
    return "imports"
