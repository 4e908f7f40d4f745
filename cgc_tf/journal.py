"""The record of a run: every start and stop, a line of JSON each; and the lock that keeps a workdir to one process."""

import contextlib
import datetime
import fcntl
import json
import os
import pathlib
import socket

from cgc_tf.errors import UserError

FILE, LOCK = "journal.jsonl", "lock"


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
