"""Where examples come from: a TFDS builder or a folder of pictures, behind one schema.

A `Source` gives light examples (nothing decoded yet, of a folder nothing read), so that they can be shuffled cheaply,
and a `decode` that turns one into

    image   uint8 [H, W, 3]
    label   int32
    boxes   float32 [n, 4], ymin, xmin, ymax, xmax in [0, 1]; n may be 0
    mask    uint8 [H, W, 1], 1 on the object, else 0; only where the source has masks
    id      string, another one for each example of a split
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from cgc_tf import folder, headers, tfds_sources
from cgc_tf.errors import UserError

SKIPPED = "skipped.txt"  # in a workdir
KNOWN = (*tfds_sources.DATASETS, "folder")


@dataclasses.dataclass(frozen=True)
class Source:
    """A dataset with its splits.

    Attributes:
        name: the dataset's name.
        class_names: the classes' names; a label is an index into them.
        sizes: number of examples in each split; at least `train` and `test`.
        has_boxes: whether the objects' boxes are known.
        examples: a function, split -> `tf.data.Dataset` of light examples.
        decode: a function, light example -> {`image`, `label`, `boxes`, `id`}, and `mask` where there are masks.
        has_masks: whether the objects' masks are known.
        skipped: of each picture that was left out because it cannot be decoded, which it is and why.
        version: a function, () -> a text that is another one where the data has changed.
    """

    name: str
    class_names: tuple[str, ...]
    sizes: dict[str, int]
    has_boxes: bool
    examples: Callable
    decode: Callable
    has_masks: bool = False
    skipped: tuple[str, ...] = ()
    version: Callable = str

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
    return Source(dataset, **tfds_sources.read(dataset, data_dir))


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
    if dataset not in KNOWN:
        raise UserError(f"unknown --{kind}dataset={dataset}; known: {', '.join(KNOWN)}")
    if dataset == "folder" and not data_dir:
        raise UserError(
            f"--{kind}dataset=folder needs --{kind}data_dir=DIR with DIR/train/<class>/ and DIR/test/<class>/"
        )


def write_skipped(workdir, *opened):
    """Writes which pictures of the sources were left out, and why, into a workdir: `skipped.txt`, a line each."""
    lines = {line: None for source in opened if source for line in source.skipped}
    path = pathlib.Path(workdir) / SKIPPED
    if lines or path.exists():
        path.write_text("".join(f"{line}\n" for line in lines))


def bad_pictures_named(function):
    """Decorates a function of a `Config`: where a picture cannot be decoded half-way, the error says which.

    TensorFlow's own does not. The folders are then decoded once more, so that good pictures pay nothing for it.
    """

    @functools.wraps(function)
    def named(config, *arguments, **keywords):
        try:
            return function(config, *arguments, **keywords)
        except (tf.errors.InvalidArgumentError, tf.errors.NotFoundError):
            for dataset, root in (
                (config.dataset, config.data_dir),
                (config.unlabeled_dataset, config.unlabeled_data_dir or config.data_dir),
            ):
                if dataset == "folder":
                    folder.name_undecodable(pathlib.Path(root))
            raise

    return named


def _from_folder(pictures):
    # Of its boxes an example holds where they begin and end: 100,000 ragged rows would take seconds to go through.
    rows = [pictures.boxes.get(picture.id, ()) for picture in pictures.files]
    ends = np.cumsum([0, *map(len, rows)])
    boxes = tf.reshape(tf.constant([box for row in rows for box in row], tf.float32), [-1, 4])

    def examples(split):
        chosen = [index for index, picture in enumerate(pictures.files) if picture.split == split]
        files = [pictures.files[index] for index in chosen]
        columns = {
            "path": tf.constant([picture.path for picture in files]),
            "id": tf.constant([picture.id for picture in files]),
            "label": tf.constant([picture.label for picture in files], tf.int32),
            "orientation": tf.constant([picture.orientation for picture in files], tf.int32),
            "boxes": np.stack([ends[:-1], ends[1:]], 1)[chosen],
        }
        return tf.data.Dataset.from_tensor_slices(columns)

    all_upright = all(picture.orientation == 1 for picture in pictures.files)

    def decode(example):
        image = folder.decode_image(tf.io.read_file(example["path"]))
        return {
            "image": image if all_upright else headers.upright(image, example["orientation"]),
            "label": example["label"],
            "boxes": boxes[example["boxes"][0] : example["boxes"][1]],
            "id": example["id"],
        }

    def version():
        stats = [(picture.id, os.stat(picture.path)) for picture in pictures.files]
        return repr([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats] + sorted(pictures.boxes.items()))

    splits = sorted({picture.split for picture in pictures.files})
    sizes = {split: sum(picture.split == split for picture in pictures.files) for split in splits}
    found = {"skipped": pictures.skipped, "version": version}
    return Source("folder", pictures.class_names, sizes, bool(pictures.boxes), examples, decode, **found)
