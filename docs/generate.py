"""Writes what is made from declarations and data: ``properties/``, the reference, and what the papers print.

python docs/generate.py
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from recbole_aia.config.keys import Key
from recbole_aia.config.properties import first_line, presets, presets_by_model, properties_dir, property_files
from recbole_aia.config.registry import common_keys, defenses, is_ours, keys_of, models
from recbole_aia.config.text import to_yaml_line
from recbole_aia.evaluator import registered_attackers
from recbole_aia.evaluator.presets import PRESETS
from recbole_aia.report.published import PAPERS, below_chance, numbers

_REFERENCE = Path(__file__).parent / "reference.md"
_PUBLISHED = Path(__file__).parent / "published.md"
_MADE = (
    "# Made by docs/generate.py from the declarations in the code. "
    "For other defaults copy keys into a config file of yours.\n"
)
_STAGES = {"in": "During training", "post": "After training"}


def written_files() -> dict[str, str]:
    """The property files of this package; a guest that is installed beside it has none."""
    ours = {name for name, stages in defenses().items() if all(map(is_ours, stages.values()))}
    kept = {"overall", *(f"defense/{name}" for name in ours)}
    kept |= {f"defense/{name}-{preset}" for name in ours for preset in presets(name)}
    return {name: f"{_MADE}{text}" for name, text in property_files().items() if name in kept}


def reference() -> str:
    """The page of all keys, defenses, attackers, protocols and models."""
    return "\n".join(_lines())


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"`{to_yaml_line(key, value)}`" for key, value in values.items())


def _lines() -> Iterator[str]:
    yield "# Reference of keys, defenses and attackers"
    yield ""
    yield "`docs/generate.py` writes this page from the declarations in the code; `recbole-aia run --help` prints keys."
    yield "Every key can be given as `--key=value` or in a YAML file. `~` is YAML's null."
    for heading, keys in common_keys().items():
        yield from _table(f"## {heading}", keys)
    yield from (
        "",
        "## Defenses",
        "",
        "A defense reads the keys of every run and its own. Its first stage is its default.",
    )
    for name, stages in defenses().items():
        if not all(map(is_ours, stages.values())):
            continue
        yield from ("", f"### {name}", "", first_line(next(iter(stages.values()))))
        for stage, each in stages.items():
            if keys_of(each):
                yield from _table(f"{_STAGES[stage]} (`--stage={stage}`):", keys_of(each))
            if each.search:
                yield from ("", f"`recbole-aia sweep` searches {_pairs(each.search)}.")
        for preset, values in presets(name).items():
            particular = "".join(
                f" With {model}: {_pairs(own)}." for model, own in presets_by_model(name, preset).items()
            )
            yield from ("", f"`--preset={preset}`: {_pairs(values)}.{particular}")
    yield from ("", "## Attackers", "", "| name | what it is |", "| --- | --- |")
    yield from (
        f"| `{name}` | {_cell(first_line(each))} |" for name, each in registered_attackers().items() if is_ours(each)
    )
    yield from (
        "",
        "## Protocols",
        "",
        "| `protocol` | folds | repeats | users | attackers |",
        "| --- | --- | --- | --- | --- |",
    )
    for name, preset in PRESETS.items():
        users = "all" if preset.attack_balance == "none" else "equally many of each class"
        names = ", ".join(preset.attackers)
        yield f"| `{name}` | {preset.attack_folds} | {preset.attack_repeats} | {users} | {names} |"
    yield from ("", "## Models with a view", "", ", ".join(_models()) + ".", "")


def _models() -> list[str]:
    return sorted(name for name, model in models().items() if model.__module__.startswith("recbole."))


def _table(heading: str, keys: Mapping[str, Key]) -> Iterator[str]:
    yield from ("", heading, "", "| key | type | default | meaning |", "| --- | --- | --- | --- |")
    for name, key in keys.items():
        default = to_yaml_line("", key.default).removeprefix(": ")
        yield f"| `{name}` | {_cell(key.kind)} | `{default}` | {_cell(key.text)} |"


def _cell(text: Any) -> str:
    """A text that ends no cell, and that Markdown does not read as a tag."""
    return str(text).replace("|", "\\|").replace("<", "&lt;").replace("``", "`")


def published() -> str:
    """The page of what the papers print."""
    return "\n".join(_published_lines())


def _published_lines() -> Iterator[str]:
    yield "# What the papers print"
    yield ""
    yield "`docs/generate.py` writes this page from the data in `properties/published`: every number of the papers'"
    yield "tables, with its table. Ours stand beside them in [results](results.md#the-papers-on-their-own-ground)."
    yield from ("", "| file | tables | numbers |", "| --- | --- | --- |")
    for paper in PAPERS:
        tables = ", ".join(dict.fromkeys(row["table"] for row in numbers(paper)))
        yield f"| [`{paper}.csv`](../properties/published/{paper}.csv) | {tables} | {len(numbers(paper)):,} |"
    yield from ("", "## Attackers below chance in RAID's own tables", "")
    yield "After RAID, these attackers answer worse than a coin would: by more than 0.03 of balanced accuracy. Their"
    yield "labels are still there, in reverse. Whoever expects that inverts the answers."
    yield from ("", "| table | attribute | attacker | balanced accuracy | chance |", "| --- | --- | --- | --- | --- |")
    for row, chance in below_chance():
        yield f"| {row['table']} | {row['attribute']} | {row['attacker']} | {row['value']} | {chance:.3f} |"
    yield ""
    yield "All are on ML-1M; the paper does not name the model of tables 6 to 8."
    yield ""


def main() -> None:
    """Writes every file that is made from declarations."""
    for name, text in written_files().items():
        (properties_dir() / f"{name}.yaml").write_text(text, encoding="utf-8")
    _REFERENCE.write_text(reference(), encoding="utf-8")
    _PUBLISHED.write_text(published(), encoding="utf-8")


if __name__ == "__main__":
    main()
