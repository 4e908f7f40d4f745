"""The contrastive loss as the paper states it, on maps of image size, one example at a time."""

import tensorflow as tf

EPSILON, VARIANCE = 1e-8, 1e-4


def literal(original, augmented, transform, size, temperature, resize=tf.image.resize, similarity="cosine"):
    """Heatmaps `[B, h, w]` and T `[B, 5]` -> similarity to the positive and loss, each `[B]`."""
    maps, carried = [], []
    for index in range(original.shape[0]):
        top, left, height, width, flip = tf.unstack(transform[index])
        normalized = _normalized(original[index], size, resize)
        crop = resize(normalized[top : top + height, left : left + width], size)
        carried.append(tf.reshape(tf.where(flip > 0, crop[:, ::-1], crop), [-1]))
        maps.append(tf.reshape(_normalized(augmented[index], size, resize), [-1]))
    maps, carried = (tf.stack([_of_length_one(each, similarity) for each in these]) for these in (maps, carried))
    positive = tf.reduce_sum(maps * carried, -1)
    logits = tf.linalg.set_diag(tf.matmul(maps, maps, transpose_b=True), positive) / temperature
    labels = tf.range(maps.shape[0])
    return positive, tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def _of_length_one(pixels, similarity):
    if similarity == "cosine":
        return pixels / tf.norm(pixels)
    centered = (pixels - tf.reduce_mean(pixels)) * len(pixels)
    return centered / tf.sqrt(tf.reduce_sum(centered**2) + VARIANCE * len(pixels))


def _normalized(heatmap, size, resize):
    """A heatmap `[h, w]` at image size, `[H, W, 1]`, as the reference normalizes it."""
    whole = resize(heatmap[..., None], size)
    return whole / (tf.reduce_sum(whole) + EPSILON) + EPSILON
