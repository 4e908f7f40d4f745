"""A user's own pictures: DIR/{train,test}/<class>/*.{jpg,jpeg,png} and, where present, DIR/boxes.csv.

Everything but the pixels is checked here, before any long work, and a fault is named with the file it is in. The pixels
of a file that looks whole are decoded when it is its turn, unless bad ones are to be skipped: then all are, beforehand,
so that a run's examples are known when it starts.
"""

import csv
import dataclasses
import io
import os
from concurrent import futures

import tensorflow as tf
from tqdm import tqdm

from cgc_tf import headers
from cgc_tf.errors import UserError

ENDINGS = (".jpg", ".jpeg", ".png")
SPLITS = ("train", "validation", "test")
COLUMNS = ["file", "ymin", "xmin", "ymax", "xmax"]
PART, SHOWN = 256, 20
LAYOUT = "DIR/{train,test}/<class>/*.{jpg,jpeg,png}"
REMEDY = "fix or remove it, or pass --on_bad_image=skip"


@dataclasses.dataclass(frozen=True)
class Picture:
    """One file: its path, its path within the folder (`id`), split, label and EXIF's orientation (1 is upright)."""

    path: str
    id: str
    split: str
    label: int
    orientation: int = 1


@dataclasses.dataclass(frozen=True)
class Pictures:
    """The folder's class names, files, and boxes: {id: [[ymin, xmin, ymax, xmax], ...]} in [0, 1].

    `skipped` says of each picture that was left out which it is, and why.
    """

    class_names: tuple[str, ...]
    files: list[Picture]
    boxes: dict[str, list]
    skipped: tuple[str, ...] = ()


def read(root, on_bad_image="fail"):
    """Lists and checks a folder of pictures.

    Args:
        root: the folder, laid out as this module says. `validation` is a third, optional split.
        on_bad_image: "fail", or "skip" to name, count and leave out pictures that cannot be decoded.

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
    found = [picture for split in SPLITS for picture in _files(root, split, class_names)]
    files = [picture for picture in found if picture.path.lower().endswith(ENDINGS)]
    if len(files) < len(found):
        other = next(picture for picture in found if not picture.path.lower().endswith(ENDINGS))
        print(f"note: {len(found) - len(files)} files are no {', '.join(ENDINGS)} and left out, as {other.path}")
    _check_complete(root, class_names, files)
    _note_case(files)
    boxes = _boxes(root / "boxes.csv", {picture.id for picture in files})
    readable, faults = _examined(files, thorough=on_bad_image == "skip")
    if faults and on_bad_image == "fail":
        _refuse(faults, files)
    if faults:
        shown = [f"skipped: {text}" for text in faults[:SHOWN]]
        print("\n".join([*shown, f"skipped {len(faults)} of {len(files)} pictures"]))
    _check_complete(root, class_names, readable)
    return Pictures(class_names, readable, boxes, tuple(faults))


def decode_image(contents):
    """An encoded JPEG, PNG, GIF (its first frame) or BMP as uint8 RGB `[H, W, 3]`."""
    image = tf.io.decode_image(contents, channels=3, expand_animations=False)
    return tf.ensure_shape(image, [None, None, 3])


def _files(root, split, class_names):
    if not (root / split).is_dir():
        return
    for folder in sorted((root / split).iterdir()):
        if not folder.is_dir():
            continue
        if folder.name not in class_names:
            raise UserError(f"{folder}: this class is not in {root}/train; add it there, or remove it here")
        label = class_names.index(folder.name)
        for name in sorted(os.listdir(folder)):
            if not name.startswith("."):
                yield Picture(f"{folder}/{name}", f"{split}/{folder.name}/{name}", split, label)


def _check_complete(root, class_names, files):
    present = {(picture.split, picture.label) for picture in files}
    wanted = {root / "train" / name: ("train", label) in present for label, name in enumerate(class_names)}
    wanted[root / "test"] = any(split == "test" for split, _ in present)
    for folder, is_filled in wanted.items():
        if not is_filled:
            raise UserError(f"{folder} holds no readable .jpg, .jpeg or .png file; add some, or remove it")


def _note_case(files):
    seen = {}
    for picture in files:
        other = seen.setdefault(picture.id.lower(), picture.id)
        if other != picture.id:
            print(f"note: {other} and {picture.id} differ only in case; elsewhere one of them may be lost")


def _examined(files, thorough):
    """The files without a fault, their orientations known; and the faults of the others, named."""

    def examine(picture):
        orientation, fault = headers.examine(picture.path, decode_image)
        if thorough and not fault:
            fault = headers.decoding_fault(picture.path, decode_image)
        return dataclasses.replace(picture, orientation=orientation) if orientation != 1 else picture, fault

    parts = [files[start : start + PART] for start in range(0, len(files), PART)]
    readable, faults = [], []
    with futures.ThreadPoolExecutor() as pool, tqdm(total=len(files), leave=False, disable=None) as bar:
        bar.set_description("checking pictures")
        for found in pool.map(lambda part: list(map(examine, part)), parts):
            readable += [picture for picture, fault in found if not fault]
            faults += [f"{picture.path} ({fault})" for picture, fault in found if fault]
            bar.update(len(found))
    return readable, faults


def _refuse(faults, files):
    raise UserError(f"{len(faults)} of {len(files)} pictures cannot be read, the first: {faults[0]}; {REMEDY}")


def _boxes(path, ids):
    if not path.exists():
        return {}
    boxes = {}
    try:
        text = path.read_text("utf-8-sig")  # spreadsheets put a mark in front
    except UnicodeDecodeError:
        raise UserError(f"{path} is no text in UTF-8; save it as such") from None
    rows = csv.DictReader(io.StringIO(text, newline=""))
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
