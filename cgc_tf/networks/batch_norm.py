"""Batch normalization by one kernel, where Keras takes ten operations."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("cgc_tf")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Keras' layer with TensorFlow's fused kernel in training, where Keras goes over the batch once for each operation.

    Features `[B, h, w, C]` of any float dtype; statistics are float32. The moving variance takes the unbiased variance
    of a batch, as PyTorch's does. The kernel's gradient has no gradient of its own.
    """

    def call(self, inputs, training=None, mask=None):
        is_plain = len(inputs.shape) == 4 and mask is None and not self.synchronized
        if not (training and self.trainable and is_plain):
            return super().call(inputs, training=training, mask=mask)
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs, scale=self.gamma, offset=self.beta, mean=[], variance=[], epsilon=self.epsilon
        )
        for moving, current in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(self.momentum * moving + (1 - self.momentum) * current)
        return outputs


def fuse(trunk: keras.Model) -> None:
    """Turns a trunk's layers, where the kernel can do what they do, into `FusedBatchNormalization`, weights and all."""
    for layer in trunk._flatten_layers():
        is_plain = type(layer) is keras.layers.BatchNormalization and layer.axis in (-1, 3) and not layer.renorm
        if is_plain and layer.scale and layer.center:
            layer.__class__ = FusedBatchNormalization  # which holds nothing more than Keras' does
