"""Checks an exported version: its files, its warm-up requests, and that it answers what the trained model did.

  python -m export.verify --model_dir=exported                     # against the examples stored with it
  python -m export.verify --model_dir=exported --workdir=runs/A    # against the trained model itself

Prints what was compared, and ends with status 2 and one line where something differs.
"""

import pathlib

import numpy as np
from absl import flags

from cgc_tf.common import program
from cgc_tf.common.errors import UserError
from cgc_tf.common.files import PathLike
from cgc_tf.report import model_card

TOLERANCE = 1e-5


def verify(version: pathlib.Path, expected: dict[str, np.ndarray] | None = None) -> dict[str, float]:
    """Checks one version's folder, .../NUMBER: {"signature.output": the largest difference from what was expected}.

    `expected` is what to hold its answers to the stored pictures against, {output: array}; None for what is stored.

    Raises:
        UserError: a file is not as it was written, the version does not load, a warm-up request is not answered (both
            by `Servable`), or an answer differs by more than 1e-5; the message says where.
    """
    from .artifact import layout
    from .serving.servable import Servable

    changed = layout.changed_files(version)
    if changed:
        raise UserError(f"{version}: not as they were written: {', '.join(changed)}")
    servable = Servable(version)
    warm = {request.model_spec.signature_name for request in layout.read_warmup(version)}
    missing = set(layout.signature_defs(version)) - warm
    if missing:
        raise UserError(f"{version}: no warm-up request for {', '.join(sorted(missing))}")
    encoded, stored = layout.read_examples(version)
    expected = expected or stored
    differences = {}
    for signature in ("serving_default", "explain", "explain_class", "explain_checked"):
        inputs = {"image_bytes": encoded}
        if signature == "explain_class":
            inputs["class_id"] = np.argmax(expected["probabilities"], -1).tolist()
        answer = servable.predict(signature, inputs)
        for name in sorted(set(answer) & set(expected)):
            differences[f"{signature}.{name}"] = _largest(answer[name], expected[name])
    for where, difference in differences.items():
        if not difference <= TOLERANCE:
            raise UserError(f"{version}: {where} differs by {difference:.3g}, which is more than {TOLERANCE:g}")
    return differences


def from_workdir(workdir: PathLike, version: pathlib.Path) -> dict[str, np.ndarray]:
    """What the trained model of a workdir answers to a version's stored pictures, as it was when it was exported.

    Raises:
        UserError: the workdir does not hold that checkpoint.
    """
    from cgc_tf.training import checkpoints, config, run_folder

    from .artifact import layout, writer

    settings = config.Config.load(workdir)
    card = model_card.read(version) or {}
    path = pathlib.Path(workdir) / checkpoints.FOLDER / (card.get("checkpoint") or "unknown")
    if not path.exists():
        raise UserError(
            f"--workdir={workdir} does not hold the checkpoint that {version} was exported from, {path.name}: another "
            "run, or trained on since then? Without --workdir it is compared with what was stored when it was exported"
        )
    model = run_folder.trained_model(settings, workdir, checkpoints.find(path))
    stored = writer.half(model) if card.get("precision") == "float16" else {}
    return writer.expected_answers(model, settings.image_size, layout.read_examples(version)[0], stored)


def chosen(model_dir: PathLike | None, number: int | None) -> pathlib.Path:
    """The folder of a version as --model_dir and --version name it, by default the highest; raises `UserError`."""
    if model_dir is None:
        raise UserError("--model_dir is missing: the folder that export.saved_model wrote")
    versions = model_card.versions(model_dir)
    number = max(versions, default=None) if number is None else number
    if number not in versions:
        held = ", ".join(map(str, sorted(versions))) or "none"
        wanted = "version" if number is None else f"version {number}"
        raise UserError(f"--model_dir={model_dir} holds no {wanted}; versions there: {held}")
    return versions[number]


def _largest(answer, expected):
    if answer.shape != expected.shape:
        return float("inf")
    return float(np.max(np.abs(answer - expected))) if np.isfinite(answer).all() else float("inf")


def main(_):
    args = flags.FLAGS
    version = chosen(args.model_dir, args.version)
    import cgc_tf.common.quiet_tensorflow  # noqa: F401  # after what needs no TensorFlow is refused

    try:
        expected = from_workdir(args.workdir, version) if args.workdir else None
        differences = verify(version, expected)
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} is missing: was {version} written by export.saved_model?") from error
    for where, difference in differences.items():
        print(f"{where:<34}{difference:10.2e}")
    print(f"{version}: as trained, within {TOLERANCE:g}; checksums and warm-up requests are right")


def define_flags():
    """Defines the flags: which version, and what to compare it with."""
    flags.DEFINE_string("model_dir", None, "Folder of the versions.")
    flags.DEFINE_integer("version", None, "The version to check (default: the highest).")
    flags.DEFINE_string("workdir", None, "Compare with this run's trained model, not with the stored examples.")


if __name__ == "__main__":
    program.run(main)
