"""What an explanation costs where it is served, and what the artifact weighs.

  python -m benchmarks.serving --output=serving.json                # about two minutes on two cores
  python -m benchmarks.serving --load_seconds=60 --output=FILE      # and the server under 50 connections

Of an exported model with random weights. Keys of the JSON, ratios all: `explain_over_predict_b1` and `_b8`, seconds of
`explain_tensor` over those of `predict_tensor`; `over_tf_explain_b1`, seconds of tf-explain's Grad-CAM of the same
picture over those of `explain_tensor`; `artifact_over_weights`, bytes of the version's files over those of its weights.
Seconds are of processor time, which other work on the machine does not touch; with `_wall` at the end of its name a
ratio is of elapsed time. Each is the median, and in brackets the quartiles, of the ratios of neighboring calls in one
process. With --load_seconds
also what `benchmarks.load` says.
"""

import functools
import tempfile
import time

import cgc_tf.common.quiet_tensorflow  # noqa: F401  # isort: skip
import keras
import numpy as np
import tensorflow as tf
from absl import flags

from benchmarks import load, timing
from cgc_tf.common import program
from cgc_tf.method.model import CGCModel
from cgc_tf.networks import backbones
from cgc_tf.training import device
from export.artifact import layout, writer

SIZE, CLASSES = 224, 100


def main(_):
    timing.use("cpu")
    device.keep_freed_memory()
    args = flags.FLAGS
    network = backbones.build_backbone(args.backbone, "none", SIZE)
    classifier = backbones.add_classifier(network, CLASSES)
    with tempfile.TemporaryDirectory() as directory:
        names = [f"class {index}" for index in range(CLASSES)]
        model = CGCModel.from_classifier(classifier)
        version = writer.write(model, names, SIZE, directory)
        files = sum(path.stat().st_size for path in version.rglob("*") if path.is_file())
        ratios = {"artifact_over_weights": files / (4 * model.count_params())}
        print(f"{args.backbone}: {files / 1e6:.1f} MB, {ratios['artifact_over_weights']:.4f} of its weights")
        ratios |= latencies(version, classifier, network.layers[-1].name, args.rounds)
        if args.load_seconds:
            ratios |= load.measure(directory, args.load_seconds)
    timing.report(ratios)


def latencies(version, classifier, layer, rounds):
    """Times the tensor signatures of a version, and tf-explain on the classifier it holds; prints, returns ratios."""
    from tf_explain.core.grad_cam import GradCAM

    # It looks a layer's output up by name, so each of its layers must have been called once only.
    classifier, weights = keras.models.clone_model(classifier), classifier.get_weights()
    classifier.set_weights(weights)
    loaded = tf.saved_model.load(str(version))
    encoded = layout.example_pictures(SIZE)["0.jpg"]
    picture = tf.image.resize(tf.io.decode_jpeg(encoded), [SIZE, SIZE])
    ratios = {}
    for batch in (1, 2, 4, 8):
        images = tf.repeat(picture[None], batch, 0)
        calls = {
            name: functools.partial(loaded.signatures[f"{name}_tensor"], images=images)
            for name in ("predict", "explain")
        }
        if batch == 1:
            class_id = int(calls["explain"]()["class_id"][0])
            calls["tf_explain"] = functools.partial(
                GradCAM().explain, (images.numpy(), None), classifier, class_id, layer
            )
        seconds = timing.rounds_of(calls, rounds, 3, _clocks)
        for name, values in seconds.items():
            cpu, wall = np.median(values, 0)
            speed = f"{1000 * wall:9.1f} ms {batch / wall:9.2f} images/s {1000 * cpu:9.1f} ms of a core"
            print(f"  batch {batch}, {name:<12}{speed}")
        pairs = {f"explain_over_predict_b{batch}": ("explain", "predict")}
        if batch == 1:
            pairs["over_tf_explain_b1"] = ("tf_explain", "explain")
        for key, (upper, lower) in pairs.items():
            for index, name in enumerate((key, f"{key}_wall")):
                ratios[name] = timing.ratio(seconds[upper][:, index], seconds[lower][:, index])
    heat = np.asarray(loaded.signatures["explain_tensor"](images=picture[None])["heatmap"])
    assert np.isfinite(heat).all()
    return ratios


def _clocks():
    return np.array([time.process_time(), time.perf_counter()])


def define_flags():
    """Defines the flags: what to measure, and how often."""
    timing.define_flags(rounds=15, backbone="The network that is exported.")
    flags.DEFINE_float("load_seconds", 0, "How long to load the server, twice; 0 for not at all.", lower_bound=0)


if __name__ == "__main__":
    program.run(main)
