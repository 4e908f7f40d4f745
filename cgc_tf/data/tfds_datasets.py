"""The datasets that come from TFDS builders: which there are, and how each is read.

A new one is a builder in `datasets/` and a line in `DATASETS`.
"""

import contextlib
import dataclasses
import importlib
import pathlib
import sys

import numpy as np
import requests
import tensorflow as tf
from google.protobuf import json_format

from cgc_tf.common.errors import UserError
from cgc_tf.data import pictures
from cgc_tf.data.folder_listing import holds_pictures
from cgc_tf.data.source import Source, reason


@dataclasses.dataclass(frozen=True)
class TfdsDataset:
    """Where a dataset comes from.

    Attributes:
        builder: TFDS's name of the builder, with its configuration after a slash.
        module: what to import so that TFDS knows the builder.
        splits: {our split: TFDS's split}; TFDS's may be slices and sums, as in "train+validation".
        id: the feature that tells examples apart.
        label_name: the feature that holds the label's name, where the label itself has numbers only.
    """

    builder: str
    module: str
    splits: dict[str, str]
    id: str = "id"
    label_name: str = ""


def _own(builder, splits, **others):
    name = builder.split("/", 1)[0]
    return TfdsDataset(builder, f"cgc_tf.data.datasets.{name}.{name}_dataset_builder", splits, **others)


UNREADABLE = (  # what TFDS and its file formats raise of prepared data that was changed or cut short
    json_format.Error,
    tf.errors.OpError,
    OSError,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
)
THREE = {split: split for split in ("train", "validation", "test")}
TWO = {split: split for split in ("train", "test")}
LABELED_TEST = {"train": "train", "test": "validation"}  # the official test labels are not public

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
    "imagenet": _own("imagenet", LABELED_TEST),
    "imagenet100": _own("imagenet100", LABELED_TEST),
}


def open_dataset(name: str, data_dir: str | None = None) -> Source:
    """Opens one of `DATASETS`, preparing it where that has not been done.

    Args:
        name: its key.
        data_dir: where TFDS keeps its data; None for TFDS's own default.

    Raises:
        UserError: it cannot be prepared, and why, and which files to put where; or what was prepared is damaged.
    """
    import tensorflow_datasets as tfds

    dataset = DATASETS[name]
    importlib.import_module(dataset.module)
    folder = pathlib.Path(data_dir or tfds.core.constants.DATA_DIR).expanduser() / dataset.builder
    with _readable(name, folder):
        builder = tfds.builder(dataset.builder, data_dir=data_dir)
        is_prepared = builder.data_path.exists()
    if not is_prepared:
        if data_dir and holds_pictures(pathlib.Path(data_dir)):
            raise UserError(
                f"--data_dir={data_dir} is a folder of pictures, into which --dataset={name} would be written: add "
                "--dataset=folder, or choose another folder"
            )
        builder = _prepare(name, dataset, data_dir)
    with _readable(name, folder):
        return _source(name, dataset, builder, folder)


@contextlib.contextmanager
def _readable(name, folder):
    """Says in one line that prepared data cannot be read."""
    try:
        yield
    except UserError:
        raise
    except UNREADABLE as error:
        raise UserError(
            f"{name} was prepared in {folder}, but cannot be read from there ({reason(error)}); if it is damaged, "
            "remove that folder, and it is prepared again"
        ) from error


def _source(name, dataset, builder, folder):
    import tensorflow_datasets as tfds

    from cgc_tf.data import tfds_records

    # From the folder, since the builder's own code does not know of file formats that were added.
    builder = tfds.builder_from_directory(builder.data_path)
    _check_format(name, builder, tfds_records.FORMAT)
    tfds_records.check(builder)
    features = builder.info.features
    has_masks = "segmentation_mask" in features
    boxes = "boxes" if "boxes" in features else "bbox"
    encoded = ("image", "segmentation_mask") if has_masks else ("image",)
    decoders = {key: tfds.decode.SkipDecoding() for key in encoded}
    parse, labels = tfds_records.by_index(builder, dataset.splits, decoders)

    def decode(split, index):
        example = parse(split, index)
        decoded = {
            "image": pictures.decode_image(example["image"]),
            "label": tf.cast(example["label"], tf.int32),
            "boxes": tf.reshape(example[boxes], [-1, 4]),
            "id": example[dataset.id],
        }
        if has_masks:
            decoded["mask"] = _decode_mask(example["segmentation_mask"])
        return decoded

    def complaint(split, index, reason):
        return f"number {index}, from 0, in {builder.data_path} ({reason}); remove {folder}, and it is prepared again"

    return Source(
        name=name,
        class_names=_class_names(builder, dataset, parse, labels["train"]),
        labels=labels,
        has_boxes=boxes in features,
        has_masks=has_masks,
        decode=decode,
        complaint=complaint,
        version=lambda: f"{builder.data_path} {len(labels['train'])}",
    )


def _prepare(name, dataset, data_dir):
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import download_manager

    from cgc_tf.data.tfds_records import FORMAT

    builder = tfds.builder(dataset.builder, data_dir=data_dir, file_format=FORMAT)
    if not sys.stderr.isatty():  # as of our own bars; in a file each step of TFDS' would be a line
        tfds.disable_progress_bar()
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


def _check_format(name, builder, wanted):
    """Raises `UserError` unless a prepared builder's records are there in the file format `wanted`."""
    path, formats = builder.data_path, [each.value for each in builder.info.available_file_formats()]
    if wanted not in formats:
        raise UserError(
            f"{name} was prepared in {path} as {', '.join(formats)}, and is read as {wanted}: remove that folder, and "
            "it is prepared again; or convert it, best in an environment of its own with `pip install "
            "tensorflow-datasets apache-beam`: python -m tensorflow_datasets.scripts.convert_format "
            f"--dataset_version_dir={path} --out_file_format={wanted}"
        )


def _line(error):
    return " ".join(str(error).split())


def _decode_mask(contents):
    gray = tf.io.decode_image(contents, channels=1, expand_animations=False)
    return tf.cast(tf.ensure_shape(gray, [None, None, 1]) > 127, tf.uint8)


def _class_names(builder, dataset, parse, labels):
    names = list(builder.info.features["label"].names)
    if dataset.label_name:
        for label, index in zip(*np.unique(labels, return_index=True), strict=True):
            names[label] = parse("train", tf.constant(index, tf.int64))[dataset.label_name].numpy().decode()
    return tuple(names)
