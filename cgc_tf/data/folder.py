"""A user's own pictures as a `Source`: DIR/{train,test}/<class>/*.jpg, or DIR/<class>/*.jpg that `splits` divides.

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
from cgc_tf.data import pictures
from cgc_tf.data.folder_listing import ENDINGS, WHOLE, Picture, list_pictures
from cgc_tf.data.objects import boxes_csv, drawn, find
from cgc_tf.data.source import Source, on_cpu
from cgc_tf.data.splits import Splits

PART, SHOWN = 256, 20
REMEDY = "fix or remove it, or pass --on_bad_image=skip"


@dataclasses.dataclass(frozen=True)
class Pictures:
    """The folder's class names, files, boxes: {id: [[ymin, xmin, ymax, xmax], ...]} in [0, 1], and objects with masks.

    `skipped` says of each picture that was left out which it is, and why.
    """

    class_names: tuple[str, ...]
    files: list[Picture]
    boxes: dict[str, list]
    masks: dict[str, list[drawn.Drawn]] = dataclasses.field(default_factory=dict)
    skipped: tuple[str, ...] = ()


def source_of(found: Pictures) -> Source:
    """A folder's pictures as a `Source`."""
    files = {"train": []}
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
        example = {"image": image, "label": row["label"], "boxes": boxes, "id": row["id"]}
        return {**example, "mask": _mask(image, row["id"], found.masks)} if found.masks else example

    def complaint(split, index, reason):
        return f"{files[split][index].path} ({reason}); {REMEDY}"

    def version():
        stats = [(p.id, p.split, os.stat(p.path)) for p in found.files]
        facts = [(*name, stat.st_size, stat.st_mtime_ns) for *name, stat in stats]
        return repr(facts + sorted(found.boxes.items()) + sorted(found.masks))

    def listing():
        return [(picture.id, picture.split, os.stat(picture.path).st_size) for picture in found.files]

    return Source(
        name="folder",
        class_names=found.class_names,
        labels={split: np.array([p.label for p in of_split], np.int32) for split, of_split in files.items()},
        has_boxes=bool(found.boxes),
        has_masks=bool(found.masks),
        decode=decode,
        complaint=complaint,
        skipped=found.skipped,
        version=version,
        listing=listing,
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


def read(
    root: pathlib.Path,
    on_bad_image: str = "fail",
    splits: Splits = WHOLE,
    record: pathlib.Path | None = None,
    objects: str = "",
) -> Pictures:
    """Lists and checks a folder of pictures.

    Args:
        root: the folder, laid out as this module says. `validation` (or `val`, `valid`) is a third, optional split.
        on_bad_image: "fail", or "skip" to name, count and leave out pictures that cannot be decoded.
        splits: what is taken of the pictures to train on for a split that has no folder.
        record: the `splits.csv` of a run, whose splits these are to be; None for those that `splits` makes.
        objects: where the objects are, in one of `find.FORMS`; "" for boxes.csv and masks/ in the folder, or nothing.

    Raises:
        UserError: naming the folder, file or row at fault, and how to fix it.
    """
    class_names, files = list_pictures(root, splits, record)
    _check_complete(root, class_names, files)
    _note_case(files)
    if not objects:  # before what takes long
        boxes_csv.read(root / find.BOXES, {picture.id for picture in files}, root)
    readable, faults = _examined(files, thorough=on_bad_image == "skip")
    if faults and on_bad_image == "fail":
        raise UserError(f"{len(faults)} of {len(files)} pictures cannot be read, the first: {faults[0]}; {REMEDY}")
    if faults:
        for text in faults[:SHOWN]:
            print(f"skipped: {text}")
        print(f"skipped {len(faults)} of {len(files)} pictures")
    _check_complete(root, class_names, readable)
    boxes, masks = find.read(objects, root, readable, class_names)
    return Pictures(class_names, readable, boxes, masks, tuple(faults))


def _mask(image, identity, masks):
    """The mask, uint8 `[H, W, 1]`, of a decoded picture, a tensor, by its id."""

    def draw(name, shape):
        return drawn.mask_of(masks.get(name.decode(), []), *shape[:2])[..., None]

    # Stateless, or tf.data would draw it where nobody asks for it, and one at a time.
    mask = tf.numpy_function(draw, [identity, tf.shape(image)], tf.uint8, stateful=False)
    return tf.ensure_shape(mask, [None, None, 1])


def _check_complete(root, class_names, files):
    """Raises `UserError` where nothing is left to test on, or of a class to train on, if anything is trained on."""
    present = {(picture.split, picture.label) for picture in files}
    found, lacking = {split for split, _ in present}, []
    if "train" in found or (root / "train").is_dir():
        within = root / "train" if (root / "train").is_dir() else root
        lacking = [within / name for label, name in enumerate(class_names) if ("train", label) not in present]
    if "test" not in found:
        lacking.append(root / "test")
    if lacking:
        raise UserError(f"{lacking[0]} contains no readable picture ({', '.join(ENDINGS)}); add some, or remove it")


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
