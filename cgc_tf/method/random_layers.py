"""Random layers inside a classifier: what draws the same for both heatmaps, and what moves the picture."""

import keras
import tensorflow as tf

# The views are crops and flips already, and only of those is it known where they have put what a heatmap shows.
MOVING = (
    "RandomElasticTransform",
    "RandomFlip",
    "RandomPerspective",
    "RandomRotation",
    "RandomShear",
    "RandomTranslation",
    "RandomZoom",
)


def moves(operation: keras.layers.Layer) -> bool:
    """Whether an operation moves the content of pictures at random while training, and else does nothing.

    Raises:
        ValueError: it does so, and something else besides.
    """
    is_keras = isinstance(operation, keras.layers.Layer) and type(operation).__module__.startswith("keras.")
    name = type(operation).__name__
    if is_keras and name in ("RandomCrop", "RandAugment", "AugMix"):
        raise ValueError(f"{name} moves what a heatmap shows: take it out of the classifier; the views are crops")
    return is_keras and name in MOVING


class Draws:
    """What a model's random layers are about to draw: to be drawn once more after `again`."""

    def __init__(self, model: keras.Model):
        seeds = [v for v in model.non_trainable_variables if v.name == "seed_generator_state"]
        self._before = [(seed, tf.identity(seed.value)) for seed in seeds]

    def again(self) -> None:
        """Sets the layers back to where they were."""
        for seed, value in self._before:
            seed.assign(value)
