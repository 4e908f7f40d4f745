"""docs/cgc.ipynb is whole, its figures are kept, and it runs."""

import ast
import base64
import copy
import importlib.util
import io
import json
import os
import pathlib
import shutil

import nbclient
import nbformat
import numpy as np
import pytest
from IPython.core import inputtransformer2
from PIL import Image

ROOT = pathlib.Path(__file__).parent.parent
PATH = ROOT / "docs/cgc.ipynb"
SMALLER = {'{"train": 768, "test": 256}': '{"train": 384, "test": 64}', "epochs=6": "epochs=4"}


def code_of(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def pictures_of(notebook):
    data = [output.get("data", {}) for cell in code_of(notebook) for output in cell.outputs]
    found = [value for each in data for kind, value in each.items() if kind.startswith("image/")]
    return [Image.open(io.BytesIO(base64.b64decode(value))) for value in found]


def check_outputs(notebook):
    """It was run once from the first cell to the last, without errors and warnings, and its pictures show something."""
    code = code_of(notebook)
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert [each for each in outputs if each.output_type == "error" or each.get("name") == "stderr"] == []
    pictures = pictures_of(notebook)
    assert len(pictures) == 4
    assert min(np.asarray(picture.convert("L")).std() for picture in pictures) > 20, "one is blank"


@pytest.fixture(scope="module")
def notebook():
    return nbformat.read(PATH, 4)


def test_outputs_are_kept(notebook):
    nbformat.validate(notebook)
    check_outputs(notebook)
    assert PATH.stat().st_size < 2**20


def test_a_blank_picture_is_found(notebook):
    blank = io.BytesIO()
    Image.new("RGB", (64, 64), "white").save(blank, "PNG")
    damaged = copy.deepcopy(notebook)
    shown = [output.get("data", {}) for cell in code_of(damaged) for output in cell.outputs]
    next(data for data in shown if "image/jpeg" in data)["image/jpeg"] = base64.b64encode(blank.getvalue()).decode()
    with pytest.raises(AssertionError, match="one is blank"):
        check_outputs(damaged)


def test_cells_compile_and_import_what_is_there(notebook):
    transform = inputtransformer2.TransformerManager().transform_cell
    imported = []
    for cell in code_of(notebook):
        tree = ast.parse(transform(cell.source))
        imported += [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    own = [(node.module, name.name) for node in imported if node.module.startswith("cgc_tf") for name in node.names]
    assert len(own) > 5
    for module, name in own:
        home = importlib.import_module(module)
        assert hasattr(home, name) or importlib.util.find_spec(f"{module}.{name}"), (module, name)


def made_small(notebook):
    """The notebook with fewer pictures and epochs; `make notebook` runs it whole."""
    small = copy.deepcopy(notebook)
    for whole, part in SMALLER.items():
        (cell,) = [cell for cell in code_of(small) if whole in cell.source]
        cell.source = cell.source.replace(whole, part)
    return small


@pytest.mark.slow(seconds=200)
def test_it_runs(notebook, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    shutil.copy(PATH, tmp_path)
    executed = made_small(notebook)
    nbclient.NotebookClient(executed, resources={"metadata": {"path": str(tmp_path)}}, timeout=900).execute()
    check_outputs(executed)
    share = {}
    for name in ("baseline", "cgc"):
        share[name] = json.loads((tmp_path / f"cgc-work/runs/{name}/evaluation.json").read_text())["content_heatmap"]
    assert share["cgc"] > share["baseline"]
    assert (tmp_path / "cgc-work/exported/1/saved_model.pb").exists()
    said = [output.data["text/markdown"] for output in code_of(executed)[-2].outputs]
    assert len(said) == 1 and ": the same as above" in said[0]
