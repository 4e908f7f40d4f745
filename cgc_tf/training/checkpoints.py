"""Checkpoints: a run's state and where it stands, in one file whose name contains its checksum.

A file's name ends with the beginning of its own SHA-256, as PyTorch Hub's files do, so whatever happened to it shows.
It holds tensors and a line of JSON (safetensors): reading one runs no code. It appears under its name only when every
byte of it is on the disk.
"""

import concurrent.futures
import dataclasses
import hashlib
import json
import pathlib
import re

import safetensors
import safetensors.numpy

from cgc_tf.common import files as whole_files
from cgc_tf.common.errors import UserError, position_in_words

FOLDER = "checkpoints"
DIGITS = 16  # of the hexadecimal SHA-256
NAME = re.compile(rf"epoch\d{{4,}}-step\d{{6,}}-([0-9a-f]{{{DIGITS}}})\.safetensors")


@dataclasses.dataclass(frozen=True)
class Position:
    """Where a run stands: whole epochs that are done, and steps of the next one, which has `steps_per_epoch`."""

    epoch: int = 0
    step: int = 0
    steps_per_epoch: int = 0

    def __str__(self):
        return position_in_words(self.epoch, self.step)


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What a file holds: a state, as `state_of` gives it; the position; the validation accuracy there, or None.

    `name` is that of the file that it was read from.
    """

    state: dict
    position: Position
    score: float | None = None
    name: str | None = None


def write(folder: whole_files.PathLike, checkpoint: Checkpoint) -> pathlib.Path:
    """Writes a checkpoint into a folder; returns its path. Raises `OSError`, and then leaves the folder as it was."""
    about = {"position": dataclasses.asdict(checkpoint.position), "score": checkpoint.score}
    contents = safetensors.numpy.save(checkpoint.state, {"cgc_tf": json.dumps(about)})
    position, digest = checkpoint.position, hashlib.sha256(contents).hexdigest()[:DIGITS]
    path = pathlib.Path(folder) / f"epoch{position.epoch:04d}-step{position.step:06d}-{digest}.safetensors"
    whole_files.write(path, contents, durable=True)
    return path


def read(path: whole_files.PathLike) -> Checkpoint:
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
    return Checkpoint(safetensors.numpy.load(contents), Position(**about["position"]), about["score"], path.name)


def is_checkpoint(path: whole_files.PathLike) -> bool:
    """Whether `path` is named as a checkpoint is, or is the folder of a run that has some."""
    return bool(NAME.fullmatch(pathlib.Path(path).name)) or (pathlib.Path(path) / FOLDER).is_dir()


def find(path: whole_files.PathLike) -> Checkpoint:
    """The checkpoint that a path means: the file itself, or the last whole one of a run's folder, a `Checkpoint`.

    Raises:
        UserError: there is none, or none of them is whole.
    """
    return last(pathlib.Path(path) / FOLDER) if pathlib.Path(path).is_dir() else read(path)


def last(folder: whole_files.PathLike) -> Checkpoint:
    """The last whole checkpoint of a folder.

    Raises:
        UserError: the folder has no checkpoint, or none that is whole.
    """
    found = files(folder)
    if not found:
        raise UserError(f"{folder} has no checkpoint: its training was stopped before the first one")
    return first_whole(found[::-1])


def first_whole(paths: list[pathlib.Path]) -> Checkpoint:
    """The first of some checkpoints that is whole; damaged ones before it are named. Raises `UserError` if none is."""
    for path in paths:
        try:
            return read(path)
        except UserError as error:
            print(f"note: {error}; another one is used")
    raise UserError(
        f"none of the {len(paths)} checkpoints in {paths[0].parent} is whole; remove them to train from the start"
    )


def files(folder: whole_files.PathLike) -> list[pathlib.Path]:
    """The paths of a folder's checkpoints, earliest first."""
    return sorted(path for path in pathlib.Path(folder).glob("*") if NAME.fullmatch(path.name))


class Writer:
    """Writes checkpoints in the background, one at a time, and keeps the last `keep` of them and the best up to it.

    The folder is made where there is none, and cleared of what a killed run was writing. Any method raises `OSError`
    when a write before has failed.
    """

    def __init__(self, folder, keep):
        self.folder, self._keep = pathlib.Path(folder), keep
        self._thread = concurrent.futures.ThreadPoolExecutor(1)
        self._pending = None
        self.folder.mkdir(parents=True, exist_ok=True)
        whole_files.remove_partial(self.folder)

    def write(self, checkpoint: Checkpoint) -> None:
        """Begins to write a checkpoint, when the one before is done."""
        self.wait()
        self._pending = self._thread.submit(self._write, checkpoint)

    def wait(self) -> None:
        """Waits until every checkpoint is on the disk."""
        if self._pending:
            pending, self._pending = self._pending, None
            pending.result()

    def _write(self, checkpoint):
        written = write(self.folder, checkpoint)
        found = files(self.folder)  # none, if the folder was moved away meanwhile: the next write says so
        past = [path for path in found if path <= written]  # what comes after was damaged when the run went on
        kept = {*past[-self._keep :], *by_score(past)[:1]}
        for path in found:
            if path not in kept:
                path.unlink()


def by_score(paths: list[pathlib.Path]) -> list[pathlib.Path]:
    """Those of some checkpoints that have a validation accuracy, the best first, of equals the earlier."""
    scores = {}
    for path in paths:
        try:
            with safetensors.safe_open(path, "numpy") as file:
                scores[path] = json.loads(file.metadata()["cgc_tf"])["score"]
        except (OSError, ValueError, TypeError, KeyError, safetensors.SafetensorError):
            continue  # damaged
    return sorted((path for path in scores if scores[path] is not None), key=lambda path: -scores[path])
