"""Writes a model as the next version of a folder, which a server may watch: under its number only when it is whole.

Of a version `layout` tells the files, and `signatures` what TensorFlow runs.
"""

import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from cgc_tf.common import files
from cgc_tf.data.pictures import decode_image
from cgc_tf.data.views import original_view
from cgc_tf.method.model import CGCModel
from cgc_tf.report import model_card

from . import layout
from .computing import computing_with, of_peak_one
from .signatures import Signatures

PRECISIONS = ("float32", "float16")


def write(
    model: CGCModel,
    class_names: Iterable[str],
    image_size: int,
    output: files.PathLike,
    precision: str = "float32",
    card: dict[str, Any] | None = None,
    record: files.PathLike = "",
    **options,
) -> pathlib.Path:
    """Writes the next version of a model under `output`, made where there is none; returns its path.

    Args:
        model: the model.
        class_names: the names of its classes.
        image_size: the side in pixels of the view that it was trained on.
        output: the folder of versions.
        precision: "float16" stores the kernels, which are nearly all of the bytes, in half precision; batch
            normalization's statistics and biases stay float32, and so does all computing.
        card: what is known of the model, JSON's kinds of values, for its model card.
        record: the `splits.csv` of its run; "" where it has none.
        options: for `Signatures`.

    Raises:
        UserError: `output` cannot be written.
    """
    class_names = tuple(class_names)
    stored = half(model) if precision == "float16" else {}
    signatures = Signatures(model, class_names, image_size, stored, **options)
    output = pathlib.Path(output)
    with files.reported(f"--output={output}"):
        output.mkdir(parents=True, exist_ok=True)
        partial = pathlib.Path(tempfile.mkdtemp(prefix="partial-", dir=output))
        partial.chmod(0o755)
        try:
            _save(model, class_names, signatures, stored, partial)
            _add_extras(model, image_size, stored, card or {}, record, partial)
            return _publish(partial, output)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def expected_answers(
    model: CGCModel, image_size: int, encoded: Iterable[bytes], stored: Mapping[str, tf.Variable] | None = None
) -> dict[str, np.ndarray]:
    """What the trained model answers to encoded pictures, JPEG or PNG, not through the exported graph.

    `stored` is what `half` says is stored in place of the model's own variables. Returns a dict of `probabilities`,
    `heatmap` (peak 1) and `heatmap_box`, float32 arrays `[B, ...]`.
    """
    views, boxes = zip(*(original_view(decode_image(one), image_size) for one in encoded), strict=True)
    with computing_with(model, stored or {}):
        answer = model.explain(tf.cast(tf.stack(views), tf.float32))
    heatmap = of_peak_one(answer["heatmap"]).numpy()
    return {"probabilities": answer["probabilities"].numpy(), "heatmap": heatmap, "heatmap_box": np.stack(boxes)}


def half(model: CGCModel) -> dict[str, tf.Variable]:
    """{path: float16 `tf.Variable`} of a model's kernels, which are nearly all of its bytes."""
    kernels = [variable for variable in model.weights if len(variable.shape) > 1]
    return {v.path: tf.Variable(tf.cast(v.value, tf.float16), trainable=False) for v in kernels}


def _save(model, class_names, signatures, stored, version):
    module = tf.Module()
    # A plain module of the variables alone: Keras' own archive stores them twice (Keras issue 23553).
    module.stored = [stored.get(variable.path, variable.value) for variable in model.weights]
    with tempfile.TemporaryDirectory() as directory:
        labels = pathlib.Path(directory, pathlib.Path(model_card.LABELS).name)
        labels.write_text("".join(f"{name}\n" for name in class_names), "utf-8")
        module.labels = tf.saved_model.Asset(str(labels))
        tf.saved_model.save(module, str(version), signatures.all())


def _add_extras(model, image_size, stored, card, record, version):
    examples = layout.example_pictures(image_size)
    (version / layout.EXAMPLES).mkdir(parents=True)
    for name, encoded in examples.items():
        (version / layout.EXAMPLES / name).write_bytes(encoded)
    answers = expected_answers(model, image_size, examples.values(), stored)
    answers = {"pictures": list(examples), **{name: value.tolist() for name, value in answers.items()}}
    (version / layout.EXAMPLES / "expected.json").write_text(json.dumps(answers) + "\n")
    (version / model_card.CARD).write_text(json.dumps(card, indent=2) + "\n")
    if record:
        shutil.copyfile(record, version / model_card.RECORD)
    layout.write_warmup(version, examples["0.jpg"], image_size)
    written = [request.model_spec.signature_name for request in layout.read_warmup(version)]
    if sorted(written) != sorted(layout.signature_defs(version)):
        raise RuntimeError(f"{version}: the warm-up requests read back are not one for each signature")
    layout.write_sums(version)


def _publish(partial, output):
    """Gives the whole version its number, the next free one, even where another export takes it first."""
    while True:
        taken = [int(entry.name) for entry in output.iterdir() if entry.name.isdecimal()]
        version = output / str(max(taken, default=0) + 1)
        try:
            os.rename(partial, version)
            return version
        except OSError:
            if not version.exists():
                raise
