"""Images at another size, as Pillow makes them: bilinear, antialiased where they shrink."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

Tensorlike = tf.Tensor | np.ndarray | Sequence | float  # what TensorFlow makes a tensor of


def resize_image(image: tf.Tensor, shape: Tensorlike, enlarges: bool = False) -> tf.Tensor:
    """Resizes an image as Pillow does: bilinear, half-pixel centers, antialiased where it shrinks.

    Args:
        image: `[H, W, 3]`, uint8 or float in 0..255; a batch, too, where it is known to enlarge.
        shape: int `[2]`, the new height and width.
        enlarges: whether it is known beforehand that neither side shrinks.

    Returns:
        uint8 `[*shape, 3]`, rounded half up. Pillow rounds between its two passes as well, so that it differs by 1
        here and there.
    """
    if enlarges:
        return _to_uint8(tf.image.resize(tf.cast(image, tf.float32), shape), image.dtype)  # uint8 takes twice as long
    return resize_and_cut(image, shape, (0, 0), shape)


def resize_and_cut(
    image: tf.Tensor, shape: Tensorlike, start: Tensorlike, kept: Tensorlike, flip: Tensorlike | None = None
) -> tf.Tensor:
    """A part of what `resize_image` gives, mirrored where `flip` is 1.

    Args:
        image: as of `resize_image`.
        shape: as of `resize_image`.
        start: int `[2]`, the part's first row and column.
        kept: int `[2]`, the part's height and width.
        flip: scalar int, 0 or 1; None is 0.

    Returns:
        uint8 `[*kept, 3]`.
    """
    # What this part does not depend on is cut off first.
    whole, start = tf.shape(image)[:2], tf.cast(start, tf.float32)
    scale = tf.cast(shape, tf.float32) / tf.cast(whole, tf.float32)
    reach = tf.math.ceil(tf.maximum(1 / scale, 1.0)) + 1
    low = tf.cast(tf.maximum(start / scale - reach, 0), tf.int32)
    high = tf.minimum(tf.cast((start + tf.cast(kept, tf.float32)) / scale + reach, tf.int32), whole)
    part = tf.slice(image, tf.pad(low, [[0, 1]]), tf.concat([high - low, [3]], 0))
    start -= tf.cast(low, tf.float32) * scale
    # TensorFlow's antialiasing works through a row of any length at once, but through a column tap by tap. So both
    # passes are over rows: three times as fast as `tf.image.resize(..., antialias=True)`.
    halfway = _resize_rows(part, scale[0], start[0], kept[0])
    turned = _resize_rows(tf.transpose(halfway, [1, 0, 2]), scale[1], start[1], kept[1])
    if flip is not None:
        turned = tf.raw_ops.Reverse(tensor=turned, dims=[flip > 0, False, False])
    return _to_uint8(tf.transpose(turned, [1, 0, 2]), image.dtype)


def _resize_rows(image, scale, start, kept):
    """Antialiased float32 rows `start` to `start + kept` of an image that becomes `scale` times as high."""
    height, width = tf.unstack(tf.shape(image)[:2])
    resized = tf.raw_ops.ScaleAndTranslate(
        images=tf.reshape(image, [1, height, 1, 3 * width]),
        size=[kept, 1],
        scale=[scale, 1.0],
        translation=[-start, 0.0],
        kernel_type="triangle",
        antialias=True,
    )
    return tf.reshape(resized, [kept, width, 3])


def _to_uint8(resized, before):
    if before != tf.uint8:  # else these are means of what lies in 0..255
        resized = tf.clip_by_value(resized, 0, 255)
    return tf.cast(resized + 0.5, tf.uint8)
