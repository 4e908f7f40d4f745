"""A user's own pictures as a `Source`: DIR/{train,test}/<class>/*.{jpg,jpeg,png} and, where present, DIR/boxes.csv.

Everything but the pixels is checked here, before any long work, and a fault is named with the file it is in. The pixels
of a file that looks whole are decoded when it is its turn, unless bad ones are to be skipped: then all are, beforehand,
so that a run's examples are known when it starts.
"""

import dataclasses
import os
import pathlib
from concurrent import futures

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from cgc_tf.common.errors import UserError
from cgc_tf.data import folder_boxes, pictures
from cgc_tf.data.folder_listing import Picture, list_pictures
from cgc_tf.data.source import Source, on_cpu

PART, SHOWN = 256, 20
REMEDY = "fix or remove it, or pass --on_bad_image=skip"


@dataclasses.dataclass(frozen=True)
class Pictures:
    """The folder's class names, files, and boxes: {id: [[ymin, xmin, ymax, xmax], ...]} in [0, 1].

    `skipped` says of each picture that was left out which it is, and why.
    """

    class_names: tuple[str, ...]
    files: list[Picture]
    boxes: dict[str, list]
    skipped: tuple[str, ...] = ()


def open_folder(root: pathlib.Path, on_bad_image: str = "fail") -> Source:
    """A folder of pictures as a `Source`; arguments and errors are those of `read`."""
    found = read(root, on_bad_image)
    files = {}
    for picture in sorted(found.files, key=lambda picture: picture.split):
        files.setdefault(picture.split, []).append(picture)
    columns = {split: _columns(of_split, found.boxes) for split, of_split in files.items()}
    all_upright = all(picture.orientation == 1 for picture in found.files)

    def decode(split, index):
        row = {name: tf.gather(column, index) for name, column in columns[split].items() if name != "boxes"}
        image = pictures.decode_image(tf.io.read_file(row["path"]))
        if not all_upright:
            image = pictures.upright(image, row["orientation"])
        boxes = columns[split]["boxes"][row["first_box"] : row["end_box"]]
        return {"image": image, "label": row["label"], "boxes": boxes, "id": row["id"]}

    def complaint(split, index, reason):
        return f"{files[split][index].path} ({reason}); {REMEDY}"

    def version():
        stats = [(picture.id, os.stat(picture.path)) for picture in found.files]
        return repr([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats] + sorted(found.boxes.items()))

    return Source(
        name="folder",
        class_names=found.class_names,
        labels={split: np.array([p.label for p in of_split], np.int32) for split, of_split in files.items()},
        has_boxes=bool(found.boxes),
        decode=decode,
        complaint=complaint,
        skipped=found.skipped,
        version=version,
    )


def _columns(files, boxes):
    """What is known of a split's pictures, as tensors; a picture has the `boxes` from `first_box` to `end_box`."""
    found = [boxes.get(picture.id, []) for picture in files]
    ends = np.cumsum([0, *map(len, found)])
    return {
        "path": on_cpu([picture.path for picture in files], tf.string),
        "id": on_cpu([picture.id for picture in files], tf.string),
        "label": on_cpu([picture.label for picture in files], tf.int32),
        "orientation": on_cpu([picture.orientation for picture in files], tf.int32),
        "first_box": on_cpu(ends[:-1], tf.int64),
        "end_box": on_cpu(ends[1:], tf.int64),
        "boxes": on_cpu(np.reshape([box for of_picture in found for box in of_picture], [-1, 4]), tf.float32),
    }


def read(root: pathlib.Path, on_bad_image: str = "fail") -> Pictures:
    """Lists and checks a folder of pictures.

    Args:
        root: the folder, laid out as this module says. `validation` (or `val`, `valid`) is a third, optional split.
        on_bad_image: "fail", or "skip" to name, count and leave out pictures that cannot be decoded.

    Raises:
        UserError: naming the folder, file or row at fault, and how to fix it.
    """
    class_names, files = list_pictures(root)
    _check_complete(root, class_names, files)
    _note_case(files)
    boxes = folder_boxes.read(root / "boxes.csv", {picture.id for picture in files})
    readable, faults = _examined(files, thorough=on_bad_image == "skip")
    if faults and on_bad_image == "fail":
        raise UserError(f"{len(faults)} of {len(files)} pictures cannot be read, the first: {faults[0]}; {REMEDY}")
    if faults:
        for text in faults[:SHOWN]:
            print(f"skipped: {text}")
        print(f"skipped {len(faults)} of {len(files)} pictures")
    _check_complete(root, class_names, readable)
    return Pictures(class_names, readable, boxes, tuple(faults))


def _check_complete(root, class_names, files):
    present = {(picture.split, picture.label) for picture in files}
    wanted = {root / "train" / name: ("train", label) in present for label, name in enumerate(class_names)}
    wanted[root / "test"] = any(split == "test" for split, _ in present)
    for folder, is_filled in wanted.items():
        if not is_filled:
            raise UserError(f"{folder} contains no readable .jpg, .jpeg or .png file; add some, or remove it")


def _note_case(files):
    seen = {}
    for picture in files:
        other = seen.setdefault(picture.id.lower(), picture.id)
        if other != picture.id:
            print(f"note: {other} and {picture.id} differ only in case; on some systems one would replace the other")


def _examined(files, thorough):
    """The files without a fault, their orientations known; and the faults of the others, named."""

    def examine(picture):
        orientation, fault = pictures.examine(picture.path)
        if thorough and not fault:
            fault = pictures.decoding_fault(picture.path)
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
