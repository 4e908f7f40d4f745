"""Grad-CAM against tf-explain's, and its second-order gradient against finite differences."""

import keras
import numpy as np
import tensorflow as tf
from tf_explain.core import grad_cam

from cgc_tf import gradcam
from cgc_tf.model import CGCModel


def network():
    images = keras.Input((32, 32, 3))
    features = keras.layers.Conv2D(8, 3, strides=4, activation="relu", name="features")(images)
    trunk = keras.Model(images, features)
    inputs = keras.Input(trunk.output_shape[1:])
    logits = keras.layers.Dense(4)(keras.layers.GlobalAveragePooling2D()(inputs))
    return trunk, keras.Model(inputs, logits)


def test_heatmap_agrees_with_tf_explain():
    """With global average pooling and a linear head the two forms of Grad-CAM agree up to a constant."""
    trunk, head = network()
    images = np.random.default_rng(0).random((3, 32, 32, 3), np.float32)
    ours = CGCModel(trunk, head).explain(images, [2, 2, 2])["heatmap"]
    features = trunk.get_layer("features").output
    whole = keras.Model(trunk.inputs, head(features))
    outputs, gradients = grad_cam.GradCAM.get_gradients_and_filters(whole, images, "features", 2, False)
    theirs = np.stack(grad_cam.GradCAM.generate_ponderated_output(outputs, gradients))
    assert ours.numpy().max() > 0
    np.testing.assert_allclose(ours, np.maximum(theirs, 0), atol=1e-6)


def test_class_is_the_predicted_one_unless_given():
    trunk, head = network()
    features = trunk(np.random.default_rng(1).random((5, 32, 32, 3), np.float32))
    logits, predicted, class_ids = gradcam.class_gradients(head, features)
    np.testing.assert_array_equal(class_ids, tf.argmax(logits, -1))
    _, given, _ = gradcam.class_gradients(head, features, class_ids)
    np.testing.assert_array_equal(predicted, given)
    _, other, _ = gradcam.class_gradients(head, features, (class_ids + 1) % 4)
    assert np.abs(predicted - other).max() > 0


def test_second_order_gradient_by_finite_differences():
    """With a hidden layer in the head the gradient inside the heatmap depends on the features and the weights."""
    rng = np.random.default_rng(2)
    features = tf.constant(rng.random((2, 3, 3, 4)))
    hidden, out = (tf.Variable(rng.standard_normal(shape)) for shape in ((4, 6), (6, 3)))

    def total(hidden_weights):
        head = lambda x: tf.math.softplus(tf.reduce_mean(tf.cast(x, tf.float64), [1, 2]) @ hidden_weights) @ out
        with tf.GradientTape() as tape:
            tape.watch(features)
            explained = head(features)[:, 1]
        return tf.reduce_sum(tf.nn.relu(tf.reduce_sum(tape.gradient(explained, features) * features, -1)))

    with tf.GradientTape() as tape:
        value = total(hidden)
    gradient = tape.gradient(value, hidden).numpy()
    for index in [(0, 0), (3, 5), (2, 1)]:
        step = np.zeros((4, 6))
        step[index] = 1e-6
        numeric = (total(hidden + step) - total(hidden - step)) / 2e-6
        np.testing.assert_allclose(gradient[index], numeric, rtol=1e-4, atol=1e-8)
