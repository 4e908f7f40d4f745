"""Exports a trained run's prediction and explanation of decoded images to ONNX, and checks the file with ONNX Runtime.

  pip install -r requirements-onnx.txt
  python -m export.onnx_model --workdir=runs/A --output=model.onnx

The file takes `images` float32 `[B, size, size, 3]` in 0..255, center views, normalized inside, and gives
`probabilities`, `class_id` and `heatmap` as `explain_tensor` does. ONNX has no operation that decodes a picture.
"""

from collections.abc import Callable

import cgc_tf.common.quiet_tensorflow  # noqa: F401  # isort: skip
import keras
import numpy as np
import tensorflow as tf
from absl import flags

from cgc_tf.common import errors, files, program
from cgc_tf.method import gradcam
from cgc_tf.method.model import CGCModel
from cgc_tf.training import config as settings
from cgc_tf.training import run_folder

from .artifact.computing import of_peak_one

TOLERANCE = 1e-5


def export(workdir: files.PathLike, output: files.PathLike) -> float:
    """Writes a run as ONNX; returns the largest difference of its answers from the trained model's, over three images.

    Raises:
        UserError: the packages are missing, the workdir cannot be read, `output` cannot be written, ONNX lacks an
            operation of the network, or ONNX Runtime answers something else than the trained model.
    """
    config = settings.Config.load(workdir)
    try:
        import onnxruntime

        from .artifact import onnx_graph
    except ImportError as error:
        raise errors.UserError(f"{error.name} is missing: pip install -r requirements-onnx.txt") from error
    model = run_folder.trained_model(config, workdir)
    shape = [config.image_size, config.image_size, 3]
    converted = onnx_graph.converted(explainer(model), tf.TensorSpec([None, *shape], tf.float32, name="images"))
    images = np.random.default_rng(0).uniform(0, 255, [3, *shape]).astype(np.float32)
    try:
        session = onnxruntime.InferenceSession(converted)
    except Exception as error:  # ONNX Runtime has its own kind for each thing that is wrong
        reason = errors.first_line(error)
        raise errors.UserError(f"{workdir}: ONNX cannot hold a network of {config.backbone}: {reason}") from error
    names = [one.name for one in session.get_outputs()]
    answers = dict(zip(names, session.run(None, {"images": images}), strict=True))
    expected = model.explain(tf.constant(images))
    expected["heatmap"] = of_peak_one(expected["heatmap"])
    worst = max(float(np.max(np.abs(answers[name] - value))) for name, value in expected.items())
    if not worst <= TOLERANCE:
        raise errors.UserError(f"ONNX differs from the trained model by {worst:.3g}, more than {TOLERANCE:g}")
    with files.reported(f"--output={output}"):
        files.write(output, converted)
    return worst


def explainer(model: CGCModel) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """`model.explain` with heatmaps of peak 1, in operations that tf2onnx converts for any batch.

    The trunk takes the batch at once, the head one example at a time: tf2onnx 1.17.0 makes of the gradient of average
    pooling, where the batch's size is open, a `Reshape` that ONNX Runtime cannot run.
    """

    def explain_one(crossing):
        features, *others = (part[None] for part in keras.tree.flatten(crossing))

        def head(features):
            return model.head([features, *others] if others else features, training=False)

        logits, gradients, class_ids = gradcam.class_gradients(head, features)
        heatmaps = of_peak_one(gradcam.heatmap(model.objective.cam, features, gradients))
        return {"probabilities": tf.nn.softmax(logits)[0], "class_id": class_ids[0], "heatmap": heatmaps[0]}

    kinds = {"probabilities": tf.float32, "class_id": tf.int32, "heatmap": tf.float32}
    return lambda images: tf.map_fn(explain_one, model.trunk(images, training=False), fn_output_signature=kinds)


def main(_):
    args = flags.FLAGS
    workdir = args.workdir or settings.newest_workdir()
    print(f"exporting {run_folder.in_words(workdir)}")
    worst = export(workdir, args.output)
    print(f"exported: {args.output}, as ONNX Runtime computes it within {worst:.1e} of the trained model")


def define_flags():
    """Defines the flags: which run, and the file."""
    flags.DEFINE_string("workdir", None, "Folder of a trained run (default: the newest under runs/).")
    flags.DEFINE_string("output", "model.onnx", "File to write.")


if __name__ == "__main__":
    program.run(main)
