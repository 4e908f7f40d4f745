"""Exports a trained run's prediction and explanation of decoded images to ONNX, and checks the file with ONNX Runtime.

  pip install -r requirements-onnx.txt
  python -m export.onnx_model --workdir=runs/A --output=model.onnx

The file takes `images` float32 `[batch_size, size, size, 3]` in 0..255, the centre view, normalised inside, and gives
`probabilities`, `class_id` and `heatmap` as `explain_tensor` does. The batch's size is fixed, because tf2onnx 1.17.0
converts the gradient of average pooling wrongly where it is open. ONNX has no operation that decodes a picture.
"""

import cgc_tf.quiet  # noqa: F401  # isort: skip
import numpy as np
import tensorflow as tf
from absl import flags

from cgc_tf import config as settings
from cgc_tf import errors, runs

TOLERANCE = 1e-5


def export(workdir, output, batch_size=1):
    """Writes a run as ONNX; returns the largest difference of its answers from the trained model's.

    Raises:
        UserError: the packages are missing, the workdir cannot be read, `output` cannot be written, or ONNX Runtime
            answers something else than the trained model.
    """
    config = settings.Config.load(workdir)
    try:
        import onnxruntime
        import tf2onnx
    except ImportError as error:
        raise errors.UserError(f"{error.name} is missing: pip install -r requirements-onnx.txt") from error
    model = runs.trained_model(config, workdir)

    def explain(images):
        answer = model.explain(images)
        peak = tf.reduce_max(answer["heatmap"], [1, 2], keepdims=True)
        return {**answer, "heatmap": tf.math.divide_no_nan(answer["heatmap"], peak)}

    shape = [batch_size, config.image_size, config.image_size, 3]
    spec = tf.TensorSpec(shape, tf.float32, name="images")
    try:
        tf2onnx.convert.from_function(tf.function(explain), [spec], opset=17, output_path=str(output))
    except OSError as error:
        raise errors.UserError(f"--output={output} cannot be written: {error.strerror}") from error
    images = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
    session = onnxruntime.InferenceSession(str(output))
    names = [one.name for one in session.get_outputs()]
    answers = dict(zip(names, session.run(None, {"images": images}), strict=True))
    worst = max(float(np.max(np.abs(answers[name] - value))) for name, value in explain(tf.constant(images)).items())
    if not worst <= TOLERANCE:
        raise errors.UserError(f"{output} differs from the trained model by {worst:.3g}, more than {TOLERANCE:g}")
    return worst


def main(_):
    args = flags.FLAGS
    workdir = args.workdir or settings.newest_workdir()
    worst = export(workdir, args.output, args.batch_size)
    print(f"exported: {args.output}, as ONNX Runtime computes it within {worst:.1e} of the trained model")


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Folder of a trained run (default: the newest under runs/).")
    flags.DEFINE_string("output", "model.onnx", "File to write.")
    flags.DEFINE_integer("batch_size", 1, "Images that the file takes at once.", lower_bound=1)
    errors.run(main)
