"""The `flowers102` dataset: photographs of flowers, with masks and boxes."""

import io
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from cgc_tf.data.datasets import boxes, files

HOME = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"
LICENSE = "Its publisher states none; the photographs are their owners'."
URLS = {
    "images": HOME + "102flowers.tgz",
    "masks": HOME + "102segmentations.tgz",
    "labels": HOME + "imagelabels.mat",
    "splits": HOME + "setid.mat",
}
MD5S = {"masks": "51375996b6c4f367a4b9f4492d7ecef5"}  # the others' SHA-256 are in checksums.tsv
SPLITS = {"train": "trnid", "validation": "valid", "test": "tstid"}  # TFDS's name -> setid.mat's
BACKGROUND = (0, 0, 254)
TOLERANCE = 60  # of each channel; JPEG moves the color of the background


class Builder(tfds.core.GeneratorBasedBuilder):
    """Builds `flowers102`; importing this module registers it with TFDS."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "Initial release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"Nothing, or the files of {HOME} where they cannot be downloaded from here."

    def _info(self) -> tfds.core.DatasetInfo:
        # The files number the classes only; TFDS's own dataset of these photographs names them.
        names = tfds.builder("oxford_flowers102").info.features["label"].names
        mask = tfds.features.Image(shape=(None, None, 1), encoding_format="png")
        return boxes.photographs(self, HOME, LICENSE, names, segmentation_mask=mask)

    def _split_generators(self, dl_manager):
        paths = files.fetch(dl_manager, URLS, MD5S)
        labels, splits = files.read_mat(paths["labels"])["labels"], files.read_mat(paths["splits"])
        return {
            split: self._generate_examples(
                dl_manager.iter_archive(paths["images"]),
                dl_manager.iter_archive(paths["masks"]),
                {f"{number:05d}": int(labels[number - 1]) - 1 for number in np.atleast_1d(splits[key])},
            )
            for split, key in SPLITS.items()
        }

    def _generate_examples(self, images, segmented, labels):
        cut_out = {number: contents for number, contents in members(segmented, "segmim_", labels)}
        for number, contents in members(images, "image_", labels):
            mask = flower_mask(Image.open(io.BytesIO(cut_out[number])))
            example = {
                "image": contents,
                "label": labels[number],
                "boxes": boxes.of_mask(mask),
                "segmentation_mask": mask[..., None],
                "id": f"image_{number}",
            }
            yield number, example


def members(archive, prefix, wanted):
    """Yields `(number, contents)` of an archive's `<prefix><number>.jpg` whose number, five digits, is wanted."""
    for path, file in archive:
        name = path.rsplit("/", 1)[-1]
        number = name.removeprefix(prefix).removesuffix(".jpg")
        if name.startswith(prefix) and number in wanted:
            yield number, file.read()


def flower_mask(segmented):
    """The flower of a photograph whose background is painted blue: uint8 `[H, W]`, 255 on the flower, else 0."""
    distance = np.abs(np.asarray(segmented.convert("RGB"), np.int16) - np.array(BACKGROUND, np.int16)).max(-1)
    return np.where(distance > TOLERANCE, 255, 0).astype(np.uint8)
