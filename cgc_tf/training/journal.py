"""The record of a run: every start and stop, a line of JSON each; and the lock that keeps its folder to one process."""

import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import socket
from collections.abc import Iterator
from typing import Any

import filelock

from cgc_tf.common import files
from cgc_tf.common.errors import UserError
from cgc_tf.common.settings import HARMLESS
from cgc_tf.training.config import Config

FILE, LOCK = "journal.jsonl", "lock"
HARMLESS_SETTINGS = {field.name for field in dataclasses.fields(Config) if field.metadata["on_change"] == HARMLESS}


@contextlib.contextmanager
def locked(workdir: files.PathLike) -> Iterator[None]:
    """Holds a run's folder, made where there is none, for this process alone; the kernel lets go of it however it ends.

    Raises:
        UserError: another process trains there, or the folder cannot be written.
    """
    workdir = pathlib.Path(workdir)
    path, made = workdir / LOCK, [folder for folder in (workdir, *workdir.parents) if not folder.exists()]
    with contextlib.ExitStack() as stack:
        with files.reported(f"--workdir={workdir}"):
            workdir.mkdir(parents=True, exist_ok=True)
            try:
                stack.enter_context(filelock.FileLock(path, blocking=False))
            except filelock.Timeout:
                raise UserError(
                    f"{workdir} is being trained by {path.read_text().strip() or 'another process'}"
                ) from None
            path.write_text(f"process {os.getpid()} on {socket.gethostname()}\n")
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # nothing is left of a run that never began
                if os.listdir(workdir) == [LOCK]:
                    path.unlink()
                    for folder in made:
                        folder.rmdir()


def append(workdir: files.PathLike, event: str, **facts: Any) -> None:
    """Adds an event to a run's record: `start`, `stop`, or whatever else a reader would want to know."""
    line = {"event": event, "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), **facts}
    path = pathlib.Path(workdir) / FILE
    is_cut = path.exists() and path.read_bytes()[-1:] not in (b"", b"\n")  # its last line, by a kill
    with path.open("a") as file:
        if is_cut:
            file.write("\n")
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read(workdir: files.PathLike) -> list[dict]:
    """The events of a run's record, dicts, earliest first; a line that was cut off by a kill is passed over."""
    path, events = pathlib.Path(workdir) / FILE, []
    for line in path.read_text().splitlines() if path.exists() else []:
        with contextlib.suppress(json.JSONDecodeError):
            events.append(json.loads(line))
    return events


def history(workdir: files.PathLike) -> list[dict]:
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
    first = periods[0]["settings"] if periods else {}
    names = [name for name in first if any(each["settings"].get(name) != first[name] for each in periods)]
    return [{**each, "settings": {name: each["settings"].get(name) for name in names}} for each in periods if names]


def _place(event):
    return event["position"]["epoch"], event["position"]["step"]
