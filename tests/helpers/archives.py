"""Small archives in the official layouts, by dataset, and what is in them."""

import hashlib

from cgc_tf.data.datasets import dummy_data

FILES = {
    "aircraft": dummy_data.DATASETS / "fgvc_aircraft" / "dummy_data",
    "aircraft_family": dummy_data.DATASETS / "fgvc_aircraft" / "dummy_data",
    "aircraft_manufacturer": dummy_data.DATASETS / "fgvc_aircraft" / "dummy_data",
    "cars196": dummy_data.DATASETS / "stanford_cars196" / "dummy_data",
    "cub200": dummy_data.BIRDS,
    "flowers102": dummy_data.DATASETS / "flowers102" / "dummy_data",
    "imagenet": dummy_data.DATASETS / "imagenet" / "dummy_data",
    "imagenet100": dummy_data.DATASETS / "imagenet" / "dummy_data",
}
SIZES = {
    "toy_aircraft": {"train": 16, "validation": 8, "test": 8},
    "aircraft": {"train": 2, "validation": 1, "test": 2},
    "aircraft_family": {"train": 2, "validation": 1, "test": 2},
    "aircraft_manufacturer": {"train": 2, "validation": 1, "test": 2},
    "cars196": {"train": 3, "test": 1},
    "cub200": {"train": 2, "test": 2},
    "flowers102": {"train": 2, "validation": 1, "test": 2},
    "imagenet": {"train": 6, "test": 3},
    "imagenet100": {"train": 4, "test": 2},
}


def md5(folder, name):
    return hashlib.md5((FILES[folder] / name).read_bytes()).hexdigest()


def decoded(source, split):
    """A split's examples: {id: example}."""
    examples = source.decoded(split).as_numpy_iterator()
    return {example["id"].decode(): example for example in examples}
