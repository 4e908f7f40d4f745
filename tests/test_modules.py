"""Every module is imported, and every name is taken from the module that defines it."""

import ast
import functools
import importlib
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PACKAGES = ("cgc_tf", "export", "benchmarks")
TESTS = sorted((ROOT / "tests").rglob("*.py"))
FILES = sorted(
    path
    for path in (*ROOT.glob("*.py"), *(path for package in PACKAGES for path in (ROOT / package).rglob("*.py")))
    if not path.stem.endswith("_test") and path != ROOT / "setup.py"  # which is run, not imported
)


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def file_of(module):
    """The file of a module of ours; None of any other, and of a package."""
    path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
    return path if module.split(".")[0] in PACKAGES and path.exists() else None


def is_ours(module):
    return module.split(".")[0] in PACKAGES


def source_of(node, package):
    """The module that a `from ... import` in a file of the given package names; relative ones made absolute."""
    if not node.level:
        return node.module
    parents = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*parents, *filter(None, [node.module])])


def taken_names(tree, package):
    """`(line, module of ours, name)` of everything that a file takes out of another: imported, or as `module.name`."""
    modules = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and is_ours(source_of(node, package)):
            source = source_of(node, package)
            for alias in node.names:
                if file_of(source):
                    yield node.lineno, source, alias.name
                else:
                    modules[alias.asname or alias.name] = f"{source}.{alias.name}"
        elif isinstance(node, ast.Import):
            modules.update({alias.asname: alias.name for alias in node.names if alias.asname and is_ours(alias.name)})
    hidden = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    hidden |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and isinstance(node.value, ast.Name):
            name = node.value.id
            if name in modules and name not in hidden and file_of(modules[name]):
                yield node.lineno, modules[name], node.attr


@functools.cache
def defined_names(path):
    """What a module's own statements define, functions' insides left out."""
    names, statements = set(), [ast.parse(path.read_text())]
    while statements:
        node = statements.pop()
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        else:
            statements += ast.iter_child_nodes(node)
    return names


def faults(tree, package=""):
    """What a file of a package takes from modules that do not define it, texts."""
    return [
        f"line {line}: {module} does not define {name}"
        for line, module, name in taken_names(tree, package)
        if name not in defined_names(file_of(module))
    ]


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports(path):
    """A module is there to be imported, whatever else is not: it computes nothing and needs no flags for it."""
    importlib.import_module(module_name(path))


@pytest.mark.parametrize("path", [*FILES, *TESTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_names_are_taken_from_where_they_are_defined(path):
    assert faults(ast.parse(path.read_text()), module_name(path.with_name("__init__.py"))) == []


@pytest.mark.parametrize(
    "text",
    [
        "from ..artifact.layout import Servable",
        "from .versions import Servable",
        "from . import versions\nversions.Servable",
        "from cgc_tf.training import train\ntrain.open_sources(1)",
        "from cgc_tf.training.train import prepare",
        "import cgc_tf.training.train as t\nt.training_stream",
        "def f():\n    from cgc_tf.evaluation.evaluate import COLUMNS",
    ],
)
def test_a_name_taken_through_another_module_is_found(text):
    assert len(faults(ast.parse(text), "export.serving")) == 1


@pytest.mark.parametrize("path", sorted((ROOT / "export").rglob("*.py")), ids=module_name)
def test_export_imports_itself_relatively(path):
    """So that the same files work as `export`, in a checkout, and as `cgc_tf.export`, installed."""
    assert not re.search(r"^ *(from|import) export\b", path.read_text(), re.MULTILINE)
