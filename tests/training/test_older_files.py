"""What was written before the code stood in packages still loads: a run, its checkpoint, a Keras file, an export."""

import tarfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from cgc_tf.method import model as _registered  # noqa: F401
from cgc_tf.networks import batch_norm as _too  # noqa: F401
from cgc_tf.training import config, run_folder


@pytest.fixture(scope="module")
def older(golden_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("older")
    with tarfile.open(golden_folder / "before_the_move.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="module")
def expected(older):
    return dict(np.load(older / "expected.npz"))


def assert_explains(answer, expected):
    for name in ("probabilities", "heatmap"):
        np.testing.assert_allclose(answer[name], expected[name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_run_and_checkpoint(older, expected):
    model = run_folder.trained_model(config.Config.load(older / "run"), older / "run")
    assert_explains(model.explain(tf.cast(expected["images"], tf.float32)), expected)


def test_keras_file(older, expected):
    model = keras.models.load_model(older / "model.keras")
    assert_explains(model.explain(tf.cast(expected["images"], tf.float32)), expected)


def test_exported_version(older, expected):
    loaded = tf.saved_model.load(str(older / "exported/1"))
    answer = loaded.signatures["explain_tensor"](images=tf.cast(expected["images"], tf.float32))
    peak = expected["heatmap"].max((1, 2), keepdims=True)
    assert_explains(answer, {**expected, "heatmap": expected["heatmap"] / np.where(peak > 0, peak, 1)})
