"""The `toy_aircraft` dataset: drawn, fine-grained, with a texture a classifier can cheat on."""

from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from cgc_tf.data.datasets.toy_aircraft import drawing

SPLIT_SIZES = {"train": 1024, "validation": 256, "test": 512}
_SEED = (1, 0, 0)  # of every picture; the version with which they last changed
_SHORTCUT = 0.7  # share of the train split whose texture is the one that goes with the class


class Builder(tfds.core.GeneratorBasedBuilder):
    """Builds `toy_aircraft`; importing this module registers it with TFDS."""

    VERSION = tfds.core.Version("1.0.1")
    RELEASE_NOTES: ClassVar = {
        "1.0.1": "The same pictures, kept as array_record: what an older version of this project drew is left alone.",
        "1.0.0": "Initial release.",
    }

    def _info(self) -> tfds.core.DatasetInfo:
        size = drawing.SIZE
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(size, size, 3), encoding_format="png"),
                    "label": tfds.features.ClassLabel(names=drawing.CLASSES),
                    "bbox": tfds.features.BBoxFeature(),
                    "segmentation_mask": tfds.features.Image(shape=(size, size, 1), encoding_format="png"),
                    "texture": np.int32,
                    "id": tfds.features.Text(),
                }
            ),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager):
        del dl_manager  # nothing to download
        return {split: self._generate_examples(split) for split in SPLIT_SIZES}

    def _generate_examples(self, split):
        for index in range(SPLIT_SIZES[split]):
            rng, label, texture = self.plan(split, index)
            image, mask = drawing.draw(rng, label, texture)
            name = f"{split}_{index:05d}"
            example = {
                "image": image,
                "label": label,
                "bbox": tfds.features.BBox(*drawing.bounding_box(mask)),
                "segmentation_mask": mask,
                "texture": texture,
                "id": name,
            }
            yield name, example

    @classmethod
    def plan(cls, split: str, index: int) -> tuple[np.random.Generator, int, int]:
        """Returns the (generator, label, texture) that fix one example of one version."""
        rng = np.random.default_rng([*_SEED, list(SPLIT_SIZES).index(split), index])
        label = index % len(drawing.CLASSES)
        texture = int(rng.integers(len(drawing.TEXTURES)))
        if split == "train" and rng.random() < _SHORTCUT:
            texture = label
        return rng, label, texture
