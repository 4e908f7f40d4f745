"""The views of one example: two random ones and the center, drawn from seeds alone.

A view depends on the run's seed, the pass over the data and the example's id, and on nothing else: not on the order in
which examples are read, nor on how many are read at once.
"""

import tensorflow as tf

from cgc_tf.method import geometry, resizing
from cgc_tf.method.objective import VIEWS

JITTER = {"brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2}  # each times the strength, as in SimCLR


def training_views(example, seed, size, wanted=VIEWS, color_jitter=0.0):
    """The views of one example (reference implementation, UCDvision/CGC).

    Args:
        example: a decoded example of a `Source`.
        seed: int `[2]`: the run's seed and the pass over the data.
        size: the side of the views in pixels.
        wanted: which of `VIEWS` are needed.
        color_jitter: strength of the color jitter, 0 to 1, of `ce` and `augmented`; see `jitter_colors`.

    Returns:
        `ce`: a random crop of the file, flipped or not; `original`: its center view, whose colors are never changed;
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
    if color_jitter:
        for index, view in enumerate(("ce", "augmented")):
            if view in views:
                views[view] = jitter_colors(views[view], tf.random.fold_in(seed, index), color_jitter)
    return views


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
