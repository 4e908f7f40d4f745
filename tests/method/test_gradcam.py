"""Class activation maps: against tf-explain, by hand, and against each other where theory says they agree."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tf_explain.core import grad_cam

from cgc_tf.method import gradcam
from cgc_tf.method.model import CGCModel
from cgc_tf.method.objective import Objective


def classifier():
    images = keras.Input((32, 32, 3))
    features = keras.layers.Conv2D(8, 3, strides=4, activation="relu", name="features")(images)
    return keras.Model(images, keras.layers.Dense(4)(keras.layers.GlobalAveragePooling2D()(features)))


def draw(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def test_heatmap_agrees_with_tf_explain():
    """With global average pooling and a linear head the two forms of Grad-CAM agree up to a constant."""
    whole, images = classifier(), draw(3, 32, 32, 3)
    ours = CGCModel.from_classifier(whole, objective=Objective(cam="gradcam")).explain(images, [2, 2, 2])["heatmap"]
    outputs, gradients = grad_cam.GradCAM.get_gradients_and_filters(whole, images, "features", 2, False)
    theirs = np.stack(grad_cam.GradCAM.generate_ponderated_output(outputs, gradients))
    assert ours.numpy().max() > 0
    np.testing.assert_allclose(ours, np.maximum(theirs, 0), atol=1e-6)


def test_class_is_the_predicted_one_unless_given():
    model = CGCModel.from_classifier(classifier())
    features = model.trunk(draw(5, 32, 32, 3))
    logits, predicted, class_ids = gradcam.class_gradients(model.head, features)
    np.testing.assert_array_equal(class_ids, tf.argmax(logits, -1))
    _, given, _ = gradcam.class_gradients(model.head, features, class_ids)
    np.testing.assert_array_equal(predicted, given)
    _, other, _ = gradcam.class_gradients(model.head, features, (class_ids + 1) % 4)
    assert np.abs(predicted - other).max() > 0


def test_kinds_by_hand():
    """Two positions, two channels, worked out on paper.

    Features (1, 2) and (3, 0), gradients (1, -1) and (0.5, 1), at the left and at the right.
    """
    features = tf.constant([[[[1.0, 2.0], [3.0, 0.0]]]])
    gradients = tf.constant([[[[1.0, -1.0], [0.5, 1.0]]]])
    # gradcam++: shares are g^2 / (2 g^2 + sum(A) g^3), sum(A) being 4 and 2; channel 1 counts by its right gradient.
    weights = (1 / 6 * 1 + 0.25 / (0.5 + 4 * 0.125) * 0.5, 1 / 4 * 1)
    expected = {
        "hirescam": [0.0, 1.5],  # 1 - 2 < 0; 3 * .5 + 0
        "gradcam": [0.75, 2.25],  # mean gradients .75 and 0
        "gradcam++": [weights[0] + 2 * weights[1], 3 * weights[0]],
        "layercam": [1.0, 1.5],  # the negative gradient is left out
    }
    assert set(expected) == set(gradcam.CAMS)
    for cam, values in expected.items():
        np.testing.assert_allclose(gradcam.heatmap(cam, features, gradients)[0, 0], values, rtol=1e-6, err_msg=cam)


@pytest.mark.parametrize("cam", gradcam.CAMS)
def test_kinds_with_an_average_pooling_head(cam):
    """There gradients are the same at every position: hirescam is gradcam, and where they are positive layercam."""
    features, weights = draw(2, 4, 5, 3), draw(2, 1, 1, 3, seed=1)
    heatmaps = gradcam.heatmap(cam, features, np.tile(weights, (1, 4, 5, 1)))
    if cam != "gradcam++":
        np.testing.assert_allclose(heatmaps, gradcam.heatmap("hirescam", features, weights), rtol=1e-5)
    assert heatmaps.dtype == tf.float32 and np.min(heatmaps) >= 0


@pytest.mark.parametrize("cam", gradcam.CAMS)
@pytest.mark.parametrize("scale", [0.0, 1e-15, 1.0])
def test_kinds_stay_finite(cam, scale):
    features, gradients = tf.constant(scale * draw(1, 3, 3, 2)), tf.constant(draw(1, 3, 3, 2, seed=1) - 0.5)
    with tf.GradientTape() as tape:
        tape.watch([features, gradients])
        heatmaps = gradcam.heatmap(cam, features, scale * gradients)
    assert np.isfinite(heatmaps).all()
    for gradient in tape.gradient(heatmaps, [features, gradients], unconnected_gradients="zero"):
        assert np.isfinite(gradient).all()


def test_half_precision_features_give_float32_heatmaps():
    features = tf.cast(draw(1, 3, 3, 2), tf.bfloat16)
    assert gradcam.heatmap("hirescam", features, features).dtype == tf.float32
