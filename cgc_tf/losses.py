"""The consistency losses of CGC, computed exactly at image size but in the space of the small heatmaps.

For heatmaps upsampled to S x S, T g = A_y g A_x^T and up(g) = U g U^T are linear, so each inner product of two
S x S maps is a sum over h x w: <A_y g A_x^T, U g' U^T> = sum(g * (A_y^T U) g' (A_x^T U)^T). See docs/architecture.md.
"""

import typing

import tensorflow as tf

from cgc_tf import geometry

EPSILON = 1e-12


def similarities(original, augmented, transform, size, everyone=None):
    """Cosine similarities between heatmaps as they would stand at the views' own size.

    Args:
        original: g(x), float32 `[B, h, w]`, heatmaps of the untransformed views.
        augmented: g(T x), float32 `[B, h, w]`, heatmaps of the transformed views.
        transform: T, int32 `[B, 5]`, in pixels of the view.
        size: height and width of the views in pixels.
        everyone: what `gather_replicas` makes of `augmented`, for negatives from every replica; None for this one's.

    Returns:
        `(positive, pairs)`: `[B]`, sim(T g(x_i), g(T x_i)); and `[B, N]`, sim(g(T x_i), g(T x_j)). A heatmap that
        is all zero has similarity 0 to every other.
    """
    original, augmented = _scaled(original), _scaled(augmented)
    others = augmented if everyone is None else _scaled(everyone.heatmaps)
    up_y = tf.constant(geometry.upsampling_matrix(size[0], original.shape[1]))
    up_x = tf.constant(geometry.upsampling_matrix(size[1], original.shape[2]))
    top, left, height, width, flip = tf.unstack(transform, axis=-1)
    crop_y = geometry.crop_matrix(top, height, up_y)
    crop_x = geometry.crop_matrix(left, width, up_x, flip)

    smoothed = _sandwich(_gram(up_y, up_y), others, _gram(up_x, up_x))
    others_norm = _root(_inner(others, smoothed))
    augmented_norm = others_norm if everyone is None else tf.gather(others_norm, everyone.own)
    carried = _sandwich(_gram(crop_y, crop_y), original, _gram(crop_x, crop_x))
    original_norm = _root(_inner(original, carried))
    crossed = _inner(original, _sandwich(_gram(crop_y, up_y), augmented, _gram(crop_x, up_x)))
    positive = crossed / (original_norm * augmented_norm)
    pairs = tf.einsum("iyx,jyx->ij", augmented, smoothed) / (augmented_norm[:, None] * others_norm[None, :])
    return positive, pairs


def contrastive(positive, pairs, temperature, everyone=None):
    """The contrastive Grad-CAM consistency loss (CVPR 2022, eq. 2), for each example.

    Args:
        positive: `[B]`, similarity to the example's own transformed heatmap.
        pairs: `[B, N]`, similarities to the transformed views' heatmaps; an example's own is not used.
        temperature: tau > 0.
        everyone: as for `similarities`.

    Returns:
        float32 `[B]`, >= 0; zero for a batch of one, which has no negatives.
    """
    own = tf.range(tf.shape(positive)[0]) if everyone is None else everyone.own
    is_own = own[:, None] == tf.range(tf.shape(pairs)[1])[None, :]
    logits = tf.where(is_own, positive[:, None], pairs) / temperature
    return tf.reduce_logsumexp(logits, -1) - positive / temperature


class Everyone(typing.NamedTuple):
    """The heatmaps of every replica, `[N, h, w]`, and the indices among them of this replica's, int32 `[B]`."""

    heatmaps: tf.Tensor
    own: tf.Tensor


def gather_replicas(heatmaps):
    """An `Everyone` of each replica's heatmaps `[B, h, w]`, differentiable; replicas may differ in B."""
    context = tf.distribute.get_replica_context()
    counts = context.all_gather(tf.shape(heatmaps)[:1], 0)
    before = tf.range(context.num_replicas_in_sync) < context.replica_id_in_sync_group
    start = tf.reduce_sum(tf.where(before, counts, 0))
    return Everyone(context.all_gather(heatmaps, 0), start + tf.range(tf.shape(heatmaps)[0]))


def no_negatives(positive):
    """The ablation without negatives: 1 - cosine, `[B]`.

    The reference's mean squared error of the two L2-normalised S x S maps is 2 / S^2 times this; in this form the
    weight lambda means the same for both objectives.
    """
    return 1.0 - positive


def _scaled(heatmaps):
    # The cosine ignores scale, so the scale carries no gradient; without it squares of tiny maps would underflow.
    peak = tf.reduce_max(tf.stop_gradient(heatmaps), [1, 2], keepdims=True)
    return heatmaps / tf.where(peak > 0, peak, 1.0)


def _root(squares):
    return tf.sqrt(tf.maximum(squares, 0.0) + EPSILON)


def _gram(left, right):
    return tf.matmul(left, right, transpose_a=True)


def _sandwich(left, heatmaps, right):
    return tf.matmul(tf.matmul(left, heatmaps), right, transpose_b=True)


def _inner(left, right):
    return tf.reduce_sum(left * right, [1, 2])
