"""A grid of runs as a YAML file gives it: models, data sets, methods, seeds, and what is varied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from recbole_aia.config.hints import did_you_mean
from recbole_aia.config.properties import properties_dir
from recbole_aia.config.registry import defense_class, defense_keys, keys_of
from recbole_aia.config.text import read_yaml
from recbole_aia.errors import ConfigValueError

_SEEDS = (2020, 2021, 2022)
_OF_A_METHOD = ("published", "only_models")  # what a method says beside the keys of its runs
#: The measures of a table that names none.
MEASURES: tuple[dict[str, Any], ...] = ({"worst_case": True}, {"kept": "ndcg@10"}, {"seconds": True})


@dataclass(frozen=True)
class Cell:
    """One run of a grid.

    Attributes:
        model: its name.
        dataset: its name.
        method: the name of its line in the table.
        seed: its seed.
        attributes: protected together.
        settings: all keys of the run by name, those above among them.
    """

    model: str
    dataset: str
    method: str
    seed: int
    attributes: tuple[str, ...]
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Grid:
    """Runs to make, and the table to make of them.

    Attributes:
        name: of the output folder.
        methods: the keys of each method's runs, by the name of its line. ``only_models`` says on which models it
            works, ``published`` how the paper calls it, or what else its printed numbers are about.
        models: names.
        datasets: names.
        attributes: each entry is protected together, in runs of its own.
        seeds: whole numbers >= 0.
        settings: keys of every run.
        model_settings: keys of the runs of a model.
        dataset_settings: keys of the runs of a data set.
        vary: values by key; every combination is a line of its own of each method that reads the keys and does not
            give them itself.
        measures: columns of the table; see :mod:`recbole_aia.report.compared`.
        paper: whose printed numbers stand beside ours, a file in ``properties/published``; empty for none.
        title: a heading.
        note: what the table needs and takes.
    """

    name: str
    methods: Mapping[str, Mapping[str, Any]]
    models: tuple[str, ...]
    datasets: tuple[str, ...] = ("ml-100k",)
    attributes: tuple[tuple[str, ...], ...] = ()
    seeds: tuple[int, ...] = _SEEDS
    settings: Mapping[str, Any] = field(default_factory=dict)
    model_settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    dataset_settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    vary: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    measures: tuple[Mapping[str, Any], ...] = MEASURES
    paper: str = ""
    title: str = ""
    note: str = ""

    @classmethod
    def read(cls, path: Path, **changes: Any) -> Grid:
        """A grid from a YAML file whose keys are this class's attributes.

        ``like: raid-table2`` takes what the file does not give from a file beside it, or from a recipe. Keys of
        ``settings`` are taken one by one, and a list of ``methods`` picks lines of the other grid.

        Args:
            path: the file.
            changes: values that go over the file's; ``None`` leaves the file's.

        Raises:
            ConfigValueError: the file cannot be read, or a value is not of the form that is expected.
        """
        values = {**_read(path), **{key: value for key, value in changes.items() if value is not None}}
        return cls.of({"name": path.stem, **values}, str(path))

    @classmethod
    def of(cls, values: Mapping[str, Any], source: str) -> Grid:
        """A grid from plain values; ``source`` is named in errors."""
        known = list(cls.__dataclass_fields__)
        for key in values:
            if key not in known:
                hint = did_you_mean(str(key), known, cutoff=0.5, n=1)
                raise ConfigValueError(f"'{source}' has the key '{key}', which a grid does not have.{hint}")
        for key in ("methods", "models"):
            if not values.get(key):
                raise ConfigValueError(f"'{source}' names no {key}. Give at least one.")
        form = _Form(source)
        methods = values["methods"]
        if isinstance(methods, list):  # the names of defenses
            methods = {str(name): {"defense": name} for name in methods}
        return cls(
            name=str(values.get("name", "compare")),
            methods={str(name): form.mapping(f"methods.{name}", each) for name, each in methods.items()},
            models=tuple(map(str, form.several("models", values["models"]))),
            datasets=tuple(map(str, form.several("datasets", values.get("datasets", ["ml-100k"])))),
            attributes=tuple(form.together(values.get("attributes", []))),
            seeds=tuple(form.seeds(values.get("seeds", _SEEDS))),
            settings=form.mapping("settings", values.get("settings", {})),
            model_settings=form.mappings("model_settings", values.get("model_settings", {})),
            dataset_settings=form.mappings("dataset_settings", values.get("dataset_settings", {})),
            vary={
                str(key): tuple(form.several(f"vary.{key}", each))
                for key, each in form.mapping("vary", values.get("vary", {})).items()
            },
            measures=tuple(
                form.mapping("measures", each) for each in form.several("measures", values.get("measures", MEASURES))
            ),
            paper=str(values.get("paper", "")),
            title=str(values.get("title", "")),
            note=str(values.get("note", "")),
        )

    def narrowed(self, methods: Sequence[str] | None, settings: Mapping[str, Any]) -> Grid:
        """The grid with some of its methods, and with further keys for every run, which win over its own.

        Raises:
            ConfigValueError: there is no such method.
        """
        for name in methods or ():
            if name not in self.methods:
                hint = did_you_mean(name, self.methods, cutoff=0.5, n=1)
                raise ConfigValueError(f"the grid has no method '{name}'.{hint} It has {', '.join(self.methods)}.")
        kept = {name: {**each, **settings} for name, each in self.methods.items() if name in (methods or self.methods)}
        return replace(self, methods=kept)

    def cells(self) -> list[Cell]:
        """All runs: seed by seed, so that a part of a grid is a whole table of fewer seeds."""
        wanted = self.attributes or ((),)
        return [
            cell
            for seed, dataset, model, attributes in product(self.seeds, self.datasets, self.models, wanted)
            for method in self.methods
            for cell in self._cells(method, model, dataset, seed, attributes)
        ]

    def lines(self) -> list[str]:
        """The names of the table's lines in their order."""
        return list(dict.fromkeys(cell.method for cell in self.cells()))

    def published(self, line: str) -> dict[str, str]:
        """What a line's printed numbers are about; ``method`` is how the paper calls it, empty if it has it not."""
        method = max((name for name in self.methods if line.startswith(name)), key=len, default="")
        said = self.methods.get(method, {}).get("published", "")
        return {"method": "", **said} if isinstance(said, Mapping) else {"method": str(said)}

    def _cells(self, method: str, model: str, dataset: str, seed: int, attributes: tuple[str, ...]) -> Iterator[Cell]:
        own = self.methods[method]
        if model not in own.get("only_models", self.models):
            return
        keys = {
            **self.settings,
            **self.dataset_settings.get(dataset, {}),
            **self.model_settings.get(model, {}),
            **{key: value for key, value in own.items() if key not in _OF_A_METHOD},
        }
        for varied in _combinations({key: each for key, each in self._read_by(keys).items() if key not in own}):
            name = " ".join([method, *(f"{key}={value}" for key, value in varied.items())])
            named = {"attributes": list(attributes)} if attributes else {}
            settings = {**keys, **varied, **named, "model": model, "dataset": dataset, "seed": seed}
            yield Cell(model, dataset, name, seed, attributes, settings)

    def _read_by(self, keys: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
        """What is varied among the keys that a method's defense reads; keys of no defense vary for all."""
        own = keys_of(defense_class(keys.get("defense", "none"), keys.get("stage")))
        return {key: values for key, values in self.vary.items() if key in own or key not in defense_keys()}


def _read(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The values of a grid's file, with those of the grid that it is ``like``; ``above`` are files that are like it."""
    values = read_yaml(path)
    like = values.pop("like", None)
    if like is None:
        return values
    offered = (path.with_name(f"{like}.yaml"), properties_dir() / "recipes" / f"{like}.yaml")
    seen = {each.resolve() for each in (path, *above)}
    found = next((each for each in offered if each.is_file() and each.resolve() not in seen), None)
    if found is None:
        raise ConfigValueError(f"'{path}' is like '{like}', and there is no such file beside it and no such recipe.")
    base = _read(found, (path, *above))
    settings = [each.get("settings") or {} for each in (base, values)]
    if not all(isinstance(each, dict) for each in settings):
        raise ConfigValueError(f"'{path}' or '{found}' has settings that are no mapping of keys to values.")
    picked, lines = values.get("methods"), base.get("methods") or {}
    if isinstance(lines, list):
        lines = {str(name): {"defense": name} for name in lines}
    if isinstance(picked, list):
        absent = [str(name) for name in picked if name not in lines]
        if absent:
            raise ConfigValueError(f"'{path}' picks '{absent[0]}', and '{like}' has no such line.")
        values["methods"] = {name: lines[name] for name in picked}
    return {**base, **values, "settings": {**settings[0], **settings[1]}}


def _combinations(vary: Mapping[str, tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    for values in product(*vary.values()):
        yield dict(zip(vary, values, strict=True))


class _Form:
    """Checks the forms of values, and names where they stand."""

    def __init__(self, source: str) -> None:
        self._source = source

    def mapping(self, key: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise self._error(key, value, "a mapping of keys to values")
        return {str(name): each for name, each in value.items()}

    def mappings(self, key: str, value: Any) -> dict[str, dict[str, Any]]:
        return {name: self.mapping(f"{key}.{name}", each) for name, each in self.mapping(key, value).items()}

    def several(self, key: str, value: Any) -> list[Any]:
        values = list(value) if isinstance(value, list | tuple) else [value]
        if not values:
            raise self._error(key, value, "a list of at least one value")
        return values

    def together(self, value: Any) -> list[tuple[str, ...]]:
        """``[gender, age]`` are two runs, ``[[gender, age]]`` is one that protects both."""
        if not isinstance(value, list | tuple):
            value = [value]
        return [tuple(map(str, each)) if isinstance(each, list | tuple) else (str(each),) for each in value]

    def seeds(self, value: Any) -> list[int]:
        seeds = self.several("seeds", value)
        if not all(type(seed) is int and seed >= 0 for seed in seeds):
            raise self._error("seeds", value, "a list of whole numbers >= 0")
        return list(dict.fromkeys(seeds))

    def _error(self, key: str, value: Any, expected: str) -> ConfigValueError:
        return ConfigValueError(f"'{self._source}' has {value!r} as {key}. It must be {expected}.")
