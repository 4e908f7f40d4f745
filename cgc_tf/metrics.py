"""Measures of explanations: pure functions of tensors, one value for each example."""

import numpy as np
import tensorflow as tf

from cgc_tf.preprocessing import IMAGENET_MEAN

STEPS = 28
SUBSTRATES = ("blur", "zero", "mean")
TOLERANCE = 15  # pixels


def content_heatmap(heatmaps, regions):
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


def upsample(heatmaps, shape):
    """Heatmaps `[B, h, w]`, bilinear with half-pixel centres to float32 `[B, *shape]`."""
    return tf.image.resize(heatmaps[..., None], shape)[..., 0]


def pointing_game(heatmaps, regions, tolerance=TOLERANCE):
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


def entropy(heatmaps):
    """Shannon entropy of heatmaps `[B, h, w]` that sum to one, over its largest value: 1 uniform, 0 one cell or none.

    Returns:
        float32 `[B]` in [0, 1].
    """
    shares = _shares(heatmaps)
    nats = -tf.reduce_sum(tf.math.xlogy(shares, shares), 1)
    return nats / tf.math.log(tf.cast(tf.maximum(tf.shape(shares)[1], 2), tf.float32))


def sparsity(heatmaps):
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


def retrieval_rank(positive, pairs):
    """The place of the positive among its negatives, by similarity: what the contrastive loss wants to be 1.

    Args:
        positive, pairs: as `losses.similarities` gives them: `[B]` and `[B, B]`, whose diagonal is not used.

    Returns:
        float32 `[B]`, from 1 to B; a tie counts half.
    """
    others = tf.linalg.set_diag(pairs, tf.fill(tf.shape(positive), -np.inf))
    above, level = (
        tf.reduce_sum(tf.cast(compare(others, positive[:, None]), tf.float32), 1) for compare in (tf.greater, tf.equal)
    )
    return 1 + above + level / 2


def substrate(kind, images):
    """What insertion starts from: float32 `[B, H, W, 3]` in 0..255.

    Args:
        kind: one of `SUBSTRATES`: the image under `blur`; `zero` of the normalised image; or its own `mean` colour.
        images: `[B, H, W, 3]` in 0..255.
    """
    if kind not in SUBSTRATES:
        raise ValueError(f"a substrate is one of {', '.join(SUBSTRATES)}. Received: kind={kind}")
    images = tf.cast(images, tf.float32)
    if kind == "blur":
        return blur(images)
    if kind == "zero":
        return tf.zeros_like(images) + neutral_colour()
    return tf.zeros_like(images) + tf.reduce_mean(images, [1, 2], keepdims=True)


def blur(images):
    """RISE's substrate: the normalised image under an 11x11 Gaussian of sigma 5, zeros beyond the image's edges.

    Args:
        images: `[B, H, W, 3]` in 0..255. A zero of the normalised image is ImageNet's mean colour here.

    Returns:
        float32 `[B, H, W, 3]` in 0..255.
    """
    kernel = tf.constant(np.tile(_rise_kernel()[:, None, None, None], [1, 1, 3, 1]), tf.float32)
    blurred = tf.cast(images, tf.float32) - neutral_colour()
    for axis in (kernel, tf.transpose(kernel, [1, 0, 2, 3])):
        blurred = tf.nn.depthwise_conv2d(blurred, axis, [1, 1, 1, 1], "SAME")
    return blurred + neutral_colour()


def _rise_kernel(length=11, sigma=5.0, reach=20):
    """One axis of RISE's kernel, float64 `[length]`, which sums to 1.

    RISE filters an 11x11 impulse with SciPy's `gaussian_filter`, which reflects at the borders: the tails of the
    Gaussian, out to four sigma, are folded back into the 11 taps.
    """
    offsets = np.arange(-reach, reach + 1)
    gaussian = np.exp(-0.5 * (offsets / sigma) ** 2)
    folded = np.abs((length // 2 + offsets) % (2 * length) - length + 0.5) - 0.5
    return np.bincount((length - 1 - folded).astype(int), gaussian / gaussian.sum(), length)


def neutral_colour():
    """The colour, float32 `[3]` in 0..255, that ImageNet's normalisation maps to zero."""
    return 255 * tf.constant(IMAGENET_MEAN)


def pixel_curve(probabilities, start, finish, saliency, class_ids, steps=STEPS):
    """The class's probability while pixels of `start` are replaced by those of `finish`, most salient first.

    RISE (BMVC 2018): insertion goes from the blurred image to the image, deletion from the image to the neutral
    colour. At 224 pixels, 28 steps replace 224 * 8 pixels each.

    Args:
        probabilities: a callable, `[B, S, S, 3]` -> `[B, classes]`.
        start, finish: `[B, S, S, 3]` in 0..255.
        saliency: `[B, S, S]`; pixels of equal saliency go in reading order.
        class_ids: int `[B]`, the class whose probability is followed.

    Returns:
        float32 `[B, steps + 1]`.
    """
    pixels = start.shape[1] * start.shape[2]
    start, finish = tf.cast(start, tf.float32), tf.cast(finish, tf.float32)
    rank = tf.reshape(_rank(tf.reshape(saliency, [-1, pixels])), tf.shape(saliency))[..., None]

    def score(step):
        mixed = tf.where(rank < step * pixels // steps, finish, start)
        return tf.gather(probabilities(mixed), class_ids, axis=1, batch_dims=1)

    scores = tf.map_fn(score, tf.range(steps + 1), fn_output_signature=tf.float32, parallel_iterations=1)
    return tf.transpose(scores)


def _rank(values):
    """The place of each of `[B, n]` values from the greatest down, int32; equal values in their order."""
    order = tf.argsort(values, direction="DESCENDING", stable=True)
    batch, count = tf.unstack(tf.shape(order))
    flat = order + count * tf.range(batch)[:, None]
    places = tf.tile(tf.range(count), [batch])
    return tf.reshape(tf.scatter_nd(tf.reshape(flat, [-1, 1]), places, [batch * count]), [batch, count])


def area_under(curves):
    """The area under each of `[B, n]` curves by the trapezoid rule, on an axis from 0 to 1: float `[B]`."""
    return tf.reduce_mean((curves[:, 1:] + curves[:, :-1]) / 2, 1)
