"""Grad-CAM: from a layer's features and a class to a heatmap. Pure functions of tensors.

The gradient is taken over the head alone: the features are what the trunk has already computed, so a heatmap
never costs a second pass through the network.
"""

import tensorflow as tf


def class_gradients(head, features, class_ids=None):
    """Logits, and the gradient of one class's logit with respect to the features.

    Called under an outer tape the gradient is itself differentiable, which is what CGC trains through.

    Args:
        head: a callable, features `[B, h, w, C]` -> logits `[B, classes]`.
        features: `[B, h, w, C]`.
        class_ids: int `[B]`, the classes to explain; None explains each example's predicted class.

    Returns:
        `(logits, gradients, class_ids)`: float32 `[B, classes]`, `[B, h, w, C]`, int32 `[B]`.
    """
    with tf.GradientTape() as tape:
        tape.watch(features)
        logits = tf.cast(head(features), tf.float32)
        if class_ids is None:
            class_ids = tf.argmax(logits, -1, output_type=tf.int32)
        explained = tf.gather(logits, class_ids, axis=1, batch_dims=1)
    return logits, tape.gradient(explained, features), tf.cast(class_ids, tf.int32)


def hirescam(features, gradients):
    """relu(sum over channels of gradient * feature), the reference's form of Grad-CAM.

    With a global-average-pooling and linear head it is classic Grad-CAM up to a constant (Draelos & Carin,
    "HiResCAM", 2020).

    Args:
        features, gradients: `[B, h, w, C]`.

    Returns:
        float32 `[B, h, w]`, >= 0.
    """
    features, gradients = tf.cast(features, tf.float32), tf.cast(gradients, tf.float32)
    return tf.nn.relu(tf.reduce_sum(features * gradients, -1))
