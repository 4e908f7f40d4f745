"""Networks of every family through all that a run goes through; what came of each is printed as a table at the end.

With `CGC_EVERY_BACKBONE=1` they are all that can be built without a download, which takes hours.
"""

import dataclasses
import importlib.util
import os
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from cgc_tf.common.errors import UserError, first_line
from cgc_tf.data.pictures import decode_image
from cgc_tf.data.views import original_view
from cgc_tf.evaluation.evaluate import evaluate
from cgc_tf.evaluation.protocol import Protocol
from cgc_tf.method.objective import Objective
from cgc_tf.networks import registry
from cgc_tf.training import checkpoints, run_folder, train
from export import onnx_model, saved_model

pytestmark = pytest.mark.slow

SOME = {  # and settings that go with them
    "resnet8": {},
    "resnet50": {},
    "resnetv2_50": {},
    "efficientnet_b0": {},
    "efficientnet_lite0": {},
    "efficientnet_es": {},
    "efficientnetv2_rw_t": {},
    "mobilenetv3_small_050": {},
    "hgnetv2_b0": {},
    "densenet121": {},
    "cspresnet50": {},
    "darknet53": {},
    "vgg11": {},
    "applications:ConvNeXtTiny": {},
    "applications:DenseNet121": {},
    "applications:EfficientNetB0": {"precision": "mixed_bfloat16"},
    "applications:EfficientNetV2B0": {},
    "applications:InceptionV3": {"image_size": 128},
    "applications:InceptionResNetV2": {"image_size": 128},
    "applications:MobileNet": {},
    "applications:MobileNetV2": {"explain_layer": "block_13_expand_relu"},
    "applications:MobileNetV3Small": {},
    "applications:NASNetMobile": {},
    "applications:ResNet50V2": {},
    "applications:VGG16": {"hidden_units": (32, 32)},
    "applications:Xception": {},
    "keras_cv:EfficientNetV2B0Backbone": {},
    "keras_cv:ResNet50Backbone": {},
}
EVERY = [name for name, is_here, _ in registry.known() if is_here] if os.environ.get("CGC_EVERY_BACKBONE") else []


class Walk:
    """One run of a backbone; each step is a method, in the order in which they are taken."""

    def __init__(self, config, folder):
        self.config, self.folder, self.workdir = config, folder, folder / "run"
        self.pictures = [path.read_bytes() for path in sorted(pathlib.Path(config.data_dir).glob("test/*/*"))]
        size = config.image_size
        self.views = tf.stack([original_view(decode_image(picture), size)[0] for picture in self.pictures])

    def train(self):
        train.train(self.config, self.workdir)

    def resume(self):
        """A run that lost its last epoch ends with the same bits, which a checkpoint's name tells."""
        last = checkpoints.files(self.workdir / "checkpoints")[-1]
        last.unlink()
        train.train(self.config, self.workdir)
        assert last.exists(), "other bits than without the stop"

    def itself(self):
        """A picture agrees with itself, whatever is random in the network."""
        model = run_folder.trained_model(self.config, self.workdir)
        model.objective = Objective("cgc_no_negatives")
        size, count = self.config.image_size, len(self.pictures)
        whole = np.tile([[0, 0, size, size, 0]], [count, 1])
        images = {view: self.views for view in ("ce", "original", "augmented")}
        batch = {**images, "transform": whole, "label": np.zeros(count, np.int32)}
        np.testing.assert_allclose(model._terms(batch)[1], 0, atol=1e-5)

    def explain(self):
        self.model = run_folder.trained_model(self.config, self.workdir)
        self.expected = self.model.explain(self.views)
        peak = np.max(self.expected["heatmap"], (1, 2), keepdims=True)
        self.heatmap = self.expected["heatmap"] / np.where(peak > 0, peak, 1)
        assert self.heatmap.shape[1] >= 2 and np.any(peak > 0)

    def save(self):
        self.model.save(self.folder / "model.keras")
        again = keras.models.load_model(self.folder / "model.keras").explain(self.views)
        np.testing.assert_allclose(again["heatmap"], self.expected["heatmap"], rtol=1e-4, atol=1e-7)

    def evaluate(self):
        report = evaluate([self.workdir], protocol=Protocol(limit=4, curves="none")).reports[0]
        assert report["examples"] == 4 and 0 <= report["content_heatmap"] <= 1

    def export(self):
        version = saved_model.export(self.workdir, self.folder / "exported")
        served = tf.saved_model.load(str(version)).signatures["explain"](tf.constant(self.pictures))
        np.testing.assert_allclose(served["heatmap"], self.heatmap, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(served["probabilities"], self.expected["probabilities"], rtol=1e-4, atol=1e-5)

    def onnx(self):
        onnx_model.export(self.workdir, self.folder / "model.onnx")


STEPS = [name for name in vars(Walk) if not name.startswith("_")]


@pytest.fixture(scope="module")
def table(request):
    rows = []
    yield rows
    terminal = request.config.get_terminal_writer()
    for row in [["", *STEPS], *rows]:
        terminal.line(f"\n{row[0]:<34}" + "".join(f"{cell:<10}" for cell in row[1:]))


@pytest.mark.parametrize("name", dict.fromkeys([*SOME, *EVERY]))
def test_every_step(name, table, small_config, tmp_path):
    settings = {"image_size": 64, **SOME.get(name, {})}
    config = dataclasses.replace(small_config, backbone=name, keep_checkpoints=2, **settings)
    walk, row = Walk(config, tmp_path), [name]
    table.append(row)
    for step in STEPS:
        if step == "onnx" and not importlib.util.find_spec("tf2onnx"):
            row.append("not here")
            continue
        try:
            getattr(walk, step)()
            row.append("ok")
        except UserError as error:
            row.append(f"refused: {error}")
        except Exception as error:
            row.append(f"failed: {type(error).__name__}: {first_line(error)}")
    keras.utils.clear_session()
    assert set(row[1:]) <= {"ok", "not here"}, row
