"""ScoreCAM: channels weighed by what the network answers when it sees only where each is active."""

import tensorflow as tf

from cgc_tf.evaluation.curves import neutral_color
from cgc_tf.method import metrics

AT_ONCE = 32  # masked images in memory


def scorecam(trunk, logits, image, class_id):
    """The heatmap of one image (Wang et al., "Score-CAM", CVPR Workshops 2020, algorithm 1).

    Each channel of the features, enlarged to the image and scaled to 0..1, is a mask. A channel's weight is the softmax
    over channels of the class's logit of the masked image; so what the paper takes off each logit, that of an empty
    image, cancels out. What is masked turns to ImageNet's mean color, zero of the normalized image. That is one forward
    pass for each channel.

    Args:
        trunk: a callable, images `[B, H, W, 3]` in 0..255 -> features `[B, h, w, C]`.
        logits: a callable, images likewise -> float32 `[B, classes]`.
        image: float32 `[H, W, 3]`.
        class_id: int, the class to explain.

    Returns:
        float32 `[h, w]`, >= 0.
    """
    features = tf.cast(trunk(image[None])[0], tf.float32)
    channels = tf.transpose(features, [2, 0, 1])
    scores = []
    for start in range(0, len(channels), AT_ONCE):
        masks = metrics.upsample(channels[start : start + AT_ONCE], image.shape[:2])
        low, high = (edge(masks, [1, 2], keepdims=True) for edge in (tf.reduce_min, tf.reduce_max))
        masks = tf.math.divide_no_nan(masks - low, high - low)
        scores.append(logits(neutral_color() + tf.expand_dims(masks, -1) * (image - neutral_color()))[:, class_id])
    return tf.nn.relu(tf.reduce_sum(features * tf.nn.softmax(tf.concat(scores, 0)), -1))
