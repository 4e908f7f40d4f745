"""The `fgvc_aircraft` dataset: photographs of aircraft, with boxes, at three levels of fineness."""

import io
from typing import ClassVar

import tensorflow_datasets as tfds
from PIL import Image

from cgc_tf.data.datasets import boxes, files

HOME = "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/"
LICENSE = "For non-commercial research only; the photographs are their photographers'."
URLS = {"archive": HOME + "archives/fgvc-aircraft-2013b.tar.gz"}
MD5S = {"archive": "d4acdd33327262359767eeaa97a4f732"}
BANNER = 20  # pixels at the bottom of each photograph, with its copyright
SPLITS = {"train": "train", "validation": "val", "test": "test"}  # TFDS's name -> the archive's
LEVELS = {"variant": "variants.txt", "family": "families.txt", "manufacturer": "manufacturers.txt"}


class Builder(tfds.core.GeneratorBasedBuilder):
    """Builds `fgvc_aircraft`; importing this module registers it with TFDS."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "Initial release, of the archive 2013b."}
    BUILDER_CONFIGS: ClassVar = [
        tfds.core.BuilderConfig(name=level, description=f"Labeled by {level}.") for level in LEVELS
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"Nothing, or {URLS['archive']} where it cannot be downloaded from here."

    def _info(self) -> tfds.core.DatasetInfo:
        return boxes.photographs(self, HOME, LICENSE)

    def _split_generators(self, dl_manager):
        archive = files.fetch(dl_manager, URLS, MD5S)["archive"]
        members = dl_manager.iter_archive(archive)
        texts = {
            name.rsplit("/", 1)[-1]: file.read().decode()
            for name, file in members
            if "/data/" in name and name.endswith(".txt")
        }
        level = self.builder_config.name
        self.info.features["label"].names = lines(texts, LEVELS[level])
        rectangles = {name: tuple(map(int, rest)) for name, *rest in map(str.split, lines(texts, "images_box.txt"))}
        return {
            split: self._generate_examples(
                dl_manager.iter_archive(archive),
                dict(line.split(maxsplit=1) for line in lines(texts, f"images_{level}_{part}.txt")),
                rectangles,
            )
            for split, part in SPLITS.items()
        }

    def _generate_examples(self, members, labels, rectangles):
        for path, file in members:
            name = path.rsplit("/", 1)[-1].removesuffix(".jpg")
            if path.endswith(".jpg") and name in labels:
                image, box = cut(Image.open(file), *rectangles[name])
                yield name, {"image": as_jpeg(image), "label": labels[name], "boxes": box, "id": name}


def lines(texts, name):
    """The lines of one of the archive's lists that are not blank."""
    return [line.strip() for line in texts[name].splitlines() if line.strip()]


def cut(photograph, xmin, ymin, xmax, ymax):
    """Cuts the banner off a photograph, and its box with it.

    Args:
        photograph: a `PIL.Image.Image`.
        xmin, ymin, xmax, ymax: the box's first and last pixels, counted from 1.

    Returns:
        `(image, boxes)`: the `PIL.Image.Image` without its lowest `BANNER` rows, and a list of one
        `tfds.features.BBox` relative to it, or of none where the box lies in the banner.
    """
    width, height = photograph.width, photograph.height - BANNER
    image = photograph.convert("RGB").crop((0, 0, width, height))
    return image, boxes.from_edges(xmin - 1, ymin - 1, xmax, ymax, width, height)


def as_jpeg(image):
    """A JPEG of an image, as a file: quality 95, colors at full resolution."""
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=95, subsampling=0)
    encoded.seek(0)
    return encoded
