"""One random crop-and-flip, applied alike to images, boxes and heatmaps.

A transform T is int32 `[..., 5]`: top, left, height, width (whole pixels of the square view it is cut from) and
flip (0 or 1). On a heatmap T is linear and separable: `T(up(g)) = A_y g A_x^T`, with one small matrix for each
axis, so that neither training nor measuring ever needs the full-size map.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from cgc_tf.method import resizing
from cgc_tf.method.resizing import Tensorlike

AREA = (0.08, 1.0)
ASPECT = (3 / 4, 4 / 3)
TRIES = 10
LONGEST = 16  # times an image's shorter side: what a longer side is looked at in full


def draw_crop(
    seed: tf.Tensor | Sequence[int],
    height: Tensorlike,
    width: Tensorlike,
    areas: tuple[float, float] = AREA,
    aspects: tuple[float, float] = ASPECT,
) -> tf.Tensor:
    """Draws the crop of torchvision's RandomResizedCrop: area uniform, aspect log-uniform, ten tries.

    Args:
        seed: int `[2]`, a stateless seed.
        height: scalar int, the image's, in pixels.
        width: scalar int, the image's, in pixels.
        areas: least and most, as shares of the image's.
        aspects: least and most, width over height.

    Returns:
        int32 `[4]`: top, left, height, width. Where no try fits: the largest centered crop of allowed aspect.
    """
    seeds = tf.random.split(seed, 3)
    size = tf.cast([height, width], tf.float32)
    area = size[0] * size[1] * tf.random.stateless_uniform([TRIES], seeds[0], *areas)
    log_aspect = tf.random.stateless_uniform([TRIES], seeds[1], *np.log(aspects))
    heights = tf.round(tf.sqrt(area / tf.exp(log_aspect)))
    widths = tf.round(tf.sqrt(area * tf.exp(log_aspect)))
    fits = (heights >= 1) & (heights <= size[0]) & (widths >= 1) & (widths <= size[1])
    first = tf.argmax(tf.cast(fits, tf.int32))
    aspect = tf.clip_by_value(size[1] / size[0], *aspects)
    fallback = tf.round(tf.minimum(size, tf.stack([size[1] / aspect, size[0] * aspect])))
    crop = tf.where(tf.reduce_any(fits), tf.stack([heights[first], widths[first]]), fallback)
    room = size - crop
    offset = tf.where(
        tf.reduce_any(fits),
        tf.floor(tf.random.stateless_uniform([2], seeds[2]) * (room + 1)),
        tf.floor(room / 2),
    )
    return tf.cast(tf.concat([offset, crop], 0), tf.int32)


def draw_transform(seed: tf.Tensor | Sequence[int], size: int) -> tf.Tensor:
    """Draws T for a square view of `size` pixels: `draw_crop`, then a flip with probability one half.

    Returns:
        int32 `[5]`: top, left, height, width, flip.
    """
    seeds = tf.random.split(seed, 2)
    flip = tf.cast(tf.random.stateless_uniform([1], seeds[1]) < 0.5, tf.int32)
    return tf.concat([draw_crop(seeds[0], size, size), flip], 0)


def transform_image(image: tf.Tensor, transform: Tensorlike, size: int) -> tf.Tensor:
    """Cuts, resizes (see `resizing.resize_image`) and flips one image.

    Args:
        image: `[H, W, 3]`, uint8 or float in 0..255.
        transform: int32 `[5]`.
        size: the side of the result in pixels.

    Returns:
        uint8 `[size, size, 3]`.
    """
    top, left, height, width, flip = tf.unstack(transform)
    crop = tf.slice(image, [top, left, 0], [height, width, 3])
    shape = (size, size)
    if any(side is None or side > size for side in image.shape[:2].as_list()):
        return resizing.resize_and_cut(crop, shape, (0, 0), shape, flip)
    return tf.raw_ops.Reverse(tensor=resizing.resize_image(crop, shape, enlarges=True), dims=[False, flip > 0, False])


def center_view(height: Tensorlike, width: Tensorlike, size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The reference's evaluation view: shorter side to 256/224 of `size`, then the central square of `size`.

    Args:
        height: scalar int, the image's, in pixels.
        width: scalar int, the image's, in pixels.
        size: the side of the square in pixels.

    Returns:
        `(resized, box)`: int32 `[2]`, the height and width to resize to; and float32 `[4]`, the square that is
        kept, as [ymin, xmin, ymax, xmax] in [0, 1] of the image.
    """
    resized = shorter_side(height, width, round(size * 256 / 224))
    start = tf.round((tf.cast(resized, tf.float32) - size) / 2)
    return resized, tf.concat([start, start + size], 0) / tf.cast(tf.tile(resized, [2]), tf.float32)


def shorter_side(height: Tensorlike, width: Tensorlike, side: int) -> tf.Tensor:
    """The size, int32 `[2]`, of an image whose shorter side becomes `side` pixels, aspect kept (rounded down)."""
    shape = tf.cast([height, width], tf.int32)
    return side * shape // tf.reduce_min(shape)


def whole_view(height: Tensorlike, width: Tensorlike, side: int) -> tf.Tensor:
    """The size, int32 `[2]`, at which a whole image is looked at: `shorter_side`, of at most `LONGEST` * side² pixels.

    An image whose longer side is more than `LONGEST` times its shorter one is enlarged less. A strip of 4 x 6000 pixels
    would otherwise become one of 448 x 672000.
    """
    shape = tf.cast([height, width], tf.float32)
    bounded = tf.maximum(shape * side * tf.sqrt(LONGEST / tf.reduce_prod(shape)), 1)
    is_strip = tf.reduce_max(shape) > LONGEST * tf.reduce_min(shape)
    return tf.where(is_strip, tf.cast(bounded, tf.int32), shorter_side(height, width, side))


def crop_boxes(boxes: tf.Tensor, view: tf.Tensor) -> tf.Tensor:
    """Boxes of an image, as seen in a part of it.

    Args:
        boxes: float32 `[n, 4]`, [ymin, xmin, ymax, xmax] in [0, 1] of the image.
        view: float32 `[4]`, the part, likewise.

    Returns:
        float32 `[n, 4]` in [0, 1] of the part; a box outside it has no area.
    """
    start, extent = tf.tile(view[:2], [2]), tf.tile(view[2:] - view[:2], [2])
    return tf.clip_by_value((boxes - start) / extent, 0.0, 1.0)


def transform_boxes(boxes: tf.Tensor, transform: Tensorlike, size: Tensorlike) -> tf.Tensor:
    """T on boxes `[n, 4]` of a square view of `size` pixels; returns float32 `[n, 4]` of the transformed view."""
    top, left, height, width, flip = tf.unstack(tf.cast(transform, tf.float32))
    moved = crop_boxes(boxes, tf.stack([top, left, top + height, left + width]) / size)
    ymin, xmin, ymax, xmax = tf.unstack(moved, axis=-1)
    mirrored = tf.stack([ymin, 1 - xmax, ymax, 1 - xmin], -1)
    return tf.where(flip > 0, mirrored, moved)


def boxes_to_region(boxes: tf.Tensor, height: Tensorlike, width: Tensorlike) -> tf.Tensor:
    """The union of boxes as a region: float32 `[height, width]`, 1 inside.

    A box edge at fraction f covers pixels from round(f * side): half-open, in whole pixels.
    """
    edges = tf.round(boxes * tf.cast([height, width, height, width], tf.float32))
    rows = tf.range(tf.cast(height, tf.float32))
    columns = tf.range(tf.cast(width, tf.float32))
    inside_rows = (rows >= edges[:, 0:1]) & (rows < edges[:, 2:3])
    inside_columns = (columns >= edges[:, 1:2]) & (columns < edges[:, 3:4])
    inside = inside_rows[:, :, None] & inside_columns[:, None, :]
    return tf.cast(tf.reduce_any(inside, 0), tf.float32)


def upsampling_matrix(size: int, source: int) -> np.ndarray:
    """U `[size, source]` float32: bilinear resize of `source` samples to `size`, half-pixel centers, edges clamped."""
    position = np.clip((np.arange(size) + 0.5) * source / size - 0.5, 0, source - 1)
    low = np.floor(position).astype(int)
    high = np.minimum(low + 1, source - 1)
    matrix = np.zeros([size, source], np.float32)
    np.add.at(matrix, (np.arange(size), low), 1 - (position - low))
    np.add.at(matrix, (np.arange(size), high), position - low)
    return matrix


def crop_matrix(start: tf.Tensor, length: tf.Tensor, upsampling: tf.Tensor, flip: tf.Tensor | None = None) -> tf.Tensor:
    """One axis of T on a heatmap: rows of `upsampling`, cut, resized and perhaps reversed.

    Args:
        start: int `[B]`, the crop's first pixel on this axis.
        length: int `[B]`, the crop's pixels on this axis.
        upsampling: U, float32 `[S, h]`.
        flip: int `[B]`, or None for an axis that is never flipped.

    Returns:
        A, float32 `[B, S, h]`, such that `A_y g A_x^T` is T of the upsampled heatmap g, the crop's edges clamped.
    """
    size = upsampling.shape[0]
    start, length = (tf.cast(value, tf.float32)[:, None] for value in (start, length))
    center = tf.range(size, dtype=tf.float32)[None] + 0.5
    if flip is not None:
        center = tf.where(flip[:, None] > 0, size - center, center)
    position = tf.clip_by_value(center * length / size - 0.5, 0.0, length - 1)
    low = tf.floor(position)
    index = tf.cast(start + low, tf.int32)
    # Between two rows of U: the upper one, and a share of the step to the lower one; at the crop's end that share is 0.
    steps = tf.pad(upsampling[1:] - upsampling[:-1], [[0, 1], [0, 0]])
    return tf.gather(upsampling, index) + (position - low)[:, :, None] * tf.gather(steps, index)
