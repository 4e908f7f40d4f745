"""A user's own pictures: DIR/{train,test}/<class>/*.{jpg,jpeg,png} and, where present, DIR/boxes.csv.

Everything but the pixels is checked here, before any long work, and a fault is named with the file it is in. The pixels
of a file that looks whole are decoded when it is its turn, unless bad ones are to be skipped: then all are, beforehand,
so that a run's examples are known when it starts.
"""

import dataclasses
from concurrent import futures

import tensorflow as tf
from tqdm import tqdm

from cgc_tf.common.errors import UserError
from cgc_tf.data import box_files, pictures
from cgc_tf.data.listing import Picture, list_pictures

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


def read(root, on_bad_image="fail"):
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
    boxes = box_files.read(root / "boxes.csv", {picture.id for picture in files})
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
        orientation, fault = pictures.examine(picture.path, decode_image)
        if thorough and not fault:
            fault = pictures.decoding_fault(picture.path, decode_image)
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
