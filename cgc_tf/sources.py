"""Where examples come from: a TFDS builder or a folder of pictures, behind one schema.

A `Source` gives light examples (nothing read or decoded yet), so that they can be shuffled cheaply, and a `decode`
that turns one into `image` uint8 `[H, W, 3]`, `label` int32, `boxes` float32 `[n, 4]` and `id` string.
"""

import dataclasses
import importlib
import pathlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from cgc_tf import folder
from cgc_tf.errors import UserError

TFDS_SOURCES = {"toy_aircraft": "cgc_tf.datasets.toy_aircraft.toy_aircraft_dataset_builder"}
TO_COME = {"aircraft": "FGVC-Aircraft's builder is not part of this version yet; try toy_aircraft or folder"}
KNOWN = (*TFDS_SOURCES, "folder")


@dataclasses.dataclass(frozen=True)
class Source:
    """A dataset with its splits.

    Attributes:
        name: the dataset's name.
        class_names: the classes' names; a label is an index into them.
        sizes: number of examples in each split; at least `train` and `test`.
        has_boxes: whether the objects' boxes are known.
        examples: a function, split -> `tf.data.Dataset` of light examples.
        decode: a function, light example -> {`image`, `label`, `boxes`, `id`}.
    """

    name: str
    class_names: tuple[str, ...]
    sizes: dict[str, int]
    has_boxes: bool
    examples: Callable
    decode: Callable

    @property
    def validation(self):
        """The split to watch while training: `validation` where there is one, else `test`. Nothing is chosen by it."""
        return "validation" if "validation" in self.sizes else "test"


def load(dataset, data_dir=None, on_bad_image="fail"):
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
    return _from_tfds(dataset, data_dir)


def labeled_part(source, fraction, seed):
    """Two sources: the share of a source's training examples whose labels are used, and the rest.

    The share is taken of each class, rounded, but one example at least; `seed` decides which.

    Raises:
        UserError: where nothing would be left.
    """
    labels = np.array([int(label) for label in source.examples("train").map(lambda example: example["label"])])
    rng, chosen = np.random.default_rng(seed), np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        chosen[members[: max(1, round(fraction * len(members)))]] = True
    if chosen.all():
        raise UserError(f"--labeled_fraction={fraction} of {len(labels)} training examples leaves none without a label")
    return _train_subset(source, chosen), _train_subset(source, ~chosen)


def _train_subset(source, chosen):
    mask = tf.constant(chosen)

    def examples(split):
        every = source.examples(split)
        if split != "train":
            return every
        return every.enumerate().filter(lambda index, _: mask[index]).map(lambda _, example: example)

    return dataclasses.replace(source, sizes={**source.sizes, "train": int(chosen.sum())}, examples=examples)


def check(dataset, data_dir=None, kind=""):
    """Raises `UserError` unless `dataset` is known and has what it needs by name; reads nothing.

    `kind` is "unlabeled_" where it is `--unlabeled_dataset` that is checked.
    """
    if dataset in TO_COME:
        raise UserError(f"--{kind}dataset={dataset}: {TO_COME[dataset]}")
    if dataset not in KNOWN:
        raise UserError(f"unknown --{kind}dataset={dataset}; known: {', '.join(KNOWN)}")
    if dataset == "folder" and not data_dir:
        raise UserError(
            f"--{kind}dataset=folder needs --{kind}data_dir=DIR with DIR/train/<class>/ and DIR/test/<class>/"
        )


def _from_tfds(dataset, data_dir):
    import tensorflow_datasets as tfds

    importlib.import_module(TFDS_SOURCES[dataset])
    builder = tfds.builder(dataset, data_dir=data_dir)
    try:
        builder.download_and_prepare()
    except OSError as error:
        raise UserError(
            f"{dataset} cannot be prepared in {builder.data_dir}: {error}; try another --data_dir"
        ) from error

    def examples(split):
        config = tfds.ReadConfig(shuffle_seed=None, interleave_cycle_length=1)
        skip = {"image": tfds.decode.SkipDecoding(), "segmentation_mask": tfds.decode.SkipDecoding()}
        return builder.as_dataset(split=split, decoders=skip, read_config=config)

    def decode(example):
        return {
            "image": folder.decode_image(example["image"]),
            "label": tf.cast(example["label"], tf.int32),
            "boxes": tf.reshape(example["bbox"], [-1, 4]),
            "id": example["id"],
        }

    sizes = {name: split.num_examples for name, split in builder.info.splits.items()}
    names = tuple(builder.info.features["label"].names)
    return Source(dataset, names, sizes, True, examples, decode)


def _from_folder(pictures):
    def examples(split):
        chosen = [picture for picture in pictures.files if picture.split == split]
        boxes = [pictures.boxes.get(picture.id, []) for picture in chosen]
        ragged = tf.RaggedTensor.from_row_lengths(
            tf.reshape(tf.constant([box for rows in boxes for box in rows], tf.float32), [-1, 4]),
            [len(rows) for rows in boxes],
        )
        columns = {
            "path": tf.constant([str(picture.path) for picture in chosen]),
            "id": tf.constant([picture.id for picture in chosen]),
            "label": tf.constant([picture.label for picture in chosen], tf.int32),
            "boxes": ragged,
        }
        return tf.data.Dataset.from_tensor_slices(columns)

    def decode(example):
        return {
            "image": folder.decode_image(tf.io.read_file(example["path"])),
            "label": example["label"],
            "boxes": tf.reshape(example["boxes"], [-1, 4]),
            "id": example["id"],
        }

    splits = sorted({picture.split for picture in pictures.files})
    sizes = {split: sum(picture.split == split for picture in pictures.files) for split in splits}
    return Source("folder", pictures.class_names, sizes, bool(pictures.boxes), examples, decode)
