"""boxes.csv: where the objects of a folder's pictures are, in this project's own form."""

import csv
import io
import pathlib

from cgc_tf.common.errors import UserError, counted
from cgc_tf.data.folder_listing import same_name

COLUMNS = ["file", "ymin", "xmin", "ymax", "xmax"]


def read(path: pathlib.Path, ids: set[str], root: pathlib.Path) -> dict[str, list]:
    """Reads the boxes of pictures.

    Args:
        path: the file, which need not exist.
        ids: the pictures' paths within their folder.
        root: that folder. Rows of pictures in it that are not used are passed over.

    Returns:
        {id: [[ymin, xmin, ymax, xmax], ...]}, fractions in [0, 1] of the picture.

    Raises:
        UserError: naming the line at fault.
    """
    if not path.exists():
        return {}
    boxes = {}
    try:
        text = path.read_text("utf-8-sig")  # spreadsheets put a mark in front
    except UnicodeDecodeError:
        raise UserError(f"{path} is not text in UTF-8; save it as such") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(rows, [])
        if header != COLUMNS:
            raise UserError(f"{path}: the first line should be {','.join(COLUMNS)}. Received: {_shown(header)}")
        for row in filter(None, rows):
            name, box = _parse(row, f"{path}, line {rows.line_num}", ids, root)
            if name in ids:
                boxes.setdefault(name, []).append(box)
    except csv.Error as error:
        raise UserError(f"{path}, line {rows.line_num}: this is not CSV: {error}") from None
    return boxes


def _parse(row, where, ids, root):
    """A row's picture and box."""
    if len(row) != len(COLUMNS):
        raise UserError(f"{where}: {counted(len(row), 'field')} instead of {len(COLUMNS)}. Received: {_shown(row)}")
    name = same_name(row[0])
    if name not in ids and ("\0" in name or not (root / name).is_file()):
        raise UserError(f"{where}: there is no picture {_shown(row[0])} in the folder")
    try:
        box = [float(value) for value in row[1:]]
    except ValueError:
        raise UserError(f"{where}: ymin, xmin, ymax, xmax should be numbers. Received: {_shown(row[1:])}") from None
    if not (0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1):
        is_in_pixels = max(box) >= 2 and min(box) >= 0
        hint = "; these look like pixels: divide by the picture's height and width" if is_in_pixels else ""
        raise UserError(
            f"{where}: a box is ymin < ymax, xmin < xmax, fractions in [0, 1] of the picture. Received: {box}{hint}"
        )
    return name, box


def _shown(value):
    """Text of a row as one line, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."
