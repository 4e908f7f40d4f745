"""Files that appear under their names only when they are whole; a full disk or a missing permission is one line."""

import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import IO

from cgc_tf.common.errors import UserError

PathLike = str | os.PathLike[str]
PARTIAL = ".partial"  # ends the names of files that are being written


@contextlib.contextmanager
def whole(path: PathLike, mode: str = "w", durable: bool = False) -> Iterator[IO]:
    """Opens a file for writing, which replaces `path` at the end of the block; if that fails, `path` stays as it was.

    Args:
        path: the file; its folder exists.
        mode: "w" for text, which is written as UTF-8 with its line ends as they are; "wb" for bytes.
        durable: whether the file has to survive a power failure right after the block; it takes some milliseconds.

    Raises:
        OSError: the file cannot be written. Within `reported` it is one line to the user.
    """
    path = pathlib.Path(path)
    partial = path.with_name(f"{path.name}.{os.getpid()}{PARTIAL}")  # each process has its own
    is_text = "b" not in mode
    try:
        with partial.open(mode, encoding="utf-8" if is_text else None, newline="" if is_text else None) as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise
    if durable:  # and so are the names in its folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write(path: PathLike, contents: str | bytes, durable: bool = False) -> None:
    """Writes a file of these contents as `whole` does, which see."""
    with whole(path, "wb" if isinstance(contents, bytes) else "w", durable) as file:
        file.write(contents)


def remove_partial(folder: PathLike) -> None:
    """Removes what killed processes had begun to write in a folder, in which no other process is writing."""
    for path in pathlib.Path(folder).glob(f"*{PARTIAL}"):
        path.unlink()


@contextlib.contextmanager
def reported(place: PathLike) -> Iterator[None]:
    """Turns an `OSError` of the block into a `UserError`: "{place} cannot be written: No space left on device".

    Args:
        place: what the user calls the place, a path or a flag with its value.
    """
    try:
        yield
    except BrokenPipeError:  # whoever reads what is printed has left
        raise
    except OSError as error:
        raise UserError(f"{place} cannot be written: {error.strerror or error}") from error
