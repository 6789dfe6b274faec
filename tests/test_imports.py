import ast
from graphlib import CycleError, TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path

import recbole_aia

ROOT = Path(recbole_aia.__file__).parent


def modules():
    """The file of each module of the package."""
    files = {}
    for file in ROOT.rglob("*.py"):
        parts = file.relative_to(ROOT.parent).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return files


def imports(tree, package, known):
    """The modules among the known ones that code imports, inside functions and for type checkers too."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            source = resolve_name("." * node.level + (node.module or ""), package)
            names = [f"{source}.{alias.name}" for alias in node.names]
            names = [name if name in known else source for name in names]
        yield from (name for name in names if name in known)


def graph():
    files = modules()
    found = {}
    for name, file in files.items():
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        found[name] = set(imports(ast.parse(file.read_text(encoding="utf-8")), package, files)) - {name}
    return found


def test_no_module_imports_itself_by_way_of_others():
    try:
        TopologicalSorter(graph()).prepare()
    except CycleError as error:
        raise AssertionError(" is imported by ".join(error.args[1])) from None


def test_every_way_to_import_is_seen():
    known = {"a", "a.b", "a.c", "a.d", "a.e"}
    text = "from a import b\nif TYPE_CHECKING:\n    from a.c import D\ndef f():\n    import a.d\n    from .e import g"
    assert set(imports(ast.parse(text), "a", known)) == {"a.b", "a.c", "a.d", "a.e"}
