"""ScoreCAM, EigenCAM and FinerCAM against PyTorch's grad-cam (testdata/grad_cam.py), and by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from cgc_tf.evaluation import explainers, scorecam
from cgc_tf.method import gradcam
from cgc_tf.method.model import CGCModel
from cgc_tf.networks.preprocessing import imagenet_normalization


@pytest.fixture(scope="module")
def cams(golden):
    return golden("cams")


@pytest.fixture(scope="module")
def network(cams):
    """The network of testdata/grad_cam.py."""
    images = keras.Input([None, None, 3])
    x = keras.layers.Conv2D(6, 3, strides=2, activation="relu")(imagenet_normalization()(images))
    features = keras.layers.Conv2D(9, 3, activation="relu", name="features")(x)
    hidden = keras.layers.Dense(7, activation="relu")(keras.layers.GlobalMaxPooling2D()(features))
    classifier = keras.Model(images, keras.layers.Dense(6)(hidden))
    classifier.set_weights([cams[f"weight{place}"] for place in range(8)])
    return CGCModel.from_classifier(classifier, "features")


@pytest.mark.parametrize("name", ["finercam", "scorecam", "eigencam"])
def test_heatmaps_are_those_of_an_independent_implementation(network, cams, name, monkeypatch):
    monkeypatch.setattr(scorecam, "AT_ONCE", 4)  # of nine channels
    np.testing.assert_allclose(network(cams["images"]), cams["logits"], rtol=1e-4, atol=1e-4)
    expected = cams[name]
    if name == "eigencam":  # whose sign is open there
        expected = expected * np.sign(expected.sum((1, 2), keepdims=True))
    found = explainers.make(name, network)(cams["images"], tf.constant(cams["class_ids"], tf.int32))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * expected.max())


def test_finer_by_hand():
    """Nearest to 2 are 1.5, 3 and 0.5, of any order, and not -4; weights are their shares of probability."""
    logits = tf.constant([[2.0, 3.0, -4.0, 0.5, 1.5]])
    shares = np.exp([3.0, 0.5, 1.5])
    expected = 2 - np.sum(shares * [3.0, 0.5, 1.5]) / np.sum(shares)
    np.testing.assert_allclose(gradcam.finer(logits, tf.constant([0])), [expected], rtol=1e-6)
    np.testing.assert_allclose(gradcam.finer(logits[:, :2], tf.constant([0])), [2 - 3])  # two classes: their difference
    np.testing.assert_allclose(gradcam.finer(logits[:, :1], tf.constant([0])), [2])
    np.testing.assert_allclose(gradcam.finer(tf.constant([[1.0, 1.0]]), tf.constant([1])), [0])  # not itself


def test_eigencam_by_hand():
    """Features (3, 4) and (6, 8) and none lie on one line: their component is their length, 5 and 10 and 0."""
    features = tf.constant([[[[3.0, 4.0], [6.0, 8.0], [0.0, 0.0]]]])
    np.testing.assert_allclose(gradcam.eigencam(features), [[[5, 10, 0]]], atol=1e-5)
    np.testing.assert_allclose(gradcam.eigencam(-features), [[[5, 10, 0]]], atol=1e-5)
    assert np.max(gradcam.eigencam(0 * features)) == 0


def test_eigencam_of_features_behind_a_relu_has_no_negative_part():
    features = tf.nn.relu(np.random.default_rng(0).normal(size=(4, 5, 6, 7)).astype(np.float32))
    flat = np.linalg.svd(tf.reshape(features, [4, 30, 7]))
    np.testing.assert_allclose(
        gradcam.eigencam(features), np.abs(flat.U[:, :, 0] * flat.S[:, :1]).reshape(4, 5, 6), rtol=1e-4, atol=1e-5
    )


def test_scorecam_by_hand():
    """Two channels, each lit in one half; the logit is the mean red, so that of the brighter half counts more."""
    image = np.zeros([2, 2, 3], np.float32)
    image[:, 0, 0], image[:, 1, 0] = 200, 120
    features = np.eye(2, dtype=np.float32)[None, None].repeat(2, 1)  # left, right
    found = scorecam.scorecam(lambda _: features, lambda x: tf.reduce_mean(x, [1, 2]) / 10, tf.constant(image), 0)
    neutral = 255 * 0.485
    logits = np.array([(200 + neutral) / 2, (neutral + 120) / 2]) / 10
    weights = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(found, [weights, weights], rtol=1e-4)
