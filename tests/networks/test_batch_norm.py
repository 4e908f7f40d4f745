"""The fused batch normalization against Keras' own, and which layers become it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from cgc_tf.method import exact_norms
from cgc_tf.method.model import CGCModel
from cgc_tf.networks import backbones, batch_norm

SHAPE = (4, 5, 6, 3)


def normalize(fused, policy="float32", training=True, **settings):
    """Outputs, gradients and moving statistics of one call on features of uneven channels."""
    rng = np.random.default_rng(0)
    layer = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, dtype=policy)
    model = keras.Sequential([keras.Input(SHAPE[1:]), layer])
    for weight, values in zip(layer.weights, rng.uniform(0.5, 2, (4, 3)), strict=True):
        weight.assign(values)
    if fused:
        batch_norm.fuse(model)
        assert type(layer) is batch_norm.FusedBatchNormalization
    for name, value in settings.items():
        setattr(layer, name, value)
    features = tf.cast(rng.normal([0, 1, -2], [1, 2, 0.5], SHAPE), layer.compute_dtype)
    with tf.GradientTape() as tape:
        tape.watch(features)
        outputs = layer(features, training=training)
        loss = tf.reduce_sum(tf.cast(outputs, tf.float32) * rng.normal(0, 1, SHAPE))
    assert outputs.dtype == layer.compute_dtype
    gradients = tape.gradient(loss, [features, *(v.value for v in layer.trainable_variables)])
    return [np.asarray(tf.cast(x, tf.float32)) for x in (outputs, *gradients, layer.moving_mean, layer.moving_variance)]


@pytest.mark.parametrize(
    ("policy", "tolerance"), [("float32", 1e-4), ("mixed_bfloat16", 0.02), ("mixed_float16", 4e-3)]
)
def test_training_is_keras_own(policy, tolerance):
    *ours, our_variance = normalize(True, policy)
    *theirs, their_variance = normalize(False, policy)
    for our, their in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(our, their, rtol=tolerance, atol=tolerance)
    count, before = np.prod(SHAPE[:3]), 0.9 * normalize(True, policy, training=False)[-1]
    np.testing.assert_allclose(our_variance - before, (their_variance - before) * count / (count - 1), rtol=1e-3)


@pytest.mark.parametrize("settings", [{"training": False}, {"trainable": False}, {"synchronized": True}])
def test_all_else_is_keras_own(settings):
    for our, their in zip(normalize(True, **settings), normalize(False, **settings), strict=True):
        np.testing.assert_array_equal(our, their)


def test_a_trunks_layers_are_fused_and_a_heads_are_not():
    """The kernel's gradient has none of its own, and a heatmap's loss is differentiated through the head's gradient."""
    network = backbones.build_backbone("resnet8", "none", 48, "stack1_block0_out")
    model = CGCModel.from_classifier(backbones.add_classifier(network, 3), "stack1_block0_out")
    kinds = [
        {type(layer) for layer in part.layers if isinstance(layer, keras.layers.BatchNormalization)}
        for part in (model.trunk, model.head)
    ]
    assert kinds == [{batch_norm.FusedBatchNormalization}, {exact_norms.ExactBatchNormalization}]


def test_unusual_layers_are_left_alone():
    layers = [keras.layers.BatchNormalization(**kind) for kind in ({"axis": 1}, {"scale": False}, {"center": False})]
    model = keras.Sequential(
        [keras.Input(SHAPE[1:]), *layers, keras.layers.Flatten(), keras.layers.BatchNormalization()]
    )
    batch_norm.fuse(model)
    assert [type(layer) is batch_norm.FusedBatchNormalization for layer in model.layers] == [False] * 4 + [True]
    assert np.isfinite(model(np.ones(SHAPE, np.float32), training=True)).all()  # whose last one is of vectors
