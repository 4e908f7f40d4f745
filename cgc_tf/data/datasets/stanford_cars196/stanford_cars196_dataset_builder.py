"""The `stanford_cars196` dataset: photographs of cars, with boxes, from files put in place by hand."""

from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from cgc_tf.common.errors import UserError
from cgc_tf.data.datasets import boxes, files

HOME = "https://ai.stanford.edu/~jkrause/cars/car_dataset.html"
LICENSE = "Its publisher states none; the photographs are their owners'."
ORIGIN = f"a copy of Stanford Cars ({HOME} no longer has them)"
SPLITS = {  # TFDS's name -> photographs, annotations
    "train": ("cars_train", "devkit/cars_train_annos.mat"),
    "test": ("cars_test", "devkit/cars_test_annos_withlabels.mat"),
}


class Builder(tfds.core.GeneratorBasedBuilder):
    """Builds `stanford_cars196`; importing this module registers it with TFDS."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "Initial release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"{', '.join(name for pair in SPLITS.values() for name in pair)}: from {ORIGIN}."

    def _info(self) -> tfds.core.DatasetInfo:
        return boxes.photographs(self, HOME, LICENSE)

    def _split_generators(self, dl_manager):
        names = [name for pair in SPLITS.values() for name in pair]
        paths = dict(zip(names, files.manual(dl_manager, names, ORIGIN), strict=True))
        self.info.features["label"].names = class_names(files.manual_folder(dl_manager) / "devkit" / "cars_meta.mat")
        return {
            split: self._generate_examples(split, paths[photographs], paths[annotations])
            for split, (photographs, annotations) in SPLITS.items()
        }

    def _generate_examples(self, split, photographs, annotations):
        for row in np.atleast_1d(files.read_mat(annotations)["annotations"]):
            name = str(row["fname"]).rsplit("/", 1)[-1]
            image = (photographs / name).read_bytes()
            with (photographs / name).open("rb") as file:
                width, height = Image.open(file).size
            first_x, first_y, last_x, last_y = (int(row[f"bbox_{key}"]) for key in ("x1", "y1", "x2", "y2"))
            box = boxes.from_edges(first_x - 1, first_y - 1, last_x, last_y, width, height)
            label, classes = int(row["class"]) - 1, self.info.features["label"].num_classes
            if label not in range(classes):  # TFDS takes -1 to be a label that is not known
                raise UserError(f"{annotations}, {name}: a class is 1 to {classes}. Received: {row['class']}")
            yield name, {"image": image, "label": label, "boxes": box, "id": f"{split}/{name}"}


def class_names(path):
    """The 196 names in the order of their numbers: those of `cars_meta.mat` where it is there, else TFDS's own."""
    if path.exists():
        return [str(name) for name in files.read_mat(path)["class_names"]]
    return tfds.builder("cars196").info.features["label"].names
