"""The datasets that come from TFDS builders: which there are, and how each is read.

A new one is a builder in `datasets/` and a line in `DATASETS`.
"""

import dataclasses
import importlib

import numpy as np
import requests
import tensorflow as tf

from cgc_tf import folder
from cgc_tf.errors import UserError


@dataclasses.dataclass(frozen=True)
class TfdsDataset:
    """Where a dataset comes from.

    Attributes:
        builder: TFDS's name of the builder, with its configuration after a slash.
        module: what to import so that TFDS knows the builder.
        splits: {our split: TFDS's split}; TFDS's may be slices and sums, as in "train+validation".
        is_large: whether a split is too much for the memory, so that records are read by their index.
        id: the feature that tells examples apart.
        label_name: the feature that holds the label's name, where the label itself has numbers only.
    """

    builder: str
    module: str
    splits: dict[str, str]
    is_large: bool = False
    id: str = "id"
    label_name: str = ""


def _own(builder, splits, **others):
    name = builder.split("/", 1)[0]
    return TfdsDataset(builder, f"cgc_tf.datasets.{name}.{name}_dataset_builder", splits, **others)


THREE = {split: split for split in ("train", "validation", "test")}
TWO = {split: split for split in ("train", "test")}
LABELLED_TEST = {"train": "train", "test": "validation"}  # the official test labels are not public

DATASETS = {
    "toy_aircraft": _own("toy_aircraft", THREE),
    "aircraft": _own("fgvc_aircraft/variant", THREE),
    "aircraft_family": _own("fgvc_aircraft/family", THREE),
    "aircraft_manufacturer": _own("fgvc_aircraft/manufacturer", THREE),
    "cars196": _own("stanford_cars196", TWO),
    "cub200": TfdsDataset(
        "caltech_birds2011",
        "tensorflow_datasets.image_classification.caltech_birds",
        TWO,
        id="image/filename",
        label_name="label_name",
    ),
    "flowers102": _own("flowers102", THREE),
    "imagenet": _own("imagenet", LABELLED_TEST, is_large=True),
    "imagenet100": _own("imagenet100", LABELLED_TEST, is_large=True),
}


def read(name, data_dir=None):
    """Opens one of `DATASETS`, preparing it where that has not been done.

    Args:
        name: its key.
        data_dir: where TFDS keeps its data; None for TFDS's own default.

    Returns:
        A dict of a `Source`'s attributes but its name.

    Raises:
        UserError: it cannot be prepared; says why, and which files to put where.
    """
    import tensorflow_datasets as tfds

    from cgc_tf import records

    dataset = DATASETS[name]
    builder = _prepared(name, dataset, data_dir)
    features = builder.info.features
    has_masks = "segmentation_mask" in features
    boxes = "boxes" if "boxes" in features else "bbox"
    encoded = ("image", "segmentation_mask") if has_masks else ("image",)
    decoders = {key: tfds.decode.SkipDecoding() for key in encoded}
    examples, parse = (records.by_index if dataset.is_large else records.stream)(builder, dataset.splits, decoders)

    def decode(example):
        example = parse(example)
        decoded = {
            "image": folder.decode_image(example["image"]),
            "label": tf.cast(example["label"], tf.int32),
            "boxes": tf.reshape(example[boxes], [-1, 4]),
            "id": example[dataset.id],
        }
        if has_masks:
            decoded["mask"] = _decode_mask(example["segmentation_mask"])
        return decoded

    return {
        "class_names": _class_names(builder, dataset),
        "sizes": {split: builder.info.splits[theirs].num_examples for split, theirs in dataset.splits.items()},
        "has_boxes": boxes in features,
        "has_masks": has_masks,
        "examples": examples,
        "decode": decode,
        "version": lambda: f"{builder.data_path} {builder.info.splits[dataset.splits['train']].num_examples}",
    }


def _prepared(name, dataset, data_dir):
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import download_manager

    importlib.import_module(dataset.module)
    file_format = {"file_format": "array_record"} if dataset.is_large else {}
    try:
        builder = tfds.builder(dataset.builder, data_dir=data_dir, **file_format)
    except ValueError as error:  # TFDS says so of another format than the one that is there
        raise UserError(
            f"{name} cannot be opened: {_line(error)}; remove what was prepared, or pass another --data_dir"
        ) from error
    try:
        builder.download_and_prepare()
    except UserError as error:
        raise UserError(f"{name} cannot be prepared: {error}") from error
    except (requests.RequestException, tfds.download.DownloadError) as error:
        manual = builder.data_dir_root / "downloads" / "manual"
        raise UserError(
            f"{name} cannot be downloaded; put a copy of the file into {manual} ({_line(error)})"
        ) from error
    except download_manager.NonMatchingChecksumError as error:
        raise UserError(f"{name} cannot be prepared: {_line(error)}; remove that file") from error
    except OSError as error:
        raise UserError(
            f"{name} cannot be prepared in {builder.data_dir}: {_line(error)}; try another --data_dir"
        ) from error
    return builder


def _line(error):
    return " ".join(str(error).split())


def _decode_mask(contents):
    grey = tf.io.decode_image(contents, channels=1, expand_animations=False)
    return tf.cast(tf.ensure_shape(grey, [None, None, 1]) > 127, tf.uint8)


def _class_names(builder, dataset):
    import tensorflow_datasets as tfds

    names = list(builder.info.features["label"].names)
    if dataset.label_name:
        wanted = tfds.decode.PartialDecoding({"label": True, dataset.label_name: True})
        unseen = np.ones(len(names), bool)
        for example in builder.as_dataset(split=dataset.splits["train"], decoders=wanted).as_numpy_iterator():
            names[example["label"]] = example[dataset.label_name].decode()
            unseen[example["label"]] = False
            if not unseen.any():
                break
    return tuple(names)
