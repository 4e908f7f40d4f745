"""ScoreCAM, EigenCAM, Finer-CAM and ROAD against PyTorch's grad-cam (testdata/grad_cam.py), and by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from cgc_tf.evaluation import explainers, road, scorecam
from cgc_tf.method import gradcam
from cgc_tf.method.model import CGCModel
from cgc_tf.networks.preprocessing import imagenet_normalization


@pytest.fixture(scope="module")
def expected(golden):
    return golden("grad_cam")


@pytest.fixture(scope="module")
def network(expected):
    """The network of testdata/grad_cam.py."""
    images = keras.Input([None, None, 3])
    x = keras.layers.Conv2D(6, 3, strides=2, activation="relu")(imagenet_normalization()(images))
    features = keras.layers.Conv2D(9, 3, activation="relu", name="features")(x)
    hidden = keras.layers.Dense(7, activation="relu")(keras.layers.GlobalMaxPooling2D()(features))
    classifier = keras.Model(images, keras.layers.Dense(6)(hidden))
    classifier.set_weights([expected[f"weight{place}"] for place in range(8)])
    return CGCModel.from_classifier(classifier, "features")


@pytest.mark.parametrize("name", ["finercam", "scorecam", "eigencam"])
def test_heatmaps_are_those_of_an_independent_implementation(network, expected, name, monkeypatch):
    monkeypatch.setattr(scorecam, "AT_ONCE", 4)  # of nine channels
    np.testing.assert_allclose(network(expected["images"]), expected["logits"], rtol=1e-4, atol=1e-4)
    theirs = expected[name]
    if name == "eigencam":  # whose sign is open there
        theirs = theirs * np.sign(theirs.sum((1, 2), keepdims=True))
    found = explainers.make(name, network)(expected["images"], tf.constant(expected["class_ids"], tf.int32))
    np.testing.assert_allclose(found, theirs, rtol=1e-3, atol=1e-4 * theirs.max())


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


@pytest.fixture
def silent(monkeypatch):
    """ROAD without its noise."""
    monkeypatch.setattr(road, "NOISE", 0)


def road_of(network, images, saliency, class_ids, seed=0):
    def probabilities(pictures):
        return tf.nn.softmax(network(pictures))

    return road.road(probabilities, images, saliency, class_ids, seed)


@pytest.mark.usefixtures("silent")
def test_road_is_that_of_an_independent_implementation(network, expected):
    images = expected["images"][:, :18, :20]
    found = road_of(network, images, expected["road_saliency"], expected["class_ids"])
    for name, curves in found.items():
        np.testing.assert_allclose(curves, expected[name], atol=1e-5)
    combined = np.mean(expected["road_least_first"] - expected["road_most_first"], 1)
    np.testing.assert_allclose(road.advantage(found), combined, atol=1e-5)


def test_imputation_by_hand():
    """Beside 10 and 40 is 25; two in a row are a third and two thirds of the way; a corner has three neighbors."""

    def filled(rows, *removed):
        image = np.repeat(np.array(rows, float)[..., None], 3, -1)
        mask = np.zeros(image.shape[:2], bool)
        for place in removed:
            mask[place] = True
        found = road.imputed(image, mask)
        np.testing.assert_allclose(found, np.repeat(found[:, :1], 3, 1))
        return found[:, 0]

    np.testing.assert_allclose(filled([[10, 0, 40]], (0, 1)), [25])
    np.testing.assert_allclose(filled([[10, 0, 0, 40]], (0, 1), (0, 2)), [20, 30])
    np.testing.assert_allclose(filled([[0, 10], [20, 40]], (0, 0)), [(10 / 6 + 20 / 6 + 40 / 12) / (5 / 12)])
    np.testing.assert_allclose(filled([[9, 6, 9], [6, 0, 6], [9, 6, 9]], (1, 1)), [4 * 6 / 6 + 4 * 9 / 12])


@pytest.mark.usefixtures("silent")
def test_road_of_an_oracle():
    """The probability is the mean red, all of it in the left half: there most relevant, it is lost at once."""
    images = np.zeros([2, 10, 10, 3], np.float32)
    images[:, :, :5, 0] = 255
    saliency = images[..., 0] / 255

    def probabilities(pictures):
        return tf.reduce_mean(pictures, [1, 2]) / 127.5

    found = road.road(probabilities, images, saliency, [0, 0])
    np.testing.assert_allclose(found["road_most_first"][:, 4], 0, atol=1e-6)  # half removed, and black all around
    np.testing.assert_allclose(found["road_least_first"][:, 4], 2, atol=1e-6)  # all is red
    assert np.all(road.advantage(found) > 0.5)
    turned = road.road(probabilities, images, 1 - saliency, [0, 0])
    np.testing.assert_allclose(turned["road_most_first"][:, 4], 2, atol=1e-6)


def test_road_has_a_seed_and_noise_of_a_hundredth(network, expected):
    images, ids = expected["images"][:, :18, :20], expected["class_ids"]
    seen = []

    def probabilities(pictures):
        seen.append(pictures.numpy())
        return tf.nn.softmax(network(pictures))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(road, "NOISE", 0)
        road.road(probabilities, images, expected["road_saliency"], ids)
    one, again, other = (road.road(probabilities, images, expected["road_saliency"], ids, seed) for seed in (1, 1, 2))
    clean, noisy = seen[6], seen[14 + 6]  # nine tenths removed
    assert (clean != noisy).any(-1).mean() == 0.9
    np.testing.assert_allclose((noisy - clean)[clean != noisy].std(), 2.55, rtol=0.05)
    alone = road.road(probabilities, images[1:2], expected["road_saliency"][1:2], ids[1:2], 1)
    for name in one:
        np.testing.assert_array_equal(one[name], again[name])
        assert np.abs(one[name] - other[name]).max() > 1e-6
        np.testing.assert_allclose(one[name][1:2], alone[name], rtol=1e-4)
