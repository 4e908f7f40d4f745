"""Encoded pictures inside a graph, by core TensorFlow operations only: decoding that cannot fail, and overlays.

Pictures are turned upright as EXIF asks, as those trained on were.

A graph has no `try`. `tf.data` has `ignore_errors`, which is an operation like any other, so a batch is decoded as a
dataset of numbered pictures, and the numbers that are missing in the end are those that could not be decoded. Taken out
as one element that costs a fraction of a millisecond; `Dataset.reduce` took twenty.
"""

import numpy as np
import tensorflow as tf

from cgc_tf.common import graphs
from cgc_tf.data import pictures
from cgc_tf.data.views import original_view
from cgc_tf.method.overlay import WHOLE, overlay

from . import picture_headers

KINDS = "JPEG, PNG, GIF, BMP or WebP"
MAX_PIXELS = 1 << 25  # 33 megapixels: 100 MB decoded
_THREADS = 4  # that decode one batch


def views(image_bytes: tf.Tensor, size: int, max_pixels: int = MAX_PIXELS) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The center view of each picture, as the model was evaluated on.

    Args:
        image_bytes: string `[B]`, encoded pictures of any size.
        size: the side of the view in pixels.
        max_pixels: a picture of more, as its header has it or once it is resized, is not decoded.

    Returns:
        `(views, boxes, decoded)`: uint8 `[B, size, size, 3]`; float32 `[B, 4]`, the part of each picture that its view
        shows; bool `[B]`, false where there was no picture, whose view is black.
    """
    enlarged = round(size * 256 / 224)  # what the view's shorter side is resized to, whatever the longer becomes
    blank = (np.zeros([size, size, 3], np.uint8), np.array(WHOLE, np.float32))
    shown, boxes, decoded = _each(
        image_bytes, (), lambda image: original_view(image, size), blank, max_pixels, enlarged
    )
    return shown, boxes, decoded


def overlays(image_bytes: tf.Tensor, heatmaps: tf.Tensor, boxes: tf.Tensor, max_pixels: int = MAX_PIXELS) -> tf.Tensor:
    """Each picture at its own size with its heatmap drawn over it, as `overlay` does.

    Args:
        image_bytes: string `[B]`.
        heatmaps: float32 `[B, h, w]` in 0..1.
        boxes: float32 `[B, 4]`, the part of each picture that its heatmap covers.

    Returns:
        Encoded PNGs, string `[B]`; empty where there was no picture.
    """
    table = _table()

    def draw(image, heatmap, box):
        return (tf.io.encode_png(_blend(image, heatmap, box, table)),)

    beside = (tf.concat([heatmaps, heatmaps[:1]], 0), tf.concat([boxes, [WHOLE]], 0))
    return _each(image_bytes, beside, draw, (b"",), max_pixels)[0]


def _each(image_bytes, beside, function, blank, max_pixels, enlarged=0):
    """`function(image, ...)` of each picture, or `blank` where there is none; and which was which, bool `[B]`.

    `beside` are tensors `[B + 1, ...]` of further arguments: a picture of one pixel is added to every batch, since a
    dataset from which nothing is left has no element to take.
    """
    count = tf.size(image_bytes, tf.int64)

    @graphs.plain
    def is_small(_, contents, *__):
        size = tf.cast(picture_headers.size(contents), tf.float64)
        shorter = tf.reduce_min(size)
        return (shorter >= 1) & (tf.reduce_prod(size) * tf.maximum(enlarged / shorter, 1) ** 2 <= max_pixels)

    @graphs.plain
    def apply(index, contents, *arguments):
        image = pictures.upright(pictures.decode_image(contents), picture_headers.orientation(contents))
        return index, *function(image, *arguments)

    pixel = tf.io.encode_png(np.zeros([1, 1, 3], np.uint8))
    batch = (tf.range(count + 1), tf.concat([image_bytes, [pixel]], 0), *beside)
    # A dataset of tuples calls its functions with their elements, not with one argument as is declared.
    small = tf.data.Dataset.from_tensor_slices(batch).filter(is_small)  # pyright: ignore[reportArgumentType]
    options = tf.data.Options()  # without which each call would first optimize its little dataset
    options.experimental_optimization.apply_default_optimizations = False
    options.autotune.enabled = False
    options.deterministic = True
    results = small.map(apply, _THREADS).ignore_errors().batch(count + 1).with_options(options)
    indices, *values = results.get_single_element()

    def place(value, empty):
        rows = tf.repeat(tf.constant(empty, value.dtype)[None], count + 1, 0)
        return tf.tensor_scatter_nd_update(rows, indices[:, None], value)[:count]

    decoded = place(tf.ones_like(indices, tf.bool), False)
    return *(place(value, empty) for value, empty in zip(values, blank, strict=True)), decoded


def _table():
    """What `overlay` does to a pixel of each of 256 heats: float32 `[256, 4]`, weight and what is added."""
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[None]
    on_black, on_white = (overlay(np.full([1, 256, 3], gray, np.uint8), ramp)[0] for gray in (0, 255))
    weight = (on_white.astype(np.float32) - on_black).mean(-1, keepdims=True) / 255
    return np.concatenate([weight, on_black], -1).astype(np.float32)


def _blend(image, heatmap, box, table):
    """uint8 `[H, W, 3]`: an image under the part of it that a heatmap `[h, w]` in 0..1 covers."""
    shape = tf.shape(image)[:2]
    edges = tf.cast(tf.round(box * tf.cast(tf.tile(shape, [2]), tf.float32)), tf.int32)
    size = edges[2:] - edges[:2]
    heat = tf.image.resize(heatmap[..., None], size)[..., 0]
    heat = tf.pad(heat, tf.stack([edges[:2], shape - edges[2:]], 1))
    change = tf.gather(table, tf.cast(tf.round(255 * tf.clip_by_value(heat, 0.0, 1.0)), tf.int32))
    mixed = tf.cast(image, tf.float32) * change[..., :1] + change[..., 1:]
    return tf.cast(tf.clip_by_value(tf.round(mixed), 0, 255), tf.uint8)
