"""Tokens `[B, n, C]` of a transformer as a feature map `[B, h, w, C]`: which of them are places, and where."""

import itertools
from typing import Any

import keras
import numpy as np
import tensorflow as tf

MOST_OTHERS = 16  # class, distillation and register tokens, which stand in front of the places
LEAST_SHARE = 0.01


def grid(count: int | None, patches: tuple[int | None, int | None]) -> tuple[int, int] | None:
    """The rows and columns of which tokens are the places, row by row: the finest grid for which there are enough.

    The finest of all is that of the patches; stages that merge them make it coarser by a whole number. What tokens are
    left over are taken to stand in front.

    >>> grid(197, (14, 14)), grid(49, (56, 56)), grid(33, (4, 8)), grid(64, (14, 14))
    ((14, 14), (7, 7), (4, 8), (7, 7))

    Args:
        count: how many tokens there are.
        patches: rows and columns of the patches, or where nobody knows them of the image's pixels.

    Returns:
        `(h, w)`; None where a number is open, or so many would be left over that they are no such tokens.
    """
    if count is None or None in patches:
        return None
    coarser = ((patches[0] // merged, patches[1] // merged) for merged in itertools.count(1))
    h, w = next((h, w) for h, w in coarser if h * w <= count)
    return (h, w) if min(h, w) > 1 and count - h * w <= MOST_OTHERS else None


def apart(tokens: Any, shape: tuple[int, int]) -> list[Any]:
    """The places `[B, h, w, C]` of symbolic tokens, and where there are others, these `[B, n - h w, C]`."""
    (h, w), (count, channels) = shape, tokens.shape[1:]
    others = count - h * w
    places = keras.ops.reshape(tokens[:, others:] if others else tokens, (-1, h, w, channels))
    return [places, tokens[:, :others]] if others else [places]


def together(places: Any, others: list[Any]) -> Any:
    """The inverse of `apart`: tokens `[B, n, C]`."""
    h, w, channels = places.shape[1:]
    tokens = keras.ops.reshape(places, (-1, h * w, channels))
    return keras.ops.concatenate([*others, tokens], axis=1) if others else tokens


def says_where(head: keras.Model) -> bool:
    """Whether a heatmap of a head's first input can be anything but zero, tried on random inputs and weights.

    Behind the last attention a class token is all that is read, so no place has a gradient. In front of a layer
    normalization that alone reads a place, gradients are there, but feature times gradient sums up to zero: the layer
    gives the same for features of any scale, so nothing changes along the features themselves.
    """
    rng = np.random.default_rng(0)

    def draw(tensor, size):
        scale = np.prod(size[:-1]) ** -0.5 if len(size) > 1 else 1.0
        return tf.cast(tf.constant(scale * rng.normal(size=size), tf.float32), tensor.dtype)

    features, *others = (tf.cast(rng.normal(size=[4, *x.shape[1:]]), x.dtype) for x in head.inputs)
    weights = [(weight, draw(weight, weight.shape)) for weight in head.trainable_variables]
    with keras.StatelessScope(weights), tf.GradientTape() as tape:
        tape.watch(features)
        logits = head([features, *others] if others else features, training=False)
        score = tf.reduce_sum(tf.cast(logits[:, 0], tf.float32))
    gradients: Any = tape.gradient(score, features)
    if gradients is None:
        return False
    products = tf.cast(features * gradients, tf.float32)
    sums, sizes = tf.abs(tf.reduce_sum(products, -1)), tf.reduce_sum(tf.abs(products), -1)
    return float(tf.reduce_max(sums)) > LEAST_SHARE * float(tf.reduce_max(sizes))
