"""Parses configuration from text: YAML without objects, and ``--key=value`` arguments. No text is run as code."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from logging import getLogger
from pathlib import Path
from typing import Any

import yaml

from recbole_aia.errors import ConfigValueError, shown

_DEEPEST = 50  # levels of nested lists and mappings
_MOST_REPEATED = 10_000  # values that aliases may repeat; nine lines of YAML can repeat billions


class _Refused(yaml.MarkedYAMLError):
    """YAML that is valid and cannot be meant."""


class SafeLoader(yaml.SafeLoader):
    """Reads YAML without building objects; reads ``1e-3`` as a number, as RecBole does.

    Refuses a key that is given twice, a value inside itself, deep nesting, and aliases that repeat very much.
    """

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """See ``yaml.composer.Composer``; limits the depth."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _Refused(problem="is nested too deeply", problem_mark=self.peek_event().start_mark)  # type: ignore[no-untyped-call]
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_document(self, node: yaml.Node) -> Any:
        """See ``yaml.constructor.BaseConstructor``; checks keys and aliases first."""
        sizes: dict[int, int] = {}
        if _expanded(node, sizes) - len(sizes) > _MOST_REPEATED:
            raise _Refused(problem="repeats too many values with aliases (*name)")
        return super().construct_document(node)


def _expanded(node: yaml.Node, sizes: dict[int, int]) -> int:
    """The number of values in a node with every alias written out; ``sizes`` holds that number for each node seen."""
    if id(node) in sizes:
        if sizes[id(node)] == 0:
            raise _Refused(problem="holds a value inside itself", problem_mark=node.start_mark)
        return sizes[id(node)]
    sizes[id(node)] = 0
    inner: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        _refuse_repeated_keys(node)
        inner = [each for pair in node.value for each in pair]
    elif isinstance(node, yaml.SequenceNode):
        inner = node.value
    sizes[id(node)] = 1 + sum(_expanded(each, sizes) for each in inner)
    return sizes[id(node)]


def _refuse_repeated_keys(node: yaml.MappingNode) -> None:
    seen = set()
    for key, _ in node.value:
        name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else None
        if name in seen:
            raise _Refused(problem=f"gives the key '{key.value}' twice", problem_mark=key.start_mark)
        if name is not None and key.tag != "tag:yaml.org,2002:merge":
            seen.add(name)


class _SafeDumper(yaml.SafeDumper):
    """Writes YAML that :class:`SafeLoader` reads back unchanged; the text ``1e3``, for example, is quoted."""


_FLOAT = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)$")
for _yaml in (SafeLoader, _SafeDumper):
    _yaml.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


def to_yaml(values: Mapping[str, Any]) -> str:
    """Writes plain values as YAML that reads back as the same values."""
    return yaml.dump(dict(values), Dumper=_SafeDumper, sort_keys=True)


def to_yaml_line(name: str, value: Any) -> str:
    """Writes one key and its value on a line, null as ``~``."""
    if value is None:
        return f"{name}: ~"
    # A text of several lines needs double quotes, which write the end of a line as an escape.
    for style in (None, '"'):
        text = yaml.dump(
            value, Dumper=_SafeDumper, sort_keys=False, default_flow_style=True, default_style=style, width=sys.maxsize
        )
        line = text.removesuffix("\n").removesuffix("\n...")
        if "\n" not in line:
            break
    return f"{name}: {line}"


def parse_value(text: str) -> Any:
    """Reads a value given as text: YAML, ``None`` as null; a text that is not YAML stays as it is.

    Raises:
        ConfigValueError: the text is YAML that cannot be meant; see :class:`SafeLoader`.
    """
    if text.isspace():
        return text  # a separator
    if text.strip() in ("None", ""):
        return None
    try:
        return yaml.load(text, Loader=SafeLoader)
    except _Refused as error:
        raise ConfigValueError(f"{shown(text)} {error.problem}. Write it anew.") from error
    except (ValueError, yaml.YAMLError):  # ValueError: the text looks like a date or a number and is none
        return text


_ARGUMENT = re.compile(r"--([A-Za-z_][\w-]*)=(.*)", flags=re.DOTALL)


def own_arguments() -> list[str]:
    """The ``--key=value`` arguments of the process. Other arguments may be another program's and are left out."""
    arguments = [] if sys.argv and "ipykernel_launcher" in sys.argv[0] else sys.argv[1:]
    foreign = [argument for argument in arguments if not _ARGUMENT.fullmatch(argument)]
    if foreign:
        getLogger().warning(f"command line args [{' '.join(foreign)}] will not be used in RecBole")
    return [argument for argument in arguments if argument not in foreign]


def parse_arguments(arguments: Iterable[str]) -> dict[str, Any]:
    """Reads ``--key=value`` arguments.

    Raises:
        ConfigValueError: an argument has another form, or a key is given twice with different values.
    """
    values: dict[str, str] = {}
    for argument in arguments:
        match = _ARGUMENT.fullmatch(argument)
        if match is None:
            raise ConfigValueError(f"cannot read the argument '{argument}'. Write --key=value.")
        key, text = match.groups()
        if values.get(key, text) != text:
            raise ConfigValueError(f"--{key} is given twice, as '{values[key]}' and as '{text}'. Keep one.")
        values[key] = text
    return parse_texts(values)


def refuse_arguments(command: str, arguments: Sequence[str]) -> None:
    """Raises :class:`ConfigValueError` if a command gets arguments that it does not know."""
    if arguments:
        raise ConfigValueError(f"unknown argument '{arguments[0]}'. See 'recbole-aia {command} --help'.")


# Keys whose values are names or paths. A dataset called 1, a folder called 2024 and DMF's 01 must stay texts.
_TEXT_KEYS = {
    "model", "dataset", "defense", "preset", "output_dir", "init_checkpoint", "data_path", "checkpoint_dir",
    "inter_matrix_type",
}  # fmt: skip


def parse_texts(values: Mapping[str, Any]) -> dict[str, Any]:
    """Parses the values that are texts with :func:`parse_value`, except for keys that take a text."""
    # RecBole parses intervals such as "[5,inf]" itself, and YAML would make a list of them.
    return {
        key: value
        if not isinstance(value, str) or key in _TEXT_KEYS or key.endswith("num_interval")
        else parse_value(value)
        for key, value in values.items()
    }


def read_yaml(path: Path) -> dict[str, Any]:
    """Reads a YAML file of keys and values.

    Raises:
        ConfigValueError: the file is missing or unreadable, or holds something else.
    """
    refuse_special(path)
    try:
        content = yaml.load(path.read_text(encoding="utf-8-sig"), Loader=SafeLoader)
    except _Refused as error:
        line = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigValueError(f"the config file '{path}'{line} {error.problem}. Mend it.") from error
    except UnicodeDecodeError as error:
        raise ConfigValueError(f"the config file '{path}' is not UTF-8 text. Save it as UTF-8.") from error
    except OSError as error:
        reason = "does not exist" if not path.exists() else "cannot be read"
        raise ConfigValueError(f"the config file '{path}' {reason}. Check the path.") from error
    except (ValueError, yaml.YAMLError) as error:  # ValueError: a date or a number that is none
        where = getattr(error, "problem_mark", None)
        line = f" line {where.line + 1}" if where else ""
        raise ConfigValueError(f"the config file '{path}'{line} is not valid YAML.") from error
    if content is not None and not (isinstance(content, dict) and all(isinstance(key, str) for key in content)):
        raise ConfigValueError(f"the config file '{path}' holds something else than 'key: value' lines.")
    return content or {}


def refuse_special(path: Path) -> None:
    """Raises :class:`ConfigValueError` if a path is a pipe, a socket or a device, which can be read once or never."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ConfigValueError(f"'{path}' is a pipe or a device. Give a file.")
