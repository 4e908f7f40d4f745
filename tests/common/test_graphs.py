"""Functions become graphs as they are written."""

import ast
import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.autograph.impl import api

from cgc_tf import view_batches
from cgc_tf.data import batches, load
from cgc_tf.evaluation import evaluate
from cgc_tf.training import train
from export import saved_model

ROOT = pathlib.Path(__file__).parents[2]
REWRITTEN = ("export/artifact/picture_headers.py", "cgc_tf/data/exif.py")


CODE = [path for folder in ("cgc_tf", "export", "benchmarks") for path in (ROOT / folder).rglob("*.py")]


def test_nothing_else_asks_for_autograph():
    asking = {path for path in CODE if re.search(r"^[^`]*\btf\.function\b", path.read_text(), re.MULTILINE)}
    assert asking == {ROOT / "cgc_tf/common/graphs.py", ROOT / REWRITTEN[0]}


def test_what_a_dataset_maps_is_plain():
    found, rewritten = 0, []
    for path in CODE:
        nodes = [*ast.walk(ast.parse(path.read_text()))]
        functions = [node for node in nodes if isinstance(node, ast.FunctionDef)]
        plain = {node.name for node in functions if "graphs.plain" in map(ast.unparse, node.decorator_list)}
        for node in nodes:
            if isinstance(node, ast.Call) and re.search(
                r"(?<!pool)(?<!fnmatch)\.(map|flat_map|filter)$", ast.unparse(node.func)
            ):
                given, found = ast.unparse(node.args[0]), found + 1
                if given not in {*plain, "plain(mapped)"} and not given.startswith("graphs.plain("):
                    rewritten.append(f"{path}: {given}")
    assert rewritten == [] and found > 5


def test_no_dataset_is_tuned(pictures):
    """Nothing says AUTOTUNE, and what is made of `graphs.parallel` does without, too."""
    assert [path for path in CODE if re.search(r"^[^`]*\bAUTOTUNE\b", path.read_text(), re.MULTILINE)] == []
    source = load.load_dataset("folder", str(pictures))
    streams = [
        batches.training_batches(source, 32, 4, seed=0, steps=1),
        batches.validation_batches(source, "test", 32, 4),
        batches.evaluation_batches(source, "test", 32, 4),
        batches.whole_image_batches(source, "test", 32, 4),
        view_batches(tf.data.Dataset.from_tensor_slices((np.zeros([4, 32, 32, 3], np.uint8), np.arange(4)))),
    ]
    assert [stream.options().autotune.enabled for stream in streams] == [False] * len(streams)


@pytest.mark.slow
def test_a_run_rewrites_nothing_and_an_export_what_is_meant(small_config, tmp_path, monkeypatch):
    convert, files = api._convert_actual, set()  # AutoGraph's own, which has no public hook

    def recorded(function, context):
        files.add(function.__code__.co_filename)
        return convert(function, context)

    monkeypatch.setattr(api, "_convert_actual", recorded)
    train.train(small_config, tmp_path / "run")
    evaluate.evaluate([tmp_path / "run"])
    assert files == set()
    saved_model.export(tmp_path / "run", tmp_path / "exported")
    ours = {path for path in files if path.startswith((str(ROOT / "cgc_tf"), str(ROOT / "export")))}
    assert ours <= {str(ROOT / name) for name in REWRITTEN}  # fewer where this process rewrote them before
