"""Random changes of training views besides their crops and flips, drawn from an example's seed alone."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from cgc_tf.common import settings
from cgc_tf.common.settings import setting
from cgc_tf.data.rand_augment import MOST, rand_augment
from cgc_tf.method import geometry

JITTER = {"brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2}  # each times the strength, as in SimCLR
ERASED_AREA, ERASED_ASPECT = (0.02, 0.33), (0.3, 3.3)  # of the view, as in torchvision


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How views are changed; each is a flag.

    Only colors change in `augmented`, and nothing in `original`, so that it stays known where a heatmap's parts are.

    Raises:
        UserError: for a setting out of its bounds.
    """

    color_jitter: float = setting(
        0.0, "Strength of random changes of color, in the views ce and augmented; 0 for none.", least=0, most=1
    )
    rand_augment: int = setting(
        0, "RandAugment of the view ce alone: how many operations, one after the other; 0 for none.", least=0, most=20
    )
    rand_augment_magnitude: float = setting(
        9.0, "How much its operations change, 30 being the most.", least=0, most=MOST
    )
    random_erasing: float = setting(
        0.0, "Share of the views ce of which a random rectangle is filled with noise.", least=0, most=1
    )

    def __post_init__(self):
        settings.check_bounds(self)

    @staticmethod
    def of(known: Mapping[str, Any]) -> "Augmentation":
        """The `Augmentation` among settings, {name: value}."""
        return Augmentation(**{field.name: known[field.name] for field in dataclasses.fields(Augmentation)})


def augment(views: dict[str, tf.Tensor], seed: tf.Tensor, augmentation: Augmentation) -> dict[str, tf.Tensor]:
    """The views of an example, some of them changed; of `ce`, colors first, then RandAugment, erasing last.

    Args:
        views: {name: uint8 `[S, S, 3]`}, and what is left as it is.
        seed: int64 `[2]`, the example's `views.example_seed`.
        augmentation: an `Augmentation`.
    """
    views = dict(views)
    for index, view in enumerate(("ce", "augmented")):
        if augmentation.color_jitter and view in views:
            views[view] = jitter_colors(views[view], tf.random.fold_in(seed, index), augmentation.color_jitter)
    if "ce" in views and augmentation.rand_augment:
        count, magnitude = augmentation.rand_augment, augmentation.rand_augment_magnitude
        views["ce"] = rand_augment(views["ce"], tf.random.fold_in(seed, 2), count, magnitude)
    if "ce" in views and augmentation.random_erasing:
        views["ce"] = erase(views["ce"], tf.random.fold_in(seed, 3), augmentation.random_erasing)
    return views


def jitter_colors(image, seed, strength):
    """Changes brightness, contrast, saturation and hue of an image, in this order, each by a factor drawn uniformly.

    With strength s the first three factors lie in 1 - 0.8 s to 1 + 0.8 s, and the hue turns by up to 0.2 s of the
    circle (SimCLR, Chen et al. 2020, appendix A). Contrast is the distance from each channel's mean.

    Args:
        image: uint8 `[H, W, 3]`.
        seed: int `[2]`, a stateless seed.
        strength: s, a float, 0 to 1.

    Returns:
        uint8 `[H, W, 3]`.
    """
    drawn = tf.unstack(tf.random.stateless_uniform([len(JITTER)], seed, -1, 1))
    change = {name: strength * most * value for (name, most), value in zip(JITTER.items(), drawn, strict=True)}
    image = tf.minimum(tf.cast(image, tf.float32) / 255 * (1 + change["brightness"]), 1)
    image = tf.clip_by_value(tf.image.adjust_contrast(image, 1 + change["contrast"]), 0, 1)
    image = tf.image.adjust_saturation(image, 1 + change["saturation"])
    image = tf.image.adjust_hue(image, change["hue"])
    return tf.cast(tf.clip_by_value(image, 0, 1) * 255 + 0.5, tf.uint8)


def erase(image, seed, probability):
    """Fills a random rectangle of an image with noise, with some probability (Random Erasing, Zhong et al. 2017).

    The rectangle has 0.02 to 0.33 of the area, uniformly, and an aspect of 0.3 to 3.3, log-uniformly; each of its
    values is drawn by itself. Keras' layer of this name makes other rectangles, and fills half of them with black.

    Args:
        image: uint8 `[H, W, 3]`.
        seed: int `[2]`, a stateless seed.
        probability: a float, 0 to 1.

    Returns:
        uint8 `[H, W, 3]`.
    """
    seeds, shape = tf.random.split(seed, 3), tf.shape(image)
    box = geometry.draw_crop(seeds[0], shape[0], shape[1], ERASED_AREA, ERASED_ASPECT)
    rows, columns = (tf.range(shape[axis]) - box[axis] for axis in (0, 1))
    inside = ((rows >= 0) & (rows < box[2]))[:, None] & ((columns >= 0) & (columns < box[3]))
    inside &= tf.random.stateless_uniform([], seeds[1]) < probability
    noise = tf.random.stateless_uniform(shape, seeds[2], 0, 256, tf.int32)
    return tf.where(inside[..., None], tf.cast(noise, tf.uint8), image)
