"""Exports a trained run as a SavedModel that answers predictions with their heatmaps.

  python -m export.saved_model --workdir=runs/A --output=exported

writes exported/1/ (the next free number, if versions are there), with two signatures over encoded pictures:

  serving_default  image_bytes [None] -> probabilities, class_id, label, score
  explain          the same, and heatmap [None, h, w] in 0..1 with heatmap_box [None, 4], the part of each picture
                   (ymin, xmin, ymax, xmax, as fractions) that its heatmap covers

Decoding, resizing and normalisation are inside; only TensorFlow is needed to load and run it.
"""

import os
import pathlib

import cgc_tf.quiet  # noqa: F401  # isort: skip
import tensorflow as tf
from absl import flags

from cgc_tf import config as settings
from cgc_tf import data, errors, folder, runs

PICTURES = tf.TensorSpec([None], tf.string, name="image_bytes")


class Explainer(tf.Module):
    """A model with its variables, its class names and its two signatures.

    Args:
        model: a `CGCModel`.
        class_names: the names of its classes.
        image_size: the side of the view that it was trained on, in pixels.
    """

    def __init__(self, model, class_names, image_size):
        super().__init__()
        # Holding the Keras model itself would store its weights twice (Keras issue 23553).
        self.variables_of_model = [variable.value for variable in model.weights]
        self._model, self._image_size = _Untracked(model), image_size
        self.class_names = tf.constant(class_names)

    @tf.function(input_signature=[PICTURES])
    def predict(self, image_bytes):
        """Predictions: a dict of `probabilities` float32 `[B, classes]`, `class_id`, `label`, `score` `[B]`."""
        images, _ = self._views(image_bytes)
        return self._predictions(tf.nn.softmax(self._model.value(images, training=False)))

    @tf.function(input_signature=[PICTURES])
    def explain(self, image_bytes):
        """`predict`, with `heatmap` float32 `[B, h, w]` in 0..1 and `heatmap_box` float32 `[B, 4]`."""
        images, boxes = self._views(image_bytes)
        answer = self._model.value.explain(images)
        peak = tf.reduce_max(answer["heatmap"], [1, 2], keepdims=True)
        heatmap = tf.math.divide_no_nan(answer["heatmap"], peak)
        return {**self._predictions(answer["probabilities"]), "heatmap": heatmap, "heatmap_box": boxes}

    def _views(self, image_bytes):
        size = self._image_size
        kinds = (tf.TensorSpec([size, size, 3], tf.uint8), tf.TensorSpec([4], tf.float32))

        def view(contents):
            return data.original_view(folder.decode_image(contents), size)

        return tf.map_fn(view, image_bytes, fn_output_signature=kinds)

    def _predictions(self, probabilities):
        class_id = tf.argmax(probabilities, -1, output_type=tf.int32)
        return {
            "probabilities": probabilities,
            "class_id": class_id,
            "label": tf.gather(self.class_names, class_id),
            "score": tf.reduce_max(probabilities, -1),
        }


class _Untracked:
    """Keeps a value out of the SavedModel's object graph."""

    def __init__(self, value):
        self.value = value


def export(workdir, output):
    """Writes the next version of a trained run under `output`; returns its path.

    The version appears under its number only when it is whole, so a server may watch the folder.

    Raises:
        UserError: the workdir cannot be read, or `output` cannot be written.
    """
    config = settings.Config.load(workdir)
    model = runs.trained_model(config, workdir)
    explainer = Explainer(model, runs.class_names(workdir), config.image_size)
    output = pathlib.Path(output)
    try:
        output.mkdir(parents=True, exist_ok=True)
        taken = [int(entry.name) for entry in output.iterdir() if entry.name.isdecimal()]
        version = output / str(max(taken, default=0) + 1)
        partial = output / f"partial-{version.name}"
        signatures = {"serving_default": explainer.predict, "explain": explainer.explain}
        tf.saved_model.save(explainer, str(partial), signatures)
        os.replace(partial, version)
    except OSError as error:
        raise errors.UserError(f"--output={output} cannot be written: {error.strerror}") from error
    return version


def main(_):
    workdir = flags.FLAGS.workdir or settings.newest_workdir()
    version = export(workdir, flags.FLAGS.output)
    print(f"exported: {version}\nnext: python -m export.server --model_dir={version.parent}")


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Folder of a trained run (default: the newest under runs/).")
    flags.DEFINE_string("output", "exported", "Folder to write the version into.")
    errors.run(main)
