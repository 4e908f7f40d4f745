"""Functions become graphs as they are written."""

import pathlib
import re

import pytest
from tensorflow.python.autograph.impl import api

from cgc_tf.evaluation import evaluate
from cgc_tf.training import train
from export import saved_model

ROOT = pathlib.Path(__file__).parents[2]
REWRITTEN = ("export/artifact/picture_headers.py", "cgc_tf/data/exif.py")


def test_nothing_else_asks_for_autograph():
    files = [path for folder in ("cgc_tf", "export", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    asking = {path for path in files if re.search(r"^[^`]*\btf\.function\b", path.read_text(), re.MULTILINE)}
    assert asking == {ROOT / "cgc_tf/common/graphs.py", ROOT / REWRITTEN[0]}


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
    ours = {path for path in files if path.startswith(str(ROOT / "cgc_tf")) or path.startswith(str(ROOT / "export"))}
    assert ours <= {str(ROOT / name) for name in REWRITTEN}  # fewer where this process rewrote them before
