"""The views of one example: two random ones and the center, drawn from seeds alone.

A view depends on the run's seed, the pass over the data and the example's id, and on nothing else: not on the order in
which examples are read, nor on how many are read at once.
"""

import tensorflow as tf

from cgc_tf.data.augmentation import Augmentation, augment
from cgc_tf.method import geometry, resizing
from cgc_tf.method.objective import VIEWS

NONE = Augmentation()


def training_views(example, seed, size, wanted=VIEWS, augmentation=NONE):
    """The views of one example (reference implementation, UCDvision/CGC).

    Args:
        example: a decoded example of a `Source`.
        seed: int `[2]`: the run's seed and the pass over the data.
        size: the side of the views in pixels.
        wanted: which of `VIEWS` are needed.
        augmentation: an `Augmentation`: what else is changed in `ce` and `augmented`.

    Returns:
        `ce`: a random crop of the file, flipped or not; `original`: its center view, which is never changed;
        `augmented`: `transform` of `original`; and `label`.
    """
    image, seed = example["image"], example_seed(example["id"], seed)
    views = {"label": example["label"]}
    if "ce" in wanted:
        views["ce"] = geometry.transform_image(image, ce_transform(seed, tf.shape(image)), size)
    if "original" in wanted or "augmented" in wanted:
        views["original"], _ = original_view(image, size)
    if "augmented" in wanted:
        views["transform"] = geometry.draw_transform(tf.random.split(seed, 3)[2], size)
        views["augmented"] = geometry.transform_image(views["original"], views["transform"], size)
    return augment(views, seed, augmentation)


def example_seed(example_id, seed) -> tf.Tensor:
    """The stateless seed, int64 `[2]`, of an example in a pass; `seed` as in `training_views`."""
    number = tf.strings.to_hash_bucket_fast(example_id, 2**31 - 1)
    # `fold_in` is declared as an int.
    return tf.random.fold_in(tf.cast(seed, tf.int64), number)  # pyright: ignore[reportReturnType]


def ce_transform(seed, shape):
    """The crop and flip, int32 `[5]`, that make `ce` of a picture of shape `[H, W, ...]`, by an `example_seed`."""
    seeds = tf.random.split(seed, 3)
    flip = tf.cast(tf.random.stateless_uniform([1], seeds[0]) < 0.5, tf.int32)
    return tf.concat([geometry.draw_crop(seeds[1], shape[0], shape[1]), flip], 0)


def original_view(image, size):
    """The evaluation view of an image: shorter side to 256/224 of `size`, then the central square.

    Returns:
        `(view, box)`: uint8 `[size, size, 3]`, and float32 `[4]`, the part of the image that it shows.
    """
    shape = tf.shape(image)
    resized, box = geometry.center_view(shape[0], shape[1], size)
    start = tf.cast(tf.round(box[:2] * tf.cast(resized, tf.float32)), tf.int32)
    view = resizing.resize_and_cut(image, resized, start, (size, size))
    return tf.ensure_shape(view, [size, size, 3]), box
