"""A user's own pictures: DIR/{train,test}/<class>/*.{jpg,jpeg,png} and, where present, DIR/boxes.csv.

Everything is checked here, before any long work: a fault is named with the file it is in.
"""

import csv
import dataclasses
import pathlib
from concurrent import futures

import tensorflow as tf
from tqdm import tqdm

from cgc_tf.errors import UserError

ENDINGS = (".jpg", ".jpeg", ".png")
SPLITS = ("train", "validation", "test")
COLUMNS = ["file", "ymin", "xmin", "ymax", "xmax"]
LAYOUT = "DIR/{train,test}/<class>/*.{jpg,jpeg,png}"


@dataclasses.dataclass(frozen=True)
class Picture:
    """One file: its path, its path within the folder (`id`), split and label."""

    path: pathlib.Path
    id: str
    split: str
    label: int


@dataclasses.dataclass(frozen=True)
class Pictures:
    """The folder's class names, files, and boxes: {id: [[ymin, xmin, ymax, xmax], ...]} in [0, 1]."""

    class_names: tuple[str, ...]
    files: list[Picture]
    boxes: dict[str, list]


def read(root, on_bad_image="fail"):
    """Lists and checks a folder of pictures.

    Args:
        root: the folder, laid out as this module says. `validation` is a third, optional split.
        on_bad_image: "fail", or "skip" to leave out (and count) pictures that cannot be decoded.

    Raises:
        UserError: naming the folder, file or row at fault, and the mend.
    """
    if not root.is_dir():
        raise UserError(f"--data_dir={root}: no such folder; it should hold {LAYOUT}")
    for split in ("train", "test"):
        if not (root / split).is_dir():
            raise UserError(f"--data_dir={root} has no {split}/ in it; it should hold {LAYOUT}")
    class_names = tuple(sorted(entry.name for entry in (root / "train").iterdir() if entry.is_dir()))
    if len(class_names) < 2:
        found = ", ".join(class_names) or "none"
        raise UserError(f"{root}/train needs a folder for each of two or more classes. Received: {found}")
    files = [picture for split in SPLITS for picture in _pictures(root, split, class_names)]
    _check_complete(root, class_names, files)
    boxes = _boxes(root / "boxes.csv", {picture.id for picture in files})
    readable = _decodable(files, on_bad_image)
    _check_complete(root, class_names, readable)
    return Pictures(class_names, readable, boxes)


def decode_image(contents):
    """An encoded JPEG, PNG, GIF (its first frame) or BMP as uint8 RGB `[H, W, 3]`."""
    image = tf.io.decode_image(contents, channels=3, expand_animations=False)
    return tf.ensure_shape(image, [None, None, 3])


def _pictures(root, split, class_names):
    if not (root / split).is_dir():
        return
    for entry in sorted((root / split).iterdir()):
        if not entry.is_dir():
            continue
        if entry.name not in class_names:
            raise UserError(f"{entry}: this class is not in {root}/train; add it there, or remove it here")
        for path in sorted(entry.iterdir()):
            if path.suffix.lower() in ENDINGS:
                yield Picture(path, path.relative_to(root).as_posix(), split, class_names.index(entry.name))


def _check_complete(root, class_names, files):
    for folder in (root / "test", *(root / "train" / name for name in class_names)):
        if not any(folder in picture.path.parents for picture in files):
            raise UserError(f"{folder} holds no readable .jpg, .jpeg or .png file; add some, or remove it")


def _decodable(files, on_bad_image):
    def fault(picture):
        try:
            decode_image(tf.io.read_file(str(picture.path)))
        except (tf.errors.OpError, ValueError) as error:
            return f"{picture.path} ({error.message.splitlines()[0] if hasattr(error, 'message') else error})"
        return None

    with futures.ThreadPoolExecutor() as pool:
        faults = list(tqdm(pool.map(fault, files), "checking pictures", len(files), leave=False, disable=None))
    bad = [text for text in faults if text]
    if bad and on_bad_image == "fail":
        raise UserError(
            f"{len(bad)} of {len(files)} pictures cannot be read, the first: {bad[0]}; "
            "mend or remove them, or pass --on_bad_image=skip"
        )
    for text in bad:
        print(f"skipped: {text}")
    return [picture for picture, text in zip(files, faults, strict=True) if not text]


def _boxes(path, ids):
    if not path.exists():
        return {}
    boxes = {}
    with path.open(newline="") as file:
        rows = csv.DictReader(file)
        if rows.fieldnames != COLUMNS:
            raise UserError(f"{path}: the first line should be {','.join(COLUMNS)}. Received: {rows.fieldnames}")
        for row in rows:
            where = f"{path}, line {rows.line_num}"
            if row["file"] not in ids:
                raise UserError(f"{where}: no picture {row['file']} in the folder")
            try:
                box = [float(row[column]) for column in COLUMNS[1:]]
            except (TypeError, ValueError):
                raise UserError(f"{where}: ymin, xmin, ymax, xmax should be numbers. Received: {row}") from None
            if not (0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1):
                raise UserError(
                    f"{where}: a box is ymin < ymax, xmin < xmax, fractions in [0, 1] of the picture. Received: {box}"
                )
            boxes.setdefault(row["file"], []).append(box)
    return boxes
