"""The `imagenet100` dataset: a hundred classes of `imagenet`, those in wnids.txt."""

import pathlib

from cgc_tf.data.datasets.imagenet import imagenet_dataset_builder


class Builder(imagenet_dataset_builder.Builder):
    """Builds `imagenet100`; importing this module registers it with TFDS."""

    @classmethod
    def wnids(cls) -> list[str]:
        """The WordNet ids of the classes, sorted: a label is an index into them."""
        return sorted(pathlib.Path(__file__).with_name("wnids.txt").read_text().split())
