"""ROAD: how the class's probability holds as pixels are removed, their place filled from what is around them.

Pixels that turn gray tell by their outline which they were. Here a removed pixel is the weighted mean of its neighbors,
removed ones included, with a little noise: the solution of a sparse linear system for each image (Rong et al., "A
Consistent and Efficient Evaluation Strategy for Attribution Methods", ICML 2022, section 4.3).
"""

import functools

import numpy as np
import tensorflow as tf
from scipy import sparse
from scipy.sparse import linalg

from cgc_tf.method import metrics

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9)  # of the pixels, removed; those of the authors' experiments
NOISE = 0.01  # standard deviation, of the range 0..255
NEIGHBORS = {(0, 1): 1 / 6, (1, 0): 1 / 6, (1, 1): 1 / 12, (1, -1): 1 / 12}  # and those opposite, with equal weights


def road(probabilities, images, heatmaps, class_ids, seed=0):
    """The class's probability with each of `SHARES` removed, the most and the least relevant pixels first.

    Args:
        probabilities: a callable, `[B, S, S, 3]` in 0..255 -> `[B, classes]`.
        images: `[B, S, S, 3]` in 0..255.
        heatmaps: `[B, h, w]`, of which pixels of equal relevance go in reading order.
        class_ids: int `[B]`, the classes whose probabilities are followed.
        seed: of the noise, which is the same for each image.

    Returns:
        A dict: `road_most_first` and `road_least_first`, float32 `[B, 7]`.
    """
    saliency = metrics.upsample(heatmaps, images.shape[1:3])
    images = np.asarray(images, np.float64)
    pixels = saliency.shape[1] * saliency.shape[2]
    order = np.argsort(-np.reshape(saliency, [-1, pixels]), 1, kind="stable")
    noise = 255 * NOISE * np.random.default_rng(seed).standard_normal(images.shape[1:])

    def score(removed):
        filled = images.copy()
        for image, places in zip(filled, removed, strict=True):
            mask = np.zeros(pixels, bool)
            mask[places] = True
            mask = mask.reshape(image.shape[:2])
            image[mask] = imputed(image, mask) + noise[mask]
        answers = probabilities(tf.constant(filled, tf.float32))
        return tf.gather(answers, class_ids, axis=1, batch_dims=1)

    counts = [round(share * pixels) for share in SHARES]
    return {
        "road_most_first": tf.stack([score(order[:, :count]) for count in counts], 1),
        "road_least_first": tf.stack([score(order[:, pixels - count :]) for count in counts], 1),
    }


def imputed(image: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """What fills the removed pixels of an image: each the weighted mean of its neighbors, without noise.

    Args:
        image: float `[H, W, 3]`.
        removed: bool `[H, W]`, of which at least one is False.

    Returns:
        float64 `[n, 3]`, in reading order.
    """
    weights, gone = _weights(*removed.shape), removed.ravel()
    among, to_known = weights[gone][:, gone], weights[gone][:, ~gone]
    system = sparse.diags_array(weights.sum(1)[gone]) - among
    return np.asarray(linalg.spsolve(system.tocsc(), to_known @ image.reshape(-1, 3)[~gone]))


@functools.lru_cache(maxsize=1)
def _weights(height, width):
    """Which pixels are neighbors, and with which weight: sparse, symmetric `[H W, H W]`."""
    places = np.arange(height * width).reshape(height, width)
    found = sparse.coo_array((height * width, height * width))
    for (down, right), weight in NEIGHBORS.items():
        first = places[: height - down, max(0, -right) : width - max(0, right)].ravel()
        second = places[down:, max(0, right) : width - max(0, -right)].ravel()
        found += sparse.coo_array((np.full(len(first), weight), (first, second)), found.shape)
    return (found + found.T).tocsr()


def advantage(curves):
    """ROAD as one number for each image: the mean of `road`'s least relevant first less that of the most, `[B]`."""
    return tf.reduce_mean(curves["road_least_first"] - curves["road_most_first"], 1)
