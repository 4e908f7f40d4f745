"""The consistency losses of CGC, computed exactly at image size but in the space of the small heatmaps.

For heatmaps upsampled to S x S, T g = A_y g A_x^T and up(g) = U g U^T are linear, so each inner product of two
S x S maps is a sum over h x w: <A_y g A_x^T, U g' U^T> = sum(g * (A_y^T U) g' (A_x^T U)^T). See docs/architecture.md.
"""

import typing

import keras
import tensorflow as tf

from cgc_tf.method import geometry
from cgc_tf.method.objective import Objective

EPSILON = 1e-8  # the reference's: added to a map's sum, by which it is divided, and then to each of its pixels
VARIANCE = 1e-4  # for correlations added to that of a map whose mean pixel is 1, so that a uniform one agrees with none


def consistency(
    objective: Objective, original: tf.Tensor, augmented: tf.Tensor, transform: tf.Tensor, size: tuple[int, int]
) -> tf.Tensor:
    """The consistency term of an objective that has one, for each example, float32 `[B]`.

    Args:
        objective: says which term, and whose heatmaps are negatives.
        original: as of `similarities`, and so are the others.
        augmented: this replica's.
        transform: this replica's.
        size: of the views.
    """
    several = tf.distribute.get_replica_context().num_replicas_in_sync > 1
    is_global = objective.negatives == "global" and several and objective.kind == "cgc"
    everyone = gather_replicas(augmented) if is_global else None
    positive, pairs = similarities(original, augmented, transform, size, everyone, objective.similarity)
    if objective.kind == "cgc":
        return contrastive(positive, pairs, objective.temperature, everyone)
    return no_negatives(positive)


def similarities(
    original: tf.Tensor,
    augmented: tf.Tensor,
    transform: tf.Tensor,
    size: tuple[int, int],
    everyone: "Everyone | None" = None,
    similarity: str = "cosine",
) -> tuple[tf.Tensor, tf.Tensor]:
    """Similarities between heatmaps as they would stand at the views' own size.

    As in the reference an upsampled heatmap m becomes m / (sum m + 1e-8) + 1e-8 before it is transformed and
    compared. So by cosine one that is all zero, or of which a crop sees nothing, counts as a uniform one. By
    correlation, the cosine after each map's mean pixel is taken off it, these have 0 with every other.

    Args:
        original: g(x), float32 `[B, h, w]`, heatmaps of the untransformed views.
        augmented: g(T x), float32 `[B, h, w]`, heatmaps of the transformed views.
        transform: T, int32 `[B, 5]`, in pixels of the view.
        size: height and width of the views in pixels.
        everyone: what `gather_replicas` makes of `augmented`, for negatives from every replica; None for this one's.
        similarity: "cosine", the paper's, or "correlation".

    Returns:
        `(positive, pairs)`: `[B]`, sim(T g(x_i), g(T x_i)); and `[B, N]`, sim(g(T x_i), g(T x_j)).
    """
    up_y, up_x, crop_y, crop_x = _operators(transform, size, original.shape[1:])
    # In units in which a heatmap's mean pixel is 1, so that no square is too small for float32.
    floor = EPSILON * size[0] * size[1]
    original, augmented, others = (
        heatmaps / (_mean(up_y, heatmaps, up_x)[:, None, None] + EPSILON / (size[0] * size[1]))
        for heatmaps in (original, augmented, augmented if everyone is None else everyone.heatmaps)
    )

    def joint(product, mean, other_mean):
        """From the means of a * b, of a and of b over pixels: that of (a + floor) * (b + floor), or the covariance."""
        if similarity == "correlation":
            return product - mean * other_mean
        return product + floor * (mean + other_mean) + floor**2

    def norm(square, mean):
        own = joint(square, mean, mean)
        return tf.sqrt(tf.nn.relu(own) + VARIANCE if similarity == "correlation" else own)

    original_mean, augmented_mean = _mean(crop_y, original, crop_x), _mean(up_y, augmented, up_x)
    others_mean = _mean(up_y, others, up_x)
    smoothed = _sandwich(_gram(up_y, up_y), others, _gram(up_x, up_x))
    carried = _sandwich(_gram(crop_y, crop_y), original, _gram(crop_x, crop_x))
    crossed = _inner(original, _sandwich(_gram(crop_y, up_y), augmented, _gram(crop_x, up_x)))
    products = tf.einsum("iyx,jyx->ij", augmented, smoothed)

    others_norm = norm(_inner(others, smoothed), others_mean)
    augmented_norm = others_norm if everyone is None else tf.gather(others_norm, everyone.own)
    original_norm = norm(_inner(original, carried), original_mean)
    positive = joint(crossed, original_mean, augmented_mean) / (original_norm * augmented_norm)
    pairs = joint(products, augmented_mean[:, None], others_mean[None, :])
    return positive, pairs / (augmented_norm[:, None] * others_norm[None, :])


def agreement(
    original: tf.Tensor, augmented: tf.Tensor, transform: tf.Tensor, size: tuple[int, int]
) -> tuple[tf.Tensor, tf.Tensor]:
    """`similarities` as a measure of explanations: a heatmap that shows nothing agrees with none.

    The loss takes a heatmap that is all zero for a uniform one, and so two of them for equal. Here a similarity is 0
    where one of its two heatmaps is all zero, or where nothing of it is left after T. Arguments and results are those
    of `similarities`.
    """
    positive, pairs = similarities(original, augmented, transform, size)
    up_y, up_x, crop_y, crop_x = _operators(transform, size, original.shape[1:])
    shows = tf.cast(_mean(up_y, augmented, up_x) > 0, tf.float32)
    is_carried = tf.cast(_mean(crop_y, original, crop_x) > 0, tf.float32)
    return positive * is_carried * shows, pairs * shows[:, None] * shows[None, :]


def contrastive(
    positive: tf.Tensor, pairs: tf.Tensor, temperature: float, everyone: "Everyone | None" = None
) -> tf.Tensor:
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


def gather_replicas(heatmaps: tf.Tensor) -> Everyone:
    """An `Everyone` of each replica's heatmaps `[B, h, w]`, differentiable; replicas may differ in B."""
    context = tf.distribute.get_replica_context()
    counts = context.all_gather(tf.shape(heatmaps)[:1], 0)
    before = tf.range(context.num_replicas_in_sync) < context.replica_id_in_sync_group
    start = tf.reduce_sum(tf.where(before, counts, 0))
    return Everyone(context.all_gather(heatmaps, 0), start + tf.range(tf.shape(heatmaps)[0]))


def no_negatives(positive: tf.Tensor) -> tf.Tensor:
    """The ablation without negatives: 1 - similarity, `[B]`.

    The reference's mean squared error of the two L2-normalized S x S maps is 2 / S^2 times this; in this form the
    weight lambda means the same for both objectives.
    """
    return 1.0 - positive


def cross_entropy(class_ids: tf.Tensor, logits: tf.Tensor, smoothing: float = 0.0) -> tf.Tensor:
    """The cross-entropy of each example, float32 `[B]`, of class ids `[B]` and logits `[B, classes]`."""
    one_hot = tf.one_hot(class_ids, logits.shape[-1])
    # Keras declares the tensors of every backend.
    return keras.losses.categorical_crossentropy(  # pyright: ignore[reportReturnType]
        one_hot, logits, from_logits=True, label_smoothing=smoothing
    )


def risen(objective: Objective, steps: keras.Variable) -> tf.Tensor | float:
    """Lambda after so many steps: all of it, or in its warm-up the part that it has come to."""
    if not objective.lambda_warmup_steps:
        return objective.lambda_cgc
    done = tf.cast(steps.value, tf.float32) / objective.lambda_warmup_steps
    return objective.lambda_cgc * tf.minimum(done, 1.0)


def share_of_mean(values: tf.Tensor) -> tf.Tensor:
    """This replica's share, a scalar, of the mean over every replica's examples; the optimizer adds up the shares."""
    count, context = tf.cast(tf.shape(values)[0], tf.float32), tf.distribute.get_replica_context()
    if context.num_replicas_in_sync > 1:
        count = context.all_reduce(tf.distribute.ReduceOp.SUM, count)
    return tf.reduce_sum(values) / count


def _operators(transform, size, shape):
    """What upsamples and what transforms a heatmap of some shape: U_y, U_x `[S, h]`, and A_y, A_x `[B, S, h]`."""
    up_y, up_x = (tf.constant(geometry.upsampling_matrix(*axis)) for axis in zip(size, shape, strict=True))
    top, left, height, width, flip = tf.unstack(transform, axis=-1)
    return up_y, up_x, geometry.crop_matrix(top, height, up_y), geometry.crop_matrix(left, width, up_x, flip)


def _mean(left, heatmaps, right):
    """The mean pixel of left g right^T, `[B]`."""
    rows = tf.expand_dims(tf.reduce_mean(left, -2), -1)
    columns = tf.expand_dims(tf.reduce_mean(right, -2), -2)
    return tf.reduce_sum(rows * heatmaps * columns, [1, 2])


def _gram(left, right):
    """left^T right, over the number of their rows: what gives means over pixels."""
    return tf.matmul(left, right, transpose_a=True) / left.shape[-2]


def _sandwich(left, heatmaps, right):
    return tf.matmul(tf.matmul(left, heatmaps), right, transpose_b=True)


def _inner(left, right):
    return tf.reduce_sum(left * right, [1, 2])
