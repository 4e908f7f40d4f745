"""Exports a trained run as a SavedModel that answers predictions with their heatmaps.

  python -m export.saved_model --workdir=runs/A --output=exported

writes exported/1/, or the next free number where versions of the same run are. Decoding, resizing, normalization and
labels are inside; TensorFlow is enough to run it. `export.artifact.signatures` describes its signatures,
`export.artifact.layout` its files.
"""

import dataclasses
import datetime
import hashlib
import json
import os
import pathlib
import shutil
import tempfile

import cgc_tf.common.quiet_tensorflow  # noqa: F401  # isort: skip
import keras
import numpy as np
import tensorflow as tf
from absl import flags

from cgc_tf.common import environment, errors, program
from cgc_tf.data import folder
from cgc_tf.data.views import original_view
from cgc_tf.evaluation.protocol import Protocol
from cgc_tf.report import model_card
from cgc_tf.report.results import REPORT
from cgc_tf.training import checkpoints, journal, run_folder
from cgc_tf.training import config as settings

from .artifact import layout, pictures
from .artifact.signatures import ON_BAD_IMAGE, Signatures

PRECISIONS = ("float32", "float16")
_NOT_METRICS = ("config", "workdir")
NO_RUN = {"name": "an unknown run", "identity": None}


def export(
    workdir, output, precision="float32", on_bad_image="blank", max_pixels=pictures.MAX_PIXELS, allow_other_run=False
):
    """Writes the next version of a trained run under `output`; returns its path.

    The version appears under its number only when it is whole, so a server may watch the folder.

    Args:
        workdir: the run's folder.
        output: the folder of versions, made where there is none.
        precision: "float16" stores the kernels, which are nearly all of the bytes, in half precision; batch
            normalization's statistics and biases stay float32, and so does all computing.
        on_bad_image, max_pixels: as for `Signatures`.
        allow_other_run: whether the newest version in `output` may be of another run.

    Raises:
        UserError: the workdir cannot be read, `output` cannot be written, or it holds another run.
    """
    config = settings.Config.load(workdir)
    run, output = run_of(workdir), pathlib.Path(output)
    if not allow_other_run:
        check_same_run(run, output)
    checkpoint = checkpoints.find(workdir)
    model = run_folder.trained_model(config, workdir, checkpoint)
    class_names = run_folder.class_names(workdir)
    card = {**describe(config, workdir, checkpoint, class_names), "run": run}
    card |= {"precision": precision, "on_bad_image": on_bad_image}
    options = {"on_bad_image": on_bad_image, "max_pixels": max_pixels}
    return write(model, class_names, config.image_size, output, precision, card, **options)


def run_of(workdir):
    """Which run a workdir holds: its folder's `name`, and an `identity` that it keeps where it is moved or renamed."""
    started = next(iter(journal.read(workdir)), None) or settings.Config.load(workdir).to_flags()
    digest = hashlib.sha256(json.dumps(started).encode()).hexdigest()
    return {"name": pathlib.Path(workdir).absolute().name, "identity": digest[:16]}


def check_same_run(run, output):
    """Raises `UserError` where the newest version in a folder is of another run, which a server would then replace."""
    versions = layout.versions(output)
    if versions:
        newest = versions[max(versions)]
        there = (model_card.read(newest) or {}).get("run") or NO_RUN
        if there["identity"] != run["identity"]:
            raise errors.UserError(
                f"--output={output}: version {newest.name} there is of {there['name']}, not of {run['name']}, and a "
                "server would switch to the new one; choose another folder, or add --allow_other_run"
            )


def write(model, class_names, image_size, output, precision="float32", card=None, **options):
    """Writes the next version of any `CGCModel` under `output`; see `export`. Returns its path.

    Args:
        model: a `CGCModel`.
        class_names: the names of its classes.
        image_size: the side in pixels of the view that it was trained on.
        card: what is known of the model, JSON's kinds of values, for its model card.
        options: for `Signatures`.
    """
    stored = half(model) if precision == "float16" else {}
    signatures = Signatures(model, class_names, image_size, stored, **options)
    output = pathlib.Path(output)
    try:
        output.mkdir(parents=True, exist_ok=True)
        partial = pathlib.Path(tempfile.mkdtemp(prefix="partial-", dir=output))
        partial.chmod(0o755)
        try:
            _save(model, class_names, signatures, stored, partial)
            _add_extras(model, image_size, stored, card or {}, partial)
            return _publish(partial, output)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise errors.UserError(f"--output={output} cannot be written: {error.strerror}") from error


def describe(config, workdir, checkpoint, class_names):
    """What the model card of a run says of it: a dict; `metrics` is empty where `no_metrics` says why."""
    report, reason = whole_evaluation(config, workdir, checkpoint)
    history = journal.history(workdir)
    changes = f" ({journal.told(history)})" if history else ""
    return {
        "name": f"{config.backbone} trained with {config.objective} on {config.dataset}{changes}",
        "history": history,
        "method": "Contrastive Grad-CAM Consistency, CVPR 2022, arXiv 2110.00527",
        "exported": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": environment.commit(),
        "checkpoint": checkpoint.name,
        "data": {"dataset": config.dataset, "classes": len(class_names)},
        "metrics": {name: value for name, value in report.items() if name not in _NOT_METRICS},
        "no_metrics": reason,
        "image_size": config.image_size,
        "versions": {"tensorflow": tf.__version__, "keras": keras.__version__},
        "configuration": dataclasses.asdict(config),
    }


def whole_evaluation(config, workdir, checkpoint):
    """`(report, None)` of an evaluation of these very weights on the whole test split; or `({}, why there is none)`."""
    path = pathlib.Path(workdir) / REPORT
    try:
        report = json.loads(path.read_text())
        fields = {field.name for field in dataclasses.fields(Protocol)}
        protocol = Protocol(**{name: value for name, value in report["protocol"].items() if name in fields})
    except FileNotFoundError:
        return {}, "it was not evaluated"
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        return {}, f"{path} cannot be read: {errors.first_line(error)}"
    if report.get("checkpoint") != checkpoint.name:
        return {}, f"{path} is of another checkpoint, {report.get('checkpoint')}"
    if not protocol.is_whole:
        return {}, f"{path} is not of the whole test split"
    if not protocol.is_on_own_data(dataclasses.asdict(config)):
        return {}, f"{path} is of other data than the run's: {protocol.dataset}, {protocol.data_dir}"
    return report, None


def expected_answers(model, image_size, encoded, stored=None):
    """What the trained model answers to encoded pictures, not through the exported graph.

    Returns:
        A dict of `probabilities`, `heatmap` (peak 1) and `heatmap_box`, float32 arrays `[B, ...]`.
    """
    views, boxes = zip(*(original_view(folder.decode_image(one), image_size) for one in encoded), strict=True)
    own = [(v, tf.cast(stored[v.path], v.dtype)) for v in model.weights if v.path in (stored or {})]
    with keras.StatelessScope(own):
        answer = model.explain(tf.cast(tf.stack(views), tf.float32))
    peak = tf.reduce_max(answer["heatmap"], [1, 2], keepdims=True)
    heatmap = tf.math.divide_no_nan(answer["heatmap"], peak)
    return {
        "probabilities": answer["probabilities"].numpy(),
        "heatmap": heatmap.numpy(),
        "heatmap_box": np.stack(boxes),
    }


def half(model):
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


def _add_extras(model, image_size, stored, card, version):
    examples = layout.example_pictures(image_size)
    (version / layout.EXAMPLES).mkdir(parents=True)
    for name, encoded in examples.items():
        (version / layout.EXAMPLES / name).write_bytes(encoded)
    answers = expected_answers(model, image_size, examples.values(), stored)
    answers = {"pictures": list(examples), **{name: value.tolist() for name, value in answers.items()}}
    (version / layout.EXAMPLES / "expected.json").write_text(json.dumps(answers) + "\n")
    (version / model_card.CARD).write_text(json.dumps(card, indent=2) + "\n")
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


def main(_):
    args = flags.FLAGS
    workdir = args.workdir or settings.newest_workdir()
    print(f"exporting {run_folder.in_words(workdir)}")
    version = export(workdir, args.output, args.precision, args.on_bad_image, args.max_pixels, args.allow_other_run)
    if reason := model_card.read(version)["no_metrics"]:
        print(f"note: its model card has no metrics: {reason}; python evaluate.py --workdir={workdir} makes them")
    print(f"exported: {version}\nnext: python -m export.server --model_dir={version.parent}")


def define_flags():
    """Defines the flags: which run, and how to export it."""
    flags.DEFINE_string("workdir", None, "Folder of a trained run (default: the newest under runs/).")
    flags.DEFINE_string("output", "exported", "Folder to write the version into.")
    flags.DEFINE_bool("allow_other_run", False, "Add a version of another run than the newest one there is of.")
    flags.DEFINE_enum("precision", "float32", PRECISIONS, "What the kernels are stored in; computing is in float32.")
    flags.DEFINE_enum(
        "on_bad_image", "blank", ON_BAD_IMAGE, "A picture that cannot be decoded: a blank answer for it, or an error."
    )
    flags.DEFINE_integer("max_pixels", pictures.MAX_PIXELS, "Pictures of more are not decoded.", lower_bound=1)


if __name__ == "__main__":
    define_flags()
    program.run(main)
