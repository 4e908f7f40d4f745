"""Takes the network of a folder's config.json through all that a run goes through; prints {step: what came of it}.

A process of its own, since TensorFlow gives the memory of a network's graphs back to nobody.
"""

import json
import pathlib
import sys

import cgc_tf.common.quiet_tensorflow  # noqa: F401  # isort: skip
import keras
import numpy as np
import tensorflow as tf

from cgc_tf.common.errors import UserError, first_line
from cgc_tf.data.pictures import decode_image
from cgc_tf.data.views import original_view
from cgc_tf.evaluation.evaluate import evaluate
from cgc_tf.evaluation.protocol import Protocol
from cgc_tf.method.objective import Objective
from cgc_tf.training import checkpoints, device, run_folder, train
from cgc_tf.training.config import Config
from export import onnx_model, saved_model


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


def main(folder):
    config = Config.load(folder)
    device.seed(config)
    walk, row = Walk(config, pathlib.Path(folder)), {}
    for step in STEPS:
        try:
            getattr(walk, step)()
            row[step] = "ok"
        except UserError as error:
            row[step] = f"refused: {error}"
        except Exception as error:
            row[step] = f"failed: {type(error).__name__}: {first_line(error)}"
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
