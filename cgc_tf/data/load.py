"""A dataset by its name: a TFDS builder or a folder of pictures, as a `Source`."""

import os
import pathlib

import numpy as np
import tensorflow as tf

from cgc_tf.common.errors import UserError
from cgc_tf.data import folder, pictures, tfds_datasets
from cgc_tf.data.source import Source, on_cpu

KNOWN = (*tfds_datasets.DATASETS, "folder")


def load_dataset(dataset, data_dir=None, on_bad_image="fail"):
    """Opens a dataset by name, preparing it where it must be.

    Args:
        dataset: one of `KNOWN`.
        data_dir: the folder of pictures (`folder`), or where TFDS keeps its data (None: TFDS's own default).
        on_bad_image: "fail" or "skip", for pictures of a folder that cannot be decoded.

    Raises:
        UserError: for an unknown dataset, or data that cannot be used.
    """
    check(dataset, data_dir)
    if dataset == "folder":
        return _from_folder(folder.read(pathlib.Path(data_dir), on_bad_image))
    return Source(dataset, **tfds_datasets.read(dataset, data_dir))


def check(dataset, data_dir=None, kind=""):
    """Raises `UserError` unless `dataset` is known and has what it needs by name; reads nothing.

    `kind` is "unlabeled_" where it is `--unlabeled_dataset` that is checked.
    """
    if dataset not in KNOWN:
        raise UserError(f"unknown --{kind}dataset={dataset}; known: {', '.join(KNOWN)}")
    if dataset == "folder" and not data_dir:
        raise UserError(
            f"--{kind}dataset=folder needs --{kind}data_dir=DIR with DIR/train/<class>/ and DIR/test/<class>/"
        )


def _from_folder(found):
    splits = sorted({picture.split for picture in found.files})
    files = {split: [picture for picture in found.files if picture.split == split] for split in splits}
    columns = {split: _columns(of_split, found.boxes) for split, of_split in files.items()}
    all_upright = all(picture.orientation == 1 for picture in found.files)

    def decode(split, index):
        columns_here = columns[split]
        image = folder.decode_image(tf.io.read_file(tf.gather(columns_here["path"], index)))
        if not all_upright:
            image = pictures.upright(image, tf.gather(columns_here["orientation"], index))
        start, end = tf.unstack(tf.gather(columns_here["rows"], index))
        return {
            "image": image,
            "label": tf.gather(columns_here["label"], index),
            "boxes": columns_here["boxes"][start:end],
            "id": tf.gather(columns_here["id"], index),
        }

    def complaint(split, index, reason):
        return f"{files[split][index].path} ({reason}); {folder.REMEDY}"

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
    """What is known of a split's pictures, as tensors. Of boxes, which rows of `boxes` are a picture's: `rows`."""
    found = [boxes.get(picture.id, ()) for picture in files]
    ends = np.cumsum([0, *map(len, found)])
    return {
        "path": on_cpu([picture.path for picture in files], tf.string),
        "id": on_cpu([picture.id for picture in files], tf.string),
        "label": on_cpu([picture.label for picture in files], tf.int32),
        "orientation": on_cpu([picture.orientation for picture in files], tf.int32),
        "rows": on_cpu(np.stack([ends[:-1], ends[1:]], 1), tf.int64),
        "boxes": on_cpu(np.reshape([box for row in found for box in row], [-1, 4]), tf.float32),
    }
