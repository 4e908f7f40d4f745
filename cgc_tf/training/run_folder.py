"""What a run left in its folder: the names of its classes, and its trained model."""

import dataclasses
import json
import os
import pathlib

from cgc_tf.common import files
from cgc_tf.common.errors import UserError, first_line
from cgc_tf.data import splits
from cgc_tf.method.model import CGCModel
from cgc_tf.networks import backbones
from cgc_tf.training import checkpoints
from cgc_tf.training.checkpoints import Checkpoint
from cgc_tf.training.config import Config
from cgc_tf.training.state import restore_trained

CLASSES = "classes.txt"
ARCHITECTURE = "model.json"


def class_names(workdir: files.PathLike) -> tuple[str, ...]:
    """The names of the classes that a run was trained on."""
    text = (pathlib.Path(workdir) / CLASSES).read_text("utf-8")
    return tuple(text.removesuffix("\n").split("\n"))  # as written; `splitlines` also splits at other characters


def trained_on(workdir: files.PathLike) -> dict:
    """The settings of a run as {name: value}, and as `record` the path of its `splits.csv`; "" where it has none."""
    record = pathlib.Path(workdir) / splits.RECORD
    return {**dataclasses.asdict(Config.load(workdir)), "record": str(record) if record.exists() else ""}


def record_of(config: Config, workdir: pathlib.Path) -> pathlib.Path | None:
    """The `splits.csv` that says how a run's pictures are divided: its own, or that of the run it starts from.

    The latter where both divide the same pictures, so that none that `--weights` has seen is tested on.

    Raises:
        UserError: that run has divided them otherwise.
    """
    own = workdir / splits.RECORD
    if own.exists() or not checkpoints.is_checkpoint(config.weights):
        return own if own.exists() else None
    run = pathlib.Path(config.weights).absolute()
    run = run if run.is_dir() else run.parent.parent
    if not config.make_splits().is_used or not (run / splits.RECORD).exists():
        return None
    other = Config.load(run)
    is_same_place = os.path.realpath(other.data_dir) == os.path.realpath(config.data_dir)
    if not is_same_place and not splits.is_of(run / splits.RECORD, config.data_dir):
        return None
    if other.make_splits() != config.make_splits():
        wanted = " ".join(f"--{name}={value}" for name, value in vars(other.make_splits()).items() if value)
        raise UserError(f"--weights={config.weights} was trained on these pictures, divided by {wanted}: pass that")
    return run / splits.RECORD


def in_words(workdir: files.PathLike) -> str:
    """Which run a folder holds, in words: its folder, objective, backbone and data, and how far it is trained."""
    config, position = Config.load(workdir), checkpoints.find(workdir).position
    trained = f"trained to {position} of {config.epochs}"
    return f"{workdir}: {config.objective}, {config.backbone} on {config.dataset}, {trained}"


def trained_model(config: Config, workdir: files.PathLike, checkpoint: Checkpoint | None = None) -> CGCModel:
    """The model of a run, in float32, as a checkpoint left it.

    The checkpoint is the run's last whole one unless another one of the same run is given. Where the run kept averages
    of its weights, they are the model's.

    Raises:
        UserError: there is no whole checkpoint, or it is of another model.
    """
    last = checkpoint or checkpoints.find(workdir)
    model = read_model(config, workdir, precision="float32")
    restore_trained(last.state, model, workdir)
    return model


def save_architecture(model: CGCModel, workdir: files.PathLike) -> None:
    """Writes what a run's model is made of, so that reading it needs no library's preset and no download."""
    files.write(pathlib.Path(workdir) / ARCHITECTURE, json.dumps(model.get_config()))


def read_model(config: Config, workdir: files.PathLike, precision: str) -> CGCModel:
    """The model that a run's folder describes, its weights not read yet, to compute in a Keras dtype policy."""
    backbones.import_library(config.backbone)
    try:
        text = (pathlib.Path(workdir) / ARCHITECTURE).read_text()
        model = CGCModel.from_config(json.loads(text.replace(f'"{config.precision}"', f'"{precision}"')))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{workdir}/{ARCHITECTURE} cannot be read: {first_line(error)}") from error
    model.objective = config.make_objective()  # which may have been changed on the way
    return model
