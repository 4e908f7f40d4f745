"""Transformers: tokens as feature maps, against pytorch-grad-cam and by finite differences, and where none can be."""

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from cgc_tf.method import gradcam, tokens
from cgc_tf.method.model import CGCModel
from cgc_tf.method.trunk_and_head import feature_maps, split
from cgc_tf.training import device

layers = keras.layers
SMALL = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16}
HUB = {
    "vit": lambda shape: keras_hub.models.ViTBackbone(shape, 8, mlp_dim=64, **SMALL),
    "dinov2": lambda shape: keras_hub.models.DINOV2Backbone(
        8, intermediate_dim=64, num_register_tokens=4, image_shape=shape, position_embedding_shape=shape, **SMALL
    ),
    "swin": lambda shape: keras_hub.models.SwinTransformerBackbone(shape, 8, (1, 2), (2, 2), 4, drop_path=0.0),
}
POOLINGS = {"token": lambda x: x[:, 0], "average": layers.GlobalAveragePooling1D()}


def hub(family, pooling, shape=(32, 32, 3)):
    """A classifier on one of KerasHub's transformers."""
    backbone = HUB[family](shape)
    return keras.Model(backbone.inputs, layers.Dense(3)(POOLINGS[pooling](backbone.output)))


def own(pooling="token", dtype=None, shape=(32, 48, 3)):
    """A user's transformer of two blocks, of Keras' own layers: images are oblong, and a token stands in front."""
    with device.precision(dtype or "float32"):
        images = keras.Input(shape)
        x = layers.Conv2D(16, 8, strides=8)(layers.Rescaling(1 / 255)(images))
        x = layers.Reshape((-1, 16))(x)
        x = layers.ZeroPadding1D((1, 0))(x)
        x = x + layers.Embedding(x.shape[1], 16, name="positions")(keras.ops.arange(x.shape[1])[None])
        for index in range(2):
            y = layers.LayerNormalization(name=f"before_attention_{index}")(x)
            x = layers.Add(name=f"after_attention_{index}")([x, layers.MultiHeadAttention(2, 8)(y, y)])
            y = layers.Dense(32, "gelu")(layers.LayerNormalization()(x))
            x = layers.Add(name=f"block_{index}")([x, layers.Dense(16)(y)])
        return keras.Model(images, layers.Dense(3)(POOLINGS[pooling](layers.LayerNormalization(name="last")(x))))


def draw(*shape):
    return 255 * np.random.default_rng(0).random(shape, np.float32)


def scramble(model):
    """Weights large enough for heatmaps that say something."""
    rng = np.random.default_rng(1)
    for weight in model.trainable_variables:
        weight.assign(rng.normal(size=weight.shape) * (0.4 if len(weight.shape) > 1 else 1))
    return model


def test_heatmaps_are_those_of_pytorch_grad_cam(golden):
    """Of timm's network with the same weights; `testdata/vit/make_heatmaps.py` tells how they were made."""
    known = golden("vit/heatmaps")
    classifier = hub("vit", "token", (32, 48, 3))
    classifier.set_weights([known[name] for name in sorted(known) if name.startswith("weight_")])
    model, images = CGCModel.from_classifier(classifier), known["images"] / np.float32(255)
    np.testing.assert_allclose(model(images), known["logits"], rtol=1e-4, atol=1e-4)
    for cam in ("hirescam", "gradcam"):
        heatmaps = model.explain(images, known["class_ids"], cam=cam)["heatmap"]
        assert heatmaps.shape == (3, 4, 6) and (known[cam].max((1, 2)) > 0.09).all()
        np.testing.assert_allclose(heatmaps, known[cam], rtol=1e-3, atol=1e-4, err_msg=cam)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "layer", "shape", "crossing"),
    [
        (lambda: hub("vit", "token"), "vit_encoder_transformer_block_2_ln_1", (4, 4, 16), 3),
        (lambda: hub("vit", "average"), "vit_encoder_ln", (4, 4, 16), 2),
        (lambda: hub("dinov2", "token"), "encoder_layers_1_norm1", (4, 4, 16), 3),
        (lambda: hub("swin", "average"), "norm", (4, 4, 16), 1),
        (lambda: own("token"), "before_attention_1", (4, 6, 16), 3),
        (lambda: own("average"), "last", (4, 6, 16), 2),
    ],
)
def test_default_is_the_last_normalization_that_says_where(make, layer, shape, crossing):
    """The class token's heatmap is that of the tokens that go into the last attention; the average's of the last."""
    classifier = make()
    images = draw(2, *classifier.inputs[0].shape[1:])
    trunk, head = split(classifier)
    assert trunk.outputs[0].shape[1:] == shape and len(trunk.outputs) == crossing
    named, _ = split(classifier, layer)
    features, *_ = keras.tree.flatten(trunk(images))
    np.testing.assert_array_equal(features, keras.tree.flatten(named(images))[0])
    np.testing.assert_allclose(head(trunk(images)), classifier(images), rtol=1e-4, atol=1e-5)
    shared = {id(weight) for weight in (*trunk.weights, *head.weights)}
    assert shared == {id(weight) for weight in classifier.weights}


@pytest.mark.parametrize(
    ("pooling", "layer", "why"),
    [
        ("token", "last", "only the class token has a gradient"),
        ("token", "after_attention_1", "here, too"),
        ("token", "block_0", "a normalization reads each place by itself"),
        ("average", "block_1", "here, too"),
    ],
)
def test_layers_whose_heatmap_would_be_zero_are_refused(pooling, layer, why):
    with pytest.raises(ValueError, match=f"no heatmap can be made of explain_layer={layer}: "):
        split(own(pooling), layer)
    # What would be seen: the product of feature and gradient, which is zero but for rounding and epsilon.
    classifier = scramble(own(pooling))
    images = classifier.inputs[0]
    trunk, head = feature_maps(images, classifier.outputs[0])[layer].parts(images, classifier.outputs[0])
    features, *others = keras.tree.flatten(trunk(draw(2, 32, 48, 3)))
    _, gradients, _ = gradcam.class_gradients(lambda x: head([x, *others]), features)
    assert (
        np.abs(tf.reduce_sum(features * gradients, -1)).max() < 1e-3 * np.abs(features * gradients).sum(-1).max() + 1e-9
    ), why


@pytest.mark.parametrize(("count", "patches"), [(60, (4, 6)), (None, (4, 6)), (24, (None, None)), (3, (4, 6))])
def test_tokens_without_a_grid(count, patches):
    assert tokens.grid(count, patches) is None


def test_gradient_of_a_heatmap_by_finite_differences():
    """In float64, through attention and layer normalization: the second order is in it."""
    model = scramble(CGCModel.from_classifier(own("token", "float64")))
    features, *others = (tf.constant(x) for x in model.trunk(draw(2, 32, 48, 3)))
    assert features.dtype == tf.float64
    weights = model.head.trainable_variables

    def heat():
        """The squares of a heatmap's values, before its ReLU."""
        with tf.GradientTape() as tape:
            tape.watch(features)
            score = tf.reduce_sum(model.head([features, *others])[:, 1])
        return tf.reduce_sum(tf.reduce_sum(features * tape.gradient(score, features), -1) ** 2)

    with tf.GradientTape() as tape:
        value = heat()
    gradients = [
        0 * weight if g is None else g for weight, g in zip(weights, tape.gradient(value, weights), strict=True)
    ]
    norm = np.sqrt(sum(float(tf.reduce_sum(g**2)) for g in gradients))
    values, step = [], 1e-6
    for sign in (1, -2):  # forward, then twice back
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.assign_add(sign * step * gradient / norm)
        values.append(float(heat()))
    np.testing.assert_allclose((values[0] - values[1]) / (2 * step), norm, rtol=1e-6)


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("pooling", "policy"), [("token", "float32"), ("token", "mixed_float16"), ("average", "mixed_bfloat16")]
)
def test_trains_saves_and_reloads(pooling, policy, tmp_path):
    model = CGCModel.from_classifier(own(pooling, policy, (32, 32, 3)))
    model.compile("adam", run_eagerly=True)
    if policy == "mixed_float16":
        model.optimizer.build(model.trainable_variables)
        model.optimizer.dynamic_scale.assign(256.0)
    images = {view: draw(4, 32, 32, 3).astype("uint8") for view in ("ce", "original", "augmented")}
    transform = np.tile([[4, 4, 20, 20, 1]], (4, 1)).astype("int32")
    before = model.get_weights()
    logs = model.train_step({**images, "transform": transform, "label": np.arange(4) % 3})
    assert np.isfinite(logs["loss"]) and logs["consistency_loss"] > 0
    changed = [np.any(old != new) for old, new in zip(before, model.get_weights(), strict=True)]
    assert np.mean(changed) > 0.8
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    expected = model.explain(images["original"])["heatmap"]
    np.testing.assert_allclose(again.explain(images["original"])["heatmap"], expected, rtol=1e-4, atol=1e-6)


def test_a_classifier_of_keras_hub_is_read_back(tmp_path):
    """Its layers write more into their configs than they take back."""
    model = CGCModel.from_classifier(hub("vit", "token"))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(draw(2, 32, 32, 3)), model(draw(2, 32, 32, 3)))


@pytest.mark.slow
def test_an_encoder_that_does_more_than_to_call_layers_stays_whole():
    """Swin's blocks ask for the batch's size, and a block of DeiT's gives more than tokens."""
    deit = keras_hub.models.DeiTBackbone((32, 32, 3), 8, intermediate_dim=64, **SMALL)
    for backbone, kept in ((HUB["swin"]((32, 32, 3)), "SwinTransformerBlock"), (deit, "DeiTEncoder")):
        trunk, _ = split(
            keras.Model(backbone.inputs, layers.Dense(3)(layers.GlobalAveragePooling1D()(backbone.output)))
        )
        assert kept in {type(operation).__name__ for operation in trunk.operations}
