"""Layer normalization whose gradient has a gradient: what a head needs, and Keras' own has only nearly."""

import keras
import tensorflow as tf

from cgc_tf.method.twins import twin


@keras.saving.register_keras_serializable("cgc_tf")
class ExactLayerNormalization(keras.layers.LayerNormalization):
    """Keras' layer over the last axis, without `tf.nn.moments`.

    That takes the mean within the variance as a constant, which the first derivative allows and the second does not:
    of C channels it misses a C-th. Statistics are float32 or more.
    """

    def call(self, inputs):
        x = tf.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        centered = x - tf.reduce_mean(x, -1, keepdims=True)
        scale = tf.math.rsqrt(tf.reduce_mean(centered**2, -1, keepdims=True) + self.epsilon)
        outputs = centered * scale * tf.cast(self.gamma, x.dtype) + tf.cast(self.beta, x.dtype)
        return tf.cast(outputs, self.compute_dtype)


def exact(layer: keras.layers.Layer) -> keras.layers.Layer:
    """An `ExactLayerNormalization` of the same variables, of a layer that computes the same; others as they are."""
    is_plain = type(layer) is keras.layers.LayerNormalization and layer.gamma is not None and layer.beta is not None
    if not is_plain or layer.rms_scaling or layer.axis not in (-1, [-1]):
        return layer
    return twin(layer, ExactLayerNormalization)
