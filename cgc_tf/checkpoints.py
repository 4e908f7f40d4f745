"""Checkpoints: all that training changes, in one file that proves itself whole.

A file's name ends with the beginning of its own SHA-256, as PyTorch Hub's files do, so whatever happened to it shows.
It holds tensors and a line of JSON (safetensors): reading one runs no code. It appears under its name only when every
byte of it is on the disk.
"""

import concurrent.futures
import dataclasses
import hashlib
import json
import os
import pathlib
import re

import keras
import numpy as np
import safetensors
import safetensors.numpy

from cgc_tf.errors import UserError

FOLDER = "checkpoints"
DIGITS = 16  # of the hexadecimal SHA-256
NAME = re.compile(rf"epoch\d{{4,}}-step\d{{6,}}-([0-9a-f]{{{DIGITS}}})\.safetensors")
PARTIAL = ".partial"
UNNAMED = re.compile(r"variable_\d+")


@dataclasses.dataclass(frozen=True, order=True)
class Position:
    """Where a run stands: whole epochs that are done, and steps of the next one, which has `steps_per_epoch`."""

    epoch: int = 0
    step: int = 0
    steps_per_epoch: int = 0

    def __str__(self):
        return f"epoch {self.epoch + 1}, step {self.step}" if self.step else f"the end of epoch {self.epoch}"


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What a file holds: the state, as `state_of` gives it; the position; the validation accuracy there, or None."""

    state: dict
    position: Position
    score: float | None = None


def state_of(model):
    """Copies of all that training changes in a compiled model: {"group/index/name": array}.

    Groups are `model` (weights, statistics, the seeds of random layers), `optimizer` (iterations, momenta, moving
    averages, loss scale) and `metrics` (sums over the epoch so far).
    """
    return {name: np.array(keras.ops.convert_to_numpy(variable)) for name, variable in _variables(model).items()}


def restore(state, model, groups=("model", "optimizer"), source="the checkpoint"):
    """Puts groups of a state into a model of the same architecture, compiled alike if `optimizer` is among them.

    Raises:
        UserError: the state is of another model; nothing has been put in then.
    """
    offered = {name: array for name, array in state.items() if name.split("/")[0] in groups}
    wanted = {name: variable for name, variable in _variables(model).items() if name.split("/")[0] in groups}
    other = [name for name in {**wanted, **offered} if name not in wanted or name not in offered]
    other += [name for name in wanted if name in offered and tuple(wanted[name].shape) != offered[name].shape]
    if other:
        raise UserError(
            f"{source} does not fit this model (another backbone, head, number of classes or optimizer?): "
            f"{len(other)} of its variables differ, first {other[0]}"
        )
    for name, variable in wanted.items():
        variable.assign(offered[name])


def _variables(model):
    groups = {"model": model.variables, "metrics": model.metrics_variables}
    if getattr(model, "optimizer", None):
        groups["optimizer"] = model.optimizer.variables
    # Paths, and names that no one has given, count what the process has made before.
    return {
        f"{group}/{index:04d}/{UNNAMED.sub('variable', variable.name)}": variable
        for group, variables in groups.items()
        for index, variable in enumerate(variables)
    }


def write(folder, checkpoint):
    """Writes a checkpoint into a folder; returns its path. Raises `OSError`, and then leaves the folder as it was."""
    about = {"position": dataclasses.asdict(checkpoint.position), "score": checkpoint.score}
    contents = safetensors.numpy.save(checkpoint.state, {"cgc_tf": json.dumps(about)})
    position, digest = checkpoint.position, hashlib.sha256(contents).hexdigest()[:DIGITS]
    path = pathlib.Path(folder) / f"epoch{position.epoch:04d}-step{position.step:06d}-{digest}.safetensors"
    partial = path.with_name(path.name + PARTIAL)
    try:
        with partial.open("wb") as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)
    return path


def _sync_folder(folder):
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path):
    """Reads a file that `write` has written.

    Raises:
        UserError: it is missing, or not the file that was written: cut short, changed, or named otherwise.
    """
    path = pathlib.Path(path)
    try:
        contents = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    expected = NAME.fullmatch(path.name)
    if not expected or hashlib.sha256(contents).hexdigest()[:DIGITS] != expected[1]:
        raise UserError(f"{path} is damaged: its contents are not those that its name was made from")
    with safetensors.safe_open(path, "numpy") as file:
        about = json.loads(file.metadata()["cgc_tf"])
    return Checkpoint(safetensors.numpy.load(contents), Position(**about["position"]), about["score"])


def is_checkpoint(path):
    """Whether `path` is named as a checkpoint is, or is the folder of a run that has some."""
    return bool(NAME.fullmatch(pathlib.Path(path).name)) or (pathlib.Path(path) / FOLDER).is_dir()


def find(path):
    """The checkpoint that a path means: the file itself, or the last whole one of a run's folder, a `Checkpoint`.

    Raises:
        UserError: there is none, or none of them is whole.
    """
    return last(pathlib.Path(path) / FOLDER) if pathlib.Path(path).is_dir() else read(path)


def last(folder):
    """The last whole checkpoint of a folder; damaged ones after it are named on stdout and passed over.

    Raises:
        UserError: the folder has no checkpoint, or none that is whole.
    """
    found = files(folder)
    for path in reversed(found):
        try:
            return read(path)
        except UserError as error:
            print(f"note: {error}; the one before it is used")
    if found:
        raise UserError(f"none of the {len(found)} checkpoints in {folder} is whole; remove them to train afresh")
    raise UserError(f"{folder} has no checkpoint: its training was stopped before the first one")


def files(folder):
    """The paths of a folder's checkpoints, earliest first."""
    return sorted(path for path in pathlib.Path(folder).glob("*") if NAME.fullmatch(path.name))


class Writer:
    """Writes checkpoints in the background, one at a time, and keeps the last few and the best.

    Args:
        folder: where they go; made where there is none, and cleared of what a killed run was writing.
        keep: how many of the last to keep.

    Raises:
        OSError: from any method, when a write before has failed.
    """

    def __init__(self, folder, keep):
        self.folder, self._keep = pathlib.Path(folder), keep
        self._thread = concurrent.futures.ThreadPoolExecutor(1)
        self._pending = None
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in self.folder.glob(f"*{PARTIAL}"):
            path.unlink()

    def write(self, checkpoint):
        """Begins to write a checkpoint, when the one before is done."""
        self.wait()
        self._pending = self._thread.submit(self._write, checkpoint)

    def wait(self):
        """Waits until every checkpoint is on the disk."""
        if self._pending:
            pending, self._pending = self._pending, None
            pending.result()

    def _write(self, checkpoint):
        written = write(self.folder, checkpoint)
        found = files(self.folder)
        kept = {written, best(self.folder), *found[-self._keep :]}
        for path in found:
            if path not in kept:
                path.unlink()


def best(folder):
    """The path of the checkpoint with the highest validation accuracy, the earlier of equals; or None."""
    scores = {}
    for path in files(folder):
        try:
            with safetensors.safe_open(path, "numpy") as file:
                scores[path] = json.loads(file.metadata()["cgc_tf"])["score"]
        except (OSError, ValueError, TypeError, KeyError, safetensors.SafetensorError):
            continue  # damaged
    scores = {path: score for path, score in scores.items() if score is not None}
    return max(scores, key=scores.get) if scores else None
