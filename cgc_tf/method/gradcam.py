"""Class activation maps: from a layer's features and a class to a heatmap. Pure functions of tensors.

The gradient is taken over the head alone: the features are what the trunk has already computed, so a heatmap
never costs a second pass through the network.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

SIMILAR = 3  # classes that Finer-CAM compares with


def logit_of_class(logits: tf.Tensor, class_ids: tf.Tensor) -> tf.Tensor:
    """What is explained unless another target is given: of logits `[B, classes]` each example's own, `[B]`."""
    return tf.gather(logits, class_ids, axis=1, batch_dims=1)


def finer(logits: tf.Tensor, class_ids: tf.Tensor) -> tf.Tensor:
    """Finer-CAM's target: the class's logit less the mean logit of the classes most like it (Zhang et al., CVPR 2025).

    These are, as in the authors' code, the three whose logits are nearest, weighed by their probabilities, at full
    strength (alpha 1). Of a single class the target is its logit.

    Args:
        logits: float32 `[B, classes]`.
        class_ids: int `[B]`.

    Returns:
        float32 `[B]`.
    """
    own = logit_of_class(logits, class_ids)
    is_own = tf.one_hot(class_ids, logits.shape[1], on_value=True, off_value=False)
    distances = tf.where(is_own, np.inf, tf.abs(logits - own[:, None]))
    nearest = tf.argsort(distances)[:, : min(SIMILAR, logits.shape[1] - 1)]
    others = tf.gather(logits, nearest, axis=1, batch_dims=1)
    return own - tf.reduce_sum(tf.nn.softmax(others) * others, 1)


def class_gradients(
    head: Callable[[tf.Tensor], tf.Tensor],
    features: tf.Tensor,
    class_ids: tf.Tensor | None = None,
    target: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] = logit_of_class,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Logits, and the gradient of one class's logit, or of another target, with respect to the features.

    Called under an outer tape the gradient is itself differentiable, which is what CGC trains through.

    Args:
        head: a callable, features `[B, h, w, C]` -> logits `[B, classes]`.
        features: `[B, h, w, C]`.
        class_ids: int `[B]`, the classes to explain; None explains each example's predicted class.
        target: what of a class is explained: `logit_of_class` or `finer`.

    Returns:
        `(logits, gradients, class_ids)`: float32 `[B, classes]`, `[B, h, w, C]`, int32 `[B]`.
    """
    with tf.GradientTape() as tape:
        tape.watch(features)
        logits = tf.cast(head(features), tf.float32)
        if class_ids is None:
            class_ids = tf.argmax(logits, -1, output_type=tf.int32)
        explained = target(logits, class_ids)
    # Declared as a sparse gradient too, which only an embedding has.
    gradients: tf.Tensor = tape.gradient(explained, features)  # pyright: ignore[reportAssignmentType]
    return logits, gradients, tf.cast(class_ids, tf.int32)


def hirescam(features: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """relu(sum over channels of gradient * feature), the reference's form (Draelos & Carin, "HiResCAM", 2020).

    With a global-average-pooling and linear head it is classic Grad-CAM up to a constant.
    """
    return tf.nn.relu(tf.reduce_sum(features * gradients, -1))


def gradcam(features: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """Features weighed by their gradients' spatial mean (Selvaraju et al., ICCV 2017, eq. 1 and 2)."""
    weights = tf.reduce_mean(gradients, [1, 2], keepdims=True)
    return tf.nn.relu(tf.reduce_sum(features * weights, -1))


def gradcam_plus_plus(features: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """Features weighed by their positive gradients, each by its own share (Chattopadhay et al., WACV 2018, eq. 10, 19).

    The score is exp(logit), whose own value scales the whole heatmap and is left out.
    """
    squares = gradients**2
    total = tf.reduce_sum(features, [1, 2], keepdims=True)
    shares = tf.math.divide_no_nan(squares, 2 * squares + total * squares * gradients)
    weights = tf.reduce_sum(shares * tf.nn.relu(gradients), [1, 2], keepdims=True)
    return tf.nn.relu(tf.reduce_sum(features * weights, -1))


def layercam(features: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """Features weighed by their positive gradients, position by position (Jiang et al., TIP 2021, eq. 5 and 6)."""
    return tf.nn.relu(tf.reduce_sum(features * tf.nn.relu(gradients), -1))


CAMS = {"hirescam": hirescam, "gradcam": gradcam, "gradcam++": gradcam_plus_plus, "layercam": layercam}


def heatmap(cam: str, features: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """One of `CAMS` by name, in float32 whatever the features' dtype.

    Args:
        cam: a key of `CAMS`.
        features: `[B, h, w, C]`.
        gradients: `[B, h, w, C]`.

    Returns:
        float32 `[B, h, w]`, >= 0.
    """
    return CAMS[cam](tf.cast(features, tf.float32), tf.cast(gradients, tf.float32))


def eigencam(features: tf.Tensor) -> tf.Tensor:
    """The features' first principal component, of whichever class (Muhammad & Yeasin, "Eigen-CAM", IJCNN 2020).

    It is O V_1 of O = U S V', positions by channels. As in the paper, features are not centered. Of its two signs this
    is the one with the positive sum: then no position is negative where, as behind a ReLU, no feature is.

    Args:
        features: `[B, h, w, C]`.

    Returns:
        float32 `[B, h, w]`, >= 0.
    """
    shape = tf.shape(features)
    values, positions, _ = tf.linalg.svd(tf.reshape(tf.cast(features, tf.float32), [shape[0], -1, shape[3]]))
    component = tf.reshape(values[:, :1] * positions[:, :, 0], shape[:3])
    return tf.nn.relu(component * tf.sign(tf.reduce_sum(component, [1, 2], keepdims=True)))
