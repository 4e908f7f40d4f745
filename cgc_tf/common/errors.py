"""A user's mistake is one line and a status, never a stack trace."""

import os
import re
import signal
import sys

from absl import app, flags, logging


class UserError(ValueError):
    """Something the user can fix; the message names the input and how to fix it."""


class Stopped(Exception):
    """Work was stopped by a signal, and is saved; started again, it goes on from there."""


STOPPED = 75  # the exit status then, sysexits.h's EX_TEMPFAIL: try again later
URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
HANDLES = ("hf://", "kaggle://", "modelscope://")  # which --weights may be: a KerasHub preset's
READER_LEFT = 128 + signal.SIGPIPE  # what a shell reports of a program whose output nobody reads any more


def first_line(error):
    """What an exception says, in one line; its type, where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def first_few(names, count=3):
    """Of many names the first, and how many more there are: what one line has room for."""
    more = len(names) - count
    return ", ".join(names[:count]) + (f" and {more} more" if more > 0 else "")


def check_paths():
    """Raises `UserError` for a parsed flag that names a place elsewhere: what is read and written is on local disks.

    TensorFlow would take some of these, Python's own functions would make a folder named `gs:`.
    """
    for name, value in flags.FLAGS.flag_values_dict().items():
        for text in value if isinstance(value, list) else [value]:
            is_handle = name == "weights" and str(text).startswith(HANDLES)
            if URL.match(str(text)) and name != "url" and not is_handle:
                raise UserError(
                    f"--{name}={text} is a URL, which is not supported: pass a path on this machine, and mount or copy "
                    "there what is elsewhere"
                )


def run(main):
    """Runs `main(argv)` under absl and exits.

    A `UserError` becomes one line on stderr and exit status 2, `Stopped` 75. Where the reader of its output leaves, as
    `head` does, nothing more is said and the status is `READER_LEFT`.
    """

    def guarded(argv):
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.ERROR)
        if len(argv) > 1:
            print(f"error: flags start with --. Received: {' '.join(argv[1:])}", file=sys.stderr)
            return 2
        try:
            check_paths()
            return main(argv)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except Stopped as stopped:
            print(f"{stopped}; start again to go on", file=sys.stderr)
            return STOPPED
        except KeyboardInterrupt:
            print("\ninterrupted", file=sys.stderr)
            return 130

    try:
        try:
            app.run(guarded)
        finally:
            sys.stdout.flush()  # here, where a reader that has left can be noticed, and not after Python's last line
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):  # which Python flushes once more as it leaves
            os.dup2(nowhere, stream.fileno())
        sys.exit(READER_LEFT)
