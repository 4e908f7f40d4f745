"""The record of a run: every start and stop, a line of JSON each; and the lock that keeps a workdir to one process."""

import contextlib
import dataclasses
import datetime
import fcntl
import json
import os
import pathlib
import socket

from cgc_tf.common.errors import UserError
from cgc_tf.common.settings import HARMLESS
from cgc_tf.training.checkpoints import Position
from cgc_tf.training.config import Config

FILE, LOCK = "journal.jsonl", "lock"
HARMLESS_SETTINGS = {field.name for field in dataclasses.fields(Config) if field.metadata["on_change"] == HARMLESS}


@contextlib.contextmanager
def locked(workdir):
    """Holds a workdir, made where there is none, for this process alone; the kernel lets go of it however that ends.

    Raises:
        UserError: another process trains there, or the folder cannot be written.
    """
    workdir = pathlib.Path(workdir)
    made = [folder for folder in (workdir, *workdir.parents) if not folder.exists()]
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        file = (workdir / LOCK).open("a+")
    except (OSError, ValueError) as error:
        raise UserError(f"--workdir={workdir} cannot be written: {getattr(error, 'strerror', error)}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise UserError(f"{workdir} is being trained by {file.read().strip() or 'another process'}") from error
        try:
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            file.flush()
        except OSError as error:
            raise UserError(f"--workdir={workdir} cannot be written: {error.strerror}") from error
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # nothing is left of a run that never began
                if os.listdir(workdir) == [LOCK]:
                    (workdir / LOCK).unlink()
                    for folder in made:
                        folder.rmdir()


def append(workdir, event, **facts):
    """Adds an event to a workdir's record: `start`, `stop`, or whatever else a reader would want to know."""
    line = {"event": event, "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), **facts}
    with (pathlib.Path(workdir) / FILE).open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
        is_cut = file.read(1) not in (b"", b"\n")  # by a kill; what follows is a line of its own all the same
        file.write(b"\n" * is_cut + json.dumps(line).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read(workdir):
    """The events of a workdir's record, dicts, earliest first; a line that was cut off by a kill is passed over."""
    path, events = pathlib.Path(workdir) / FILE, []
    for line in path.read_text().splitlines() if path.exists() else []:
        with contextlib.suppress(json.JSONDecodeError):
            events.append(json.loads(line))
    return events


def history(workdir):
    """What a run was trained with, where that was changed on the way.

    Returns:
        A list of dicts, one for each period between changes: `position`, a `Position`'s fields, where it begins; and
        `settings`, {name: value}, those that changed at some time. Empty where nothing changed that has an effect.
    """
    periods = []
    for event in read(workdir):
        if event["event"] == "start":
            # What was trained beyond the checkpoint that a start goes on from is trained again.
            periods = [each for each in periods if _place(each) < _place(event)]
            settings = {name: value for name, value in event["config"].items() if name not in HARMLESS_SETTINGS}
            if not periods or periods[-1]["settings"] != settings:
                periods.append({"position": event["position"], "settings": settings})
    names = [name for name in periods[0]["settings"] if _differs(name, periods)] if periods else []
    return [{**each, "settings": {name: each["settings"].get(name) for name in names}} for each in periods if names]


def told(periods):
    """A `history` in words, as in "objective baseline to the end of epoch 2, then cgc"; "" where nothing changed."""
    return "; ".join(_told(name, periods) for name in periods[0]["settings"]) if periods else ""


def _told(name, periods):
    text, value = f"{name} {_text(periods[0]['settings'][name])}", periods[0]["settings"][name]
    for each in periods[1:]:
        if each["settings"][name] != value:
            value = each["settings"][name]
            text += f" to {Position(**each['position'])}, then {_text(value)}"
    return text


def _text(value):
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _place(event):
    return event["position"]["epoch"], event["position"]["step"]


def _differs(name, periods):
    return any(each["settings"].get(name) != periods[0]["settings"][name] for each in periods)
