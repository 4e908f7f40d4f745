"""Normalizations whose gradient has a gradient: what a head needs, and Keras' own have only nearly.

These take their variance from `tf.nn.moments`, which takes the mean within it as a constant. The first derivative
allows that, the second does not: of n numbers that are normalized together it misses an n-th.
"""

import keras
import tensorflow as tf

from cgc_tf.method.twins import twin


@keras.saving.register_keras_serializable("cgc_tf")
class ExactLayerNormalization(keras.layers.LayerNormalization):
    """Keras' layer over the last axis. Statistics are float32 or more."""

    def call(self, inputs):
        x = tf.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        mean, variance = _moments(x, [-1], keepdims=True)
        outputs = (x - mean) * tf.math.rsqrt(variance + self.epsilon)
        outputs = outputs * tf.cast(self.gamma, x.dtype) + tf.cast(self.beta, x.dtype)
        return tf.cast(outputs, self.compute_dtype)


@keras.saving.register_keras_serializable("cgc_tf")
class ExactBatchNormalization(keras.layers.BatchNormalization):
    """Keras' layer, but for statistics of masked inputs and of several replicas together, which are Keras' own."""

    def _moments(self, inputs, mask):
        if mask is not None or self.synchronized:
            return super()._moments(inputs, mask)
        return _moments(inputs, self._reduction_axes)


def exact(layer: keras.layers.Layer) -> keras.layers.Layer:
    """An exact layer of the same variables, of a layer that computes the same; others as they are."""
    if type(layer) is keras.layers.BatchNormalization:
        made = twin(layer, ExactBatchNormalization)
        made._reduction_axes = layer._reduction_axes  # which building makes, beside the variables
        return made
    is_plain = type(layer) is keras.layers.LayerNormalization and layer.gamma is not None and layer.beta is not None
    if not is_plain or layer.rms_scaling or layer.axis not in (-1, [-1]):
        return layer
    return twin(layer, ExactLayerNormalization)


def _moments(x, axes, keepdims=False):
    mean = tf.reduce_mean(x, axes, keepdims=True)
    variance = tf.reduce_mean((x - mean) ** 2, axes, keepdims=keepdims)
    return mean if keepdims else tf.reshape(mean, tf.shape(variance)), variance
