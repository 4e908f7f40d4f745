"""The examples in docstrings of the library are run as they stand there."""

import doctest
import shutil

import numpy as np
import pytest

from cgc_tf.common import graphs
from cgc_tf.data import view_batches
from cgc_tf.evaluation import evaluate
from cgc_tf.method import model, objective
from cgc_tf.report import calibration, groups, verdict
from cgc_tf.training import config, train


@pytest.mark.parametrize(
    ("module", "example"),
    [
        (view_batches, "view_batches"),
        pytest.param(model, "CGCModel", marks=pytest.mark.slow),
        (objective, "Objective"),
        (graphs, "function"),
        (graphs, "plain"),
        (graphs, "parallel"),
        (config, "Config"),
        pytest.param(train, "train", marks=pytest.mark.slow),
        pytest.param(evaluate, "evaluate", marks=pytest.mark.slow),
        (calibration, "calibration"),
        (groups, "holm"),
        (verdict, "difference_of_shares"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_example(module, example, pictures, workdir, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if module is evaluate:
        shutil.copytree(workdir, "runs/first")
    (tmp_path / "pictures").symlink_to(pictures)
    names = {**vars(module), "np": np}
    (found,) = doctest.DocTestFinder(recurse=False).find(getattr(module, example), example, module, names)
    assert found.examples
    assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(found).failed == 0, capsys.readouterr().out
