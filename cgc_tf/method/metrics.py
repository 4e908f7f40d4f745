"""Measures of explanations: pure functions of tensors, one value for each example."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

TOLERANCE = 15  # pixels


def content_heatmap(heatmaps: tf.Tensor, regions: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Content Heatmap (CGC, CVPR 2022, section 4): the share of the heatmap that lies inside the object.

    Args:
        heatmaps: float32 `[B, h, w]`, >= 0.
        regions: float32 `[B, H, W]`, 1 inside the object and 0 outside, at the image's own size.

    Returns:
        `(share, valid)`: float32 `[B]` in [0, 1]; and bool `[B]`, False where the heatmap is all zero and so has no
        share (its `share` is 0).
    """
    heatmaps = upsample(heatmaps, tf.shape(regions)[1:])
    total = tf.reduce_sum(heatmaps, [1, 2])
    inside = tf.reduce_sum(heatmaps * regions, [1, 2])
    return tf.math.divide_no_nan(inside, total), total > 0


def pixel_average_precision(heatmaps: tf.Tensor, regions: tf.Tensor) -> tf.Tensor:
    """How well heat tells the object's pixels from all others: average precision over an image's pixels.

    Only the order of the values counts: unlike Content Heatmap it is the same for a sharper version of a heatmap. It is
    PxAP (Choe et al., "Evaluating Weakly Supervised Object Localization Methods Right", CVPR 2020), but of each image
    by itself instead of the pixels of all images together.

    Args:
        heatmaps: float32 `[B, h, w]`, >= 0; pixels of equal heat count as found together.
        regions: float32 `[B, H, W]`, 1 inside the object and 0 outside, at the image's own size.

    Returns:
        float32 `[B]` in [0, 1]: the object's share of the image for a uniform heatmap, 0 without an object.
    """
    count = tf.shape(regions)[1] * tf.shape(regions)[2]
    heat = tf.reshape(upsample(heatmaps, tf.shape(regions)[1:]), [-1, count])
    order = tf.argsort(heat, direction="DESCENDING")
    falling = -tf.gather(heat, order, batch_dims=1)
    inside = tf.gather(tf.reshape(regions, [-1, count]), order, batch_dims=1)
    found = tf.searchsorted(falling, falling, side="right")  # pixels at least as hot as each
    hits = tf.gather(tf.cumsum(inside, 1), found - 1, batch_dims=1)
    precision = hits / tf.cast(found, tf.float32)
    return tf.math.divide_no_nan(tf.reduce_sum(inside * precision, 1), tf.reduce_sum(inside, 1))


def upsample(heatmaps: tf.Tensor, shape: tf.Tensor | Sequence[int]) -> tf.Tensor:
    """Heatmaps `[B, h, w]`, bilinear with half-pixel centers to float32 `[B, *shape]`."""
    return tf.image.resize(tf.expand_dims(heatmaps, -1), shape)[..., 0]


def pointing_game(heatmaps: tf.Tensor, regions: tf.Tensor, tolerance: int = TOLERANCE) -> tf.Tensor:
    """Whether the heatmap's peak hits the object (Zhang et al., "Top-down Neural Attention", ECCV 2016).

    Args:
        heatmaps: float32 `[B, h, w]`, >= 0; of several equal peaks the first in reading order counts.
        regions: float32 `[B, H, W]`, 1 inside the object, at the size that `tolerance` is counted at.
        tolerance: a peak at most so many pixels beside the object still hits it.

    Returns:
        bool `[B]`; False where the heatmap is all zero.
    """
    height, width = tf.unstack(tf.shape(regions)[1:])
    heatmaps = tf.reshape(upsample(heatmaps, [height, width]), [-1, height * width])
    peak = tf.argmax(heatmaps, 1, output_type=tf.int32)
    down = (tf.range(height)[None] - peak[:, None] // width) ** 2
    across = (tf.range(width)[None] - peak[:, None] % width) ** 2
    near = down[:, :, None] + across[:, None, :] <= tolerance**2
    return tf.reduce_any(near & (regions > 0), [1, 2]) & (tf.reduce_max(heatmaps, 1) > 0)


def entropy(heatmaps: tf.Tensor) -> tf.Tensor:
    """Shannon entropy of heatmaps `[B, h, w]` that sum to one, over its largest value: 1 uniform, 0 one cell or none.

    Returns:
        float32 `[B]` in [0, 1].
    """
    shares = _shares(heatmaps)
    nats = -tf.reduce_sum(tf.math.xlogy(shares, shares), 1)
    return nats / tf.math.log(tf.cast(tf.maximum(tf.shape(shares)[1], 2), tf.float32))


def sparsity(heatmaps: tf.Tensor) -> tf.Tensor:
    """Gini index of heatmaps `[B, h, w]` (Hurley & Rickard, 2009): 0 uniform or all zero, towards 1 one cell alone.

    Returns:
        float32 `[B]` in [0, 1).
    """
    shares = tf.sort(_shares(heatmaps), 1)
    count = tf.cast(tf.shape(shares)[1], tf.float32)
    weights = (count - tf.range(count) - 0.5) / count
    return tf.where(tf.reduce_sum(shares, 1) > 0, 1 - 2 * tf.reduce_sum(shares * weights, 1), 0.0)


def _shares(heatmaps):
    flat = tf.reshape(heatmaps, [tf.shape(heatmaps)[0], -1])
    return tf.math.divide_no_nan(flat, tf.reduce_sum(flat, 1, keepdims=True))


def retrieval_rank(positive: tf.Tensor, pairs: tf.Tensor) -> tf.Tensor:
    """The place of the positive among its negatives, by similarity: what the contrastive loss wants to be 1.

    Args:
        positive: `[B]`, as `losses.similarities` gives it.
        pairs: `[B, B]`, likewise; its diagonal is not used.

    Returns:
        float32 `[B]`, from 1 to B; a tie counts half.
    """
    others = tf.linalg.set_diag(pairs, tf.fill(tf.shape(positive), -np.inf))
    above, level = (
        tf.reduce_sum(tf.cast(compare(others, positive[:, None]), tf.float32), 1) for compare in (tf.greater, tf.equal)
    )
    return 1 + above + level / 2
