"""Insertion and deletion: how the class's probability follows as pixels come and go, most salient first."""

import numpy as np
import tensorflow as tf
from scipy import ndimage

from cgc_tf.method import metrics
from cgc_tf.networks.preprocessing import IMAGENET_MEAN

STEPS = 28
SUBSTRATES = ("blur", "zero", "mean")


def insertion(probabilities, images, heatmaps, class_ids, kind="blur", steps=STEPS):
    """Insertion curves (RISE, BMVC 2018, section 4.2): the image appears, most salient pixels first.

    Args:
        probabilities: a callable, `[B, S, S, 3]` in 0..255 -> `[B, classes]`.
        images: `[B, S, S, 3]` in 0..255.
        heatmaps: `[B, h, w]`.
        class_ids: int `[B]`, the classes whose probabilities are followed.
        kind: what it starts from, one of `SUBSTRATES`.
        steps: how many times pixels are replaced.

    Returns:
        float32 `[B, steps + 1]`.
    """
    saliency = metrics.upsample(heatmaps, images.shape[1:3])
    return pixel_curve(probabilities, substrate(kind, images), images, saliency, class_ids, steps)


def deletion(probabilities, images, heatmaps, class_ids, kind="blur", steps=STEPS):
    """Deletion curves: as `insertion`, but from the image to the neutral color, or for "mean" to its mean color."""
    saliency = metrics.upsample(heatmaps, images.shape[1:3])
    empty = substrate("mean" if kind == "mean" else "zero", images)
    return pixel_curve(probabilities, images, empty, saliency, class_ids, steps)


def substrate(kind: str, images: tf.Tensor) -> tf.Tensor:
    """What insertion starts from: float32 `[B, H, W, 3]` in 0..255.

    Args:
        kind: one of `SUBSTRATES`: the image under `blur`; `zero` of the normalized image; or its own `mean` color.
        images: `[B, H, W, 3]` in 0..255.
    """
    if kind not in SUBSTRATES:
        raise ValueError(f"a substrate is one of {', '.join(SUBSTRATES)}. Received: kind={kind}")
    images = tf.cast(images, tf.float32)
    if kind == "blur":
        return blur(images)
    if kind == "zero":
        return tf.zeros_like(images) + neutral_color()
    return tf.zeros_like(images) + tf.reduce_mean(images, [1, 2], keepdims=True)


def blur(images: tf.Tensor) -> tf.Tensor:
    """RISE's substrate: the normalized image under an 11x11 Gaussian of sigma 5, zeros beyond the image's edges.

    Args:
        images: `[B, H, W, 3]` in 0..255. A zero of the normalized image is ImageNet's mean color here.

    Returns:
        float32 `[B, H, W, 3]` in 0..255.
    """
    # RISE's own kernel: SciPy reflects at the borders, so the Gaussian's tails are folded back into the 11 taps.
    taps = ndimage.gaussian_filter1d(np.eye(11)[5], sigma=5)
    kernel = tf.constant(np.tile(taps[:, None, None, None], [1, 1, 3, 1]), tf.float32)
    blurred = tf.cast(images, tf.float32) - neutral_color()
    for axis in (kernel, tf.transpose(kernel, [1, 0, 2, 3])):
        blurred = tf.nn.depthwise_conv2d(blurred, axis, [1, 1, 1, 1], "SAME")
    return blurred + neutral_color()


def neutral_color() -> tf.Tensor:
    """The color, float32 `[3]` in 0..255, that ImageNet's normalization maps to zero."""
    return 255 * tf.constant(IMAGENET_MEAN)


def pixel_curve(probabilities, start, finish, saliency, class_ids, steps=STEPS):
    """The class's probability while pixels of `start` are replaced by those of `finish`, most salient first.

    RISE (BMVC 2018): insertion goes from the blurred image to the image, deletion from the image to the neutral
    color. At 224 pixels, 28 steps replace 224 * 8 pixels each.

    Arguments and result are as for `insertion`, but for `start` and `finish`, images `[B, S, S, 3]` in 0..255,
    and `saliency` `[B, S, S]`, of which pixels of equal saliency go in reading order.
    """
    pixels = start.shape[1] * start.shape[2]
    start, finish = tf.cast(start, tf.float32), tf.cast(finish, tf.float32)
    order = tf.argsort(tf.reshape(saliency, [-1, pixels]), direction="DESCENDING", stable=True)
    rank = tf.reshape(tf.argsort(order), [*tf.unstack(tf.shape(saliency)), 1])

    def score(step):
        mixed = tf.where(rank < step * pixels // steps, finish, start)
        return tf.gather(probabilities(mixed), class_ids, axis=1, batch_dims=1)

    scores = tf.map_fn(score, tf.range(steps + 1), fn_output_signature=tf.float32, parallel_iterations=1)
    return tf.transpose(scores)


def shares(steps: int) -> list[float]:
    """The share of the pixels that are replaced at each point of a curve of so many steps."""
    return [step / steps for step in range(steps + 1)]


def area_under(curves: tf.Tensor) -> tf.Tensor:
    """The area under each of `[B, n]` curves by the trapezoid rule, on an axis from 0 to 1: float `[B]`."""
    return tf.reduce_mean((curves[:, 1:] + curves[:, :-1]) / 2, 1)
