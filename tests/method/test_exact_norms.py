"""Normalizations in a head: their second derivative, by finite differences in float64; Keras' own is not exact."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from cgc_tf.method import exact_norms

LAYERS = {"batch": keras.layers.BatchNormalization, "layer": keras.layers.LayerNormalization}


@pytest.fixture(params=LAYERS)
def layer(request):
    made = LAYERS[request.param](dtype="float64")
    made.build((None, 5))
    made.gamma.assign(np.linspace(0.5, 1.5, 5))
    return made


def second_derivative_error(layer):
    """How far the gradient of a directional derivative is from its finite differences, relative to it."""
    rng = np.random.default_rng(0)
    x, weights, direction = (tf.constant(rng.normal(size=(6, 5))) for _ in range(3))

    def slope(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = tf.reduce_sum(weights * tf.nn.softplus(layer(x, training=True) if is_batch else layer(x)))
        return tf.reduce_sum(direction * tape.gradient(value, x))

    is_batch = isinstance(layer, keras.layers.BatchNormalization)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = slope(x)
    gradient, step = tape.gradient(value, x).numpy(), 1e-5
    shifts = step * np.eye(30).reshape(30, 6, 5)
    expected = [float(slope(x + shift) - slope(x - shift)) / (2 * step) for shift in shifts]
    return np.linalg.norm(gradient.ravel() - expected) / np.linalg.norm(expected)


def test_the_second_derivative_is_exact(layer):
    exact = exact_norms.exact(layer)
    assert type(exact) is not type(layer)
    assert second_derivative_error(exact) < 1e-7
    assert second_derivative_error(layer) > 1e-4  # Keras' own; once that is exact, ours can go


def test_it_computes_the_same_with_the_same_variables(layer):
    exact = exact_norms.exact(layer)
    assert all(ours is theirs for ours, theirs in zip(exact.variables, layer.variables, strict=True))
    x = np.random.default_rng(1).normal(size=(6, 5))
    np.testing.assert_allclose(exact(x), layer(x), rtol=1e-12)
    if isinstance(layer, keras.layers.BatchNormalization):
        trained = exact(x, training=True)
        moved = [variable.numpy() for variable in layer.non_trainable_variables]
        assert not np.allclose(moved[0], 0)
        layer.moving_mean.assign(np.zeros(5))
        layer.moving_variance.assign(np.ones(5))
        np.testing.assert_allclose(layer(x, training=True), trained, rtol=1e-12)
        np.testing.assert_allclose(layer.moving_mean, moved[0], rtol=1e-12)
        np.testing.assert_allclose(layer.moving_variance, moved[1], rtol=1e-12)
