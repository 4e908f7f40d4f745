"""The files that the client asks about, and where it puts what it draws."""

import glob
import os
import pathlib

from cgc_tf.common.errors import UserError
from cgc_tf.data.folder_listing import is_system

ENDINGS = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp")
DRAWN = "-explained.png"  # how the names of drawings end
FOLDER = "explained"


def find(pattern: str) -> list[pathlib.Path]:
    """The pictures, sorted, of a file's name, a folder (and the folders in it) or a glob.

    Left out of a folder are hidden files, such as a Mac's `._x.jpg`, and what is in hidden and system folders; left out
    of a folder and of a glob, with a note, are the client's own drawings.

    Raises:
        UserError: there is none.
    """
    path = pathlib.Path(pattern)
    try:
        if path.is_dir():
            found = [entry for entry in path.rglob("*") if entry.suffix.lower() in ENDINGS]
            found = [entry for entry in found if not any(map(is_system, entry.relative_to(path).parts))]
        elif path.exists():
            return [path]
        else:
            found = [pathlib.Path(name) for name in glob.glob(pattern, recursive=True)]
        found = sorted(entry for entry in found if not entry.is_dir())
    except OSError as error:
        raise UserError(f"--image={pattern} cannot be read: {error.strerror}") from error
    pictures = [entry for entry in found if not entry.name.endswith(DRAWN)]
    if not pictures:
        raise UserError(
            f"--image={pattern} is not a file, nor a folder or a pattern of pictures ({', '.join(ENDINGS)}) other than "
            f"*{DRAWN}"
        )
    if len(pictures) < len(found):
        print(f"note: {len(found) - len(pictures)} pictures are left out, since they are named *{DRAWN}")
    return pictures


def read(path: pathlib.Path) -> bytes | OSError:
    """A file's bytes; or the error instead, which is that file's alone."""
    try:
        if path.exists() and not path.is_file():
            return OSError(f"{path} is not a file")  # a pipe would be waited for
        return path.read_bytes()
    except OSError as error:
        return error


def printable(path: pathlib.Path) -> str:
    """A path as one line of text, whatever is in it."""
    text = str(path)
    return text if text.isprintable() else ascii(text)


def drawing_path(path: pathlib.Path, paths: list[pathlib.Path], output: str | None) -> pathlib.Path:
    """The PNG to draw one of the paths into.

    Args:
        path: the picture.
        paths: all that are asked about.
        output: what the user gave: a file for one picture, a folder for several; None for the default.
    """
    if len(paths) == 1:
        return pathlib.Path(output or f"{path.stem}{DRAWN}")
    # As they lie in their folders, endings kept: DIR/a/0.jpg, DIR/a/0.png and DIR/b/0.jpg.
    common = os.path.commonpath([one.parent for one in paths])
    return pathlib.Path(output or FOLDER) / path.parent.relative_to(common) / f"{path.name}{DRAWN}"
