"""Taking classifiers apart: where it can be done, that nothing changes by it, and what is refused."""

import keras
import numpy as np
import pytest

from cgc_tf.method.trunk_and_head import feature_maps, split

layers = keras.layers


def residual(outputs=3, nested=False):
    """conv, a residual block of two convolutions, and a linear head."""
    images = keras.Input((32, 32, 3), name="pictures")
    start = layers.Conv2D(4, 3, strides=4, padding="same", name="start")(images)
    inner = layers.Conv2D(4, 3, padding="same", activation="relu", name="inner")(start)
    end = layers.Add(name="end")([start, layers.Conv2D(4, 3, padding="same", name="second")(inner)])
    if nested:
        network = keras.Model(images, end, name="network")
        return keras.Sequential([network, layers.GlobalAveragePooling2D(), layers.Dense(outputs)])
    return keras.Model(images, layers.Dense(outputs)(layers.GlobalAveragePooling2D()(end)))


def pictures(count=2):
    return np.random.default_rng(0).random((count, 32, 32, 3), np.float32)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(("layer", "shape"), [(None, (8, 8, 4)), ("start", (8, 8, 4)), ("end", (8, 8, 4))])
def test_trunk_then_head_is_the_classifier(nested, layer, shape):
    classifier = residual(nested=nested)
    trunk, head = split(classifier, layer)
    features = trunk(pictures())
    assert features.shape == (2, *shape)
    np.testing.assert_allclose(head(features), classifier(pictures()), atol=1e-6)
    shared = {id(weight) for weight in (*trunk.weights, *head.weights)}
    assert shared == {id(weight) for weight in classifier.weights}


def test_a_layer_inside_a_residual_block_is_refused_with_those_that_can_be_explained():
    with pytest.raises(ValueError, match=r"explain_layer=inner cannot be split off; these can: start, end$"):
        split(residual(), "inner")


@pytest.mark.sampled
@pytest.mark.parametrize(("name", "least"), [("MobileNetV2", 30), ("DenseNet121", 10), ("VGG16", 17)])
def test_every_layer_that_is_offered_can_be_split_off(name, least):
    """On real networks any offered cut gives the same logits."""
    network = getattr(keras.applications, name)(
        weights=None, input_shape=(32, 32, 3), classes=5, classifier_activation=None
    )
    offered = list(feature_maps(network.inputs[0], network.output))
    assert len(offered) >= least
    expected = network(pictures(1) * 255)
    for layer in (offered[0], offered[len(offered) // 2], offered[-1]):
        trunk, head = split(network, layer)
        np.testing.assert_allclose(head(trunk(pictures(1) * 255)), expected, rtol=1e-4, atol=1e-5)


def test_default_is_the_last_map_that_has_positions():
    """A classifier that pools to 1x1 and classifies by a 1x1 convolution is explained before the pooling."""
    images = keras.Input((32, 32, 3))
    features = layers.Conv2D(4, 3, strides=4, name="features")(images)
    pooled = layers.GlobalAveragePooling2D(keepdims=True)(features)
    logits = layers.Reshape((3,))(layers.Conv2D(3, 1)(pooled))
    trunk, _ = split(keras.Model(images, logits))
    assert trunk.output_shape == (None, 8, 8, 4)


def test_refuses_what_is_no_classifier():
    images = keras.Input((8, 8, 3))
    features = layers.Conv2D(4, 3)(images)
    with pytest.raises(ValueError, match="gives logits"):
        split(keras.Model(images, features))
    with pytest.raises(ValueError, match="no 4-D feature map"):
        split(keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(2)]))

    class Own(keras.Model):
        def call(self, x):
            return x

    own = Own()
    own.build((None, 8, 8, 3))
    with pytest.raises(ValueError, match=r"functional or sequential keras.Model"):
        split(own)
