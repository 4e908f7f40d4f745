"""The whole step on every kind of head: against a literal version over the whole network, and by finite differences."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from benchmarks.literal import literal
from cgc_tf.method import geometry, gradcam
from cgc_tf.method.model import CGCModel
from cgc_tf.method.objective import Objective
from cgc_tf.networks import backbones
from cgc_tf.training import device

HEIGHT, WIDTH, COUNT, CLASSES, TAU = 40, 50, 4, 3, 0.4
HEADS = {"average": {}, "max": {"pooling": "max"}, "hidden": {"hidden_units": (8,)}}


def build(head, cam="hirescam", explain_layer=None):
    keras.utils.set_random_seed(4)
    images = keras.Input((HEIGHT, WIDTH, 3))
    x = keras.layers.Rescaling(1 / 255)(images)
    x = keras.layers.Conv2D(6, 5, strides=5, activation="softplus", name="first")(x)
    x = keras.layers.Conv2D(8, 3, padding="same", activation="softplus", name="last")(x)
    classifier = backbones.add_classifier(keras.Model(images, x), CLASSES, **HEADS[head])
    for layer in classifier.layers:
        if layer.name.startswith("hidden"):
            layer.activation = keras.activations.softplus  # smooth, so that finite differences mean something
            layer.bias.assign(np.linspace(-1, 1, 8))
    return CGCModel.from_classifier(classifier, explain_layer, Objective("cgc", 1.0, TAU, cam=cam))


def batch():
    rng = np.random.default_rng(5)
    original, augmented = (tf.constant(255 * rng.random((COUNT, HEIGHT, WIDTH, 3), np.float32)) for _ in range(2))
    transform = np.stack([[*geometry.draw_crop([9, i], HEIGHT, WIDTH), i % 2] for i in range(COUNT)])
    labels = np.arange(COUNT) % CLASSES
    return {"ce": original, "original": original, "augmented": augmented, "transform": transform, "label": labels}


def literal_loss(model, data, cam):
    """The contrastive term with gradients taken through the whole network, and maps of full size."""
    maps, class_ids = [], None
    for view in ("original", "augmented"):
        with tf.GradientTape() as tape:
            features = model.trunk(data[view], training=True)
            tape.watch(features)
            logits = model.head(features, training=True)
            if class_ids is None:
                class_ids = np.argmax(logits, -1)
            explained = tf.reduce_sum(logits * tf.one_hot(class_ids, CLASSES))
        maps.append(gradcam.CAMS[cam](features, tape.gradient(explained, features)))
    return tf.reduce_mean(literal(*maps, data["transform"], (HEIGHT, WIDTH), TAU)[1])


def gradients(model, loss):
    with tf.GradientTape() as tape:
        value = loss()
    weights = model.trainable_variables
    found = [np.zeros(w.shape) if g is None else g for w, g in zip(weights, tape.gradient(value, weights), strict=True)]
    return float(value), np.concatenate([np.ravel(gradient) for gradient in found])


@pytest.mark.parametrize("cam", gradcam.CAMS)
@pytest.mark.parametrize("head", HEADS)
def test_loss_and_gradients_equal_the_literal_version(head, cam):
    model, data = build(head, cam), batch()
    ours, our_gradient = gradients(model, lambda: tf.reduce_mean(model._terms(data)[1]))
    theirs, their_gradient = gradients(model, lambda: literal_loss(model, data, cam))
    assert np.linalg.norm(their_gradient) > 0
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    assert np.linalg.norm(our_gradient - their_gradient) < 1e-4 * np.linalg.norm(their_gradient)


@pytest.mark.parametrize(("head", "layer"), [("average", None), ("hidden", None), ("hidden", "first")])
def test_gradient_by_finite_differences(head, layer):
    """Along its own direction the loss rises as fast as the gradient's norm says: the second order is in it."""
    model, data = build(head, explain_layer=layer), batch()

    def loss():
        return tf.reduce_mean(model._terms(data)[1])

    _, gradient = gradients(model, loss)
    norm = np.linalg.norm(gradient)
    parts = np.split(gradient / norm, np.cumsum([np.prod(v.shape) for v in model.trainable_variables])[:-1])
    values, step = [], 1e-4
    for sign in (1, -2):  # forward, then twice back
        for variable, part in zip(model.trainable_variables, parts, strict=True):
            variable.assign_add(sign * step * part.reshape(variable.shape))
        values.append(float(loss()))
    np.testing.assert_allclose((values[0] - values[1]) / (2 * step), norm, rtol=0.02)


def test_second_order_is_not_zero_with_a_hidden_layer():
    """Were the gradient inside the heatmap taken as a constant, the hidden layer would get another gradient."""
    model, data = build("hidden"), batch()

    def first_order(cam):
        return lambda features, inner: cam(features, tf.stop_gradient(inner))

    _, ours = gradients(model, lambda: tf.reduce_mean(model._terms(data)[1]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(gradcam.CAMS, "hirescam", first_order(gradcam.hirescam))
        _, other = gradients(model, lambda: tf.reduce_mean(model._terms(data)[1]))
    assert np.linalg.norm(ours - other) > 0.1 * np.linalg.norm(ours)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("head", HEADS)
def test_small_batches_cold_temperature_and_zero_heatmaps_stay_finite(head, policy):
    with device.precision(policy):
        model = build(head)
    model.objective = Objective("cgc", 1.0, 0.01)
    for silent in (False, True):
        if silent:  # no feature speaks for any class: every heatmap is all zero
            model.trunk.get_layer("last").set_weights([np.zeros((3, 3, 6, 8)), np.full(8, -1e3)])
        for count in (1, 2):
            data = {key: value[:count] for key, value in batch().items()}
            loss, gradient = gradients(model, lambda data=data: tf.reduce_mean(sum(model._terms(data)[:2])))
            assert np.isfinite(loss) and np.isfinite(gradient).all()
            assert not silent or np.max(model._explained(data["original"], None, training=True)[1]) == 0


@pytest.mark.parametrize(("policy", "tolerance"), [("mixed_bfloat16", 0.25), ("mixed_float16", 0.03)])
def test_mixed_precision_rounds_features_and_nothing_else(policy, tolerance):
    with device.precision(policy):
        model = build("hidden")
    assert model.trunk(batch()["original"]).dtype != tf.float32
    logits, heatmaps, _ = model._explained(batch()["original"], None, training=True)
    assert logits.dtype == heatmaps.dtype == model._terms(batch())[1].dtype == tf.float32
    whole = build("hidden")
    ours, theirs = (gradients(m, lambda m=m: tf.reduce_mean(m._terms(batch())[1])) for m in (model, whole))
    np.testing.assert_allclose(ours[0], theirs[0], rtol=tolerance / 10)
    assert np.linalg.norm(ours[1] - theirs[1]) < tolerance * np.linalg.norm(theirs[1])


@pytest.mark.slow
@pytest.mark.parametrize(("head", "cam"), zip(["max", "average", "hidden", "hidden"], gradcam.CAMS, strict=True))
def test_whole_step_compiles_with_xla_to_the_same_weights(head, cam):
    weights = []
    for compiled in (False, True):
        model, data = build(head, cam), {key: tf.constant(value) for key, value in batch().items()}
        model.compile(keras.optimizers.SGD(0.1))
        model.optimizer.build(model.trainable_variables)
        step = tf.function(model.train_step, jit_compile=compiled)
        assert np.isfinite(step(data)["loss"])
        weights.append(np.concatenate([np.ravel(weight) for weight in model.trainable_variables]))
    before = np.concatenate([np.ravel(weight) for weight in build(head, cam).trainable_variables])
    assert np.linalg.norm(weights[1] - weights[0]) < 1e-3 * np.linalg.norm(weights[0] - before)
