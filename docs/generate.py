"""Writes the property files of ``properties/`` from the declarations of keys: ``python docs/generate.py``."""

from __future__ import annotations

from recbole_aia.config.properties import properties_dir, property_files


def main() -> None:
    """Writes every file that is made from declarations."""
    for name, text in property_files().items():
        (properties_dir() / f"{name}.yaml").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
