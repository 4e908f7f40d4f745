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
import pathlib
from collections.abc import Sequence

import cgc_tf.common.quiet_tensorflow  # noqa: F401  # isort: skip
import keras
import tensorflow as tf
from absl import flags

from cgc_tf.common import environment, errors, program
from cgc_tf.common.files import PathLike
from cgc_tf.evaluation.own_model import known_of
from cgc_tf.evaluation.protocol import Protocol
from cgc_tf.method.for_pictures import for_pictures, image_size_of
from cgc_tf.method.model import CGCModel
from cgc_tf.report import model_card, tables
from cgc_tf.report.results import REPORT
from cgc_tf.training import checkpoints, journal, run_folder
from cgc_tf.training import config as settings

from .artifact import pictures, writer
from .artifact.signatures import ON_BAD_IMAGE

NO_RUN = {"name": "an unknown run", "identity": None}


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
    run, output = run_of(workdir), pathlib.Path(output)
    if not allow_other_run:
        check_same_run(run, output)
    checkpoint = checkpoints.find(workdir)
    model = run_folder.trained_model(config, workdir, checkpoint)
    class_names = run_folder.class_names(workdir)
    card = {**describe(config, workdir, checkpoint, class_names), "run": run}
    card |= {"precision": precision, "on_bad_image": on_bad_image}
    options = {"on_bad_image": on_bad_image, "max_pixels": max_pixels}
    record = run_folder.trained_on(workdir)["record"]
    return writer.write(model, class_names, config.image_size, output, precision, card, record, **options)


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
    size = image_size_of(model)
    run = {"name": model.name, "identity": None}
    if not allow_other_run:
        check_same_run(run, output)
    card = {
        **_exported(len(names), size),
        "name": model.name,
        "no_metrics": "it was exported without a run",
        "configuration": known_of(model),
        "run": run,
        "precision": precision,
        "on_bad_image": on_bad_image,
    }
    options = {"on_bad_image": on_bad_image, "max_pixels": max_pixels}
    return writer.write(for_pictures(model), names, size, output, precision, card, **options)


def run_of(workdir: PathLike) -> dict[str, str]:
    """Which run a workdir holds: its folder's `name`, and an `identity` that it keeps where it is moved or renamed."""
    started = next(iter(journal.read(workdir)), None) or settings.Config.load(workdir).to_flags()
    digest = hashlib.sha256(json.dumps(started).encode()).hexdigest()
    return {"name": pathlib.Path(workdir).absolute().name, "identity": digest[:16]}


def check_same_run(run: dict[str, str], output: PathLike) -> None:
    """Raises `UserError` where the newest version in a folder is of another run, which a server would then replace."""
    if versions := model_card.versions(output):
        newest = versions[max(versions)]
        there = (model_card.read(newest) or {}).get("run") or NO_RUN
        if there["identity"] != run["identity"]:
            raise errors.UserError(
                f"--output={output}: version {newest.name} there is of {there['name']}, not of {run['name']}, and a "
                "server would switch to the new one; choose another folder, or add --allow_other_run"
            )


def describe(config, workdir, checkpoint, class_names):
    """What the model card of a run says of it: a dict; `metrics` is empty where `no_metrics` says why."""
    report, reason = whole_evaluation(config, workdir, checkpoint)
    history = journal.history(workdir)
    changes = f" ({tables.changes(history)})" if history else ""
    return {
        **_exported(len(class_names), config.image_size, config.dataset),
        "name": f"{config.backbone} trained with {config.objective} on {config.dataset}{changes}",
        "history": history,
        "checkpoint": checkpoint.name,
        "metrics": {name: value for name, value in report.items() if name not in ("config", "workdir")},
        "no_metrics": reason,
        "configuration": dataclasses.asdict(config),
    }


def _exported(classes, image_size, dataset=None):
    """What a model card says in any case, and None of what only a run's own says."""
    return {
        "name": None,
        "history": None,
        "method": "Contrastive Grad-CAM Consistency, CVPR 2022, arXiv 2110.00527",
        "exported": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": environment.commit(),
        "checkpoint": None,
        "data": {"dataset": dataset, "classes": classes},
        "metrics": {},
        "no_metrics": None,
        "image_size": image_size,
        "versions": {"tensorflow": tf.__version__, "keras": keras.__version__},
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
    if not protocol.is_on_own_data({**dataclasses.asdict(config), "record": run_folder.trained_on(workdir)["record"]}):
        return {}, f"{path} is of other data than the run's: {protocol.dataset}, {protocol.data_dir}"
    return report, None


def main(_):
    args = flags.FLAGS
    workdir = args.workdir or settings.newest_workdir()
    print(f"exporting {run_folder.in_words(workdir)}")
    version = export(workdir, args.output, args.precision, args.on_bad_image, args.max_pixels, args.allow_other_run)
    if reason := model_card.read(version)["no_metrics"]:
        note = f"note: its model card has no metrics: {reason}; python evaluate.py --workdir={workdir} measures them"
        print(program.as_started(note))
    print(program.as_started(f"exported: {version}\nnext: python -m export.server --model_dir={version.parent}"))


def define_flags():
    """Defines the flags: which run, and how to export it."""
    flags.DEFINE_string("workdir", None, "Folder of a trained run (default: the newest under runs/).")
    flags.DEFINE_string("output", "exported", "Folder to write the version into.")
    flags.DEFINE_bool("allow_other_run", False, "Add a version of another run than the newest one there is of.")
    flags.DEFINE_enum("precision", "float32", writer.PRECISIONS, "What kernels are stored in; computing is in float32.")
    flags.DEFINE_enum(
        "on_bad_image", "blank", ON_BAD_IMAGE, "A picture that cannot be decoded: a blank answer for it, or an error."
    )
    flags.DEFINE_integer("max_pixels", pictures.MAX_PIXELS, "Pictures of more are not decoded.", lower_bound=1)


if __name__ == "__main__":
    program.run(main)
