"""Gets a dataset whose files are missing: downloads it if RecBole offers it, and otherwise says how to get it."""

from __future__ import annotations

import os
import shlex
import zipfile
from logging import getLogger
from pathlib import Path

import recbole
from recbole.utils.url import download_url, extract_zip, rename_atomic_files

from recbole_aia.config.text import read_yaml
from recbole_aia.errors import AttributeDataError
from recbole_aia.storage.files import folder_aside

# Datasets that RecBole offers with the columns that our property files name; its other conversions have other columns.
_DOWNLOADED = ("ml-1m",)


def obtain(name: str, folder: Path) -> None:
    """Downloads a dataset's atomic files into a folder, all or none.

    Args:
        name: the dataset.
        folder: the folder that lacks the files.

    Raises:
        AttributeDataError: the dataset cannot be downloaded; the message says how to get the data.
    """
    from recbole_aia.data.converters import CONVERTERS

    missing = f"the dataset '{name}' is not there: no file '{folder / name}.inter'"
    if name not in CONVERTERS:
        raise AttributeDataError(
            f"{missing}. Put RecBole's atomic files into that folder, or point --data_path to the folder above them."
        )
    out = shlex.quote(str(folder.parent))
    by_hand = f"{CONVERTERS[name].source} Then: recbole-aia prepare {name} --raw DIR --out {out}"
    if name not in _DOWNLOADED or folder.exists():
        raise AttributeDataError(f"{missing}. {by_hand}")
    try:
        _download(name, folder)
    except (OSError, RuntimeError, TypeError, zipfile.BadZipFile) as error:  # TypeError: the server sent no length
        reason = getattr(error, "reason", None) or error
        raise AttributeDataError(f"{missing}, and it cannot be downloaded ({reason}). {by_hand}") from error


def _download(name: str, folder: Path) -> None:
    """Downloads as RecBole does, into a temporary folder and without RecBole's barrier, which fails in one process.

    The barrier needs a group of processes (RecBole's issue #1989).
    """
    url = read_yaml(Path(recbole.__file__).parent / "properties/dataset/url.yaml")[name]
    getLogger().info(f"The dataset {name} is not in '{folder}': downloading {url}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder_aside(folder.parent, name) as around:
        aside = around / name
        packed = download_url(url, str(aside))
        extract_zip(packed, str(aside))
        os.unlink(packed)
        rename_atomic_files(str(aside), Path(packed).stem, name)
        if not (aside / f"{name}.inter").is_file():
            raise RuntimeError(f"no {name}.inter in {Path(packed).name}")
        _mend_header(aside / f"{name}.user")
        os.replace(aside, folder)


def _mend_header(path: Path) -> None:
    """Swaps the names of age and gender if the values show that RecBole's MovieLens-1M has them in the wrong place."""
    header, _, rows = path.read_text(encoding="utf-8").partition("\n")
    names = header.split("\t")
    plain = [column.split(":")[0] for column in names]
    if not {"age", "gender"} <= set(plain):
        return
    age, gender = plain.index("age"), plain.index("gender")
    first = rows.partition("\n")[0].split("\t")
    if first[age] in ("F", "M") and first[gender].isdigit():
        names[age], names[gender] = names[gender], names[age]
        path.write_text("\t".join(names) + "\n" + rows, encoding="utf-8")
        getLogger().warning(f"{path.name} had age and gender in each other's place; its header is mended.")
