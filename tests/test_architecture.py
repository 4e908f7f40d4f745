"""docs/architecture.md names every file of the package, in an order in which imports only go down."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parent.parent
ROWS = re.findall(r"^\| (`.*?) \|", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE)
ORDER = [name for row in ROWS for name in re.findall(r"`(\w+)\.py`", row)]
ABOVE_ALL = {"__init__"}


def imported(path):
    """The modules of `cgc_tf` that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "cgc_tf":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cgc_tf."):
            yield node.module.split(".")[1]


def test_every_file_is_named_once():
    assert sorted(ORDER) == sorted({path.stem for path in (ROOT / "cgc_tf").glob("*.py")} - ABOVE_ALL)


@pytest.mark.parametrize("name", ORDER)
def test_imports_go_down(name):
    above = {*ORDER[: ORDER.index(name)], "datasets"}
    assert set(imported(ROOT / "cgc_tf" / f"{name}.py")) <= above
