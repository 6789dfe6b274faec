"""Miniatures of raw files: made up, in the exact format."""

from __future__ import annotations

from pathlib import Path


def write_raw(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder
