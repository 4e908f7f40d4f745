"""A package imports only from packages on lower floors; packages on one floor never import each other."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
FLOORS = (("common",), ("method",), ("data", "networks", "report"), ("training",), ("evaluation",), ("programs",))
FLOOR = {package: floor for floor, packages in enumerate(FLOORS) for package in packages}
MODULES = sorted(path for package in FLOOR for path in (ROOT / "cgc_tf" / package).rglob("*.py"))


def imported(path):
    """The modules of `cgc_tf`, as `package.module`, that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "cgc_tf":
            for alias in node.names:
                yield f"{node.module}.{alias.name}".removeprefix("cgc_tf.")
        elif isinstance(node, ast.Import):
            yield from (a.name.removeprefix("cgc_tf.") for a in node.names if a.name.startswith("cgc_tf."))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path):
    own = path.relative_to(ROOT / "cgc_tf").parts[0]
    others = {module.split(".")[0] for module in imported(path)} - {own}
    assert [package for package in others if FLOOR[package] >= FLOOR[own]] == []


@pytest.mark.parametrize("path", sorted((ROOT / "cgc_tf/common").glob("*.py")), ids=lambda path: path.stem)
def test_within_common_only_errors_is_imported(path):
    inner = {module.split(".")[1] for module in imported(path) if module.startswith("common.")}
    assert inner <= {"errors"}


def test_every_package_stands_on_a_floor():
    folders = {path.parent.name for path in (ROOT / "cgc_tf").glob("*/__init__.py")}
    assert folders <= set(FLOOR)
