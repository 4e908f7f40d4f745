"""CGCModel's step: the terms it adds up, the class it explains, and the mode it measures in."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from cgc_tf.method import geometry, losses
from cgc_tf.method.model import CGCModel
from cgc_tf.method.objective import Objective
from cgc_tf.training import device

SIZE, CLASSES = 32, 3


def classifier():
    keras.utils.set_random_seed(1)
    images = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Rescaling(1 / 255)(images)
    x = keras.layers.BatchNormalization(momentum=0.9)(keras.layers.Conv2D(8, 3, strides=4)(x))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU(name="features")(x))
    return keras.Model(images, keras.layers.Dense(CLASSES)(x))


def model(kind="cgc", **settings):
    built = CGCModel.from_classifier(classifier(), objective=Objective(kind, **settings))
    built.compile(optimizer=keras.optimizers.SGD(0.1))
    return built


def batch(count=6):
    rng = np.random.default_rng(0)
    images = {view: rng.integers(0, 256, (count, SIZE, SIZE, 3), np.uint8) for view in ("ce", "original", "augmented")}
    transform = np.stack([geometry.draw_transform([2, i], SIZE) for i in range(count)])
    return {**images, "transform": transform, "label": np.arange(count, dtype=np.int32) % CLASSES}


def cross_entropies(built, data):
    """The three views' mean cross-entropies, by Keras' own loss, views passed through in order."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return [float(loss(data["label"], built(data[view], training=True))) for view in ("ce", "original", "augmented")]


@pytest.mark.parametrize("kind", ["cgc", "baseline", "cgc_no_negatives"])
def test_terms(kind):
    built, data = model(kind, lambda_cgc=2.0, temperature=0.3), batch()
    cross_entropy, consistency, _ = built._terms(data)
    np.testing.assert_allclose(np.mean(cross_entropy), sum(cross_entropies(model(), data)), rtol=1e-5)
    logs = built.train_step(data)
    if kind == "baseline":
        assert "consistency_loss" not in logs  # 0 would look better than CGC's
        np.testing.assert_allclose(logs["loss"], logs["cross_entropy"], rtol=1e-6)
        return
    np.testing.assert_allclose(logs["loss"], logs["cross_entropy"] + 2.0 * logs["consistency_loss"], rtol=1e-6)
    built = model()
    logits, original, class_ids = built._explained(data["original"], None, training=True)
    np.testing.assert_array_equal(class_ids, tf.argmax(logits, -1))
    _, augmented, same = built._explained(data["augmented"], class_ids, training=True)
    np.testing.assert_array_equal(class_ids, same)
    positive, pairs = losses.similarities(original, augmented, data["transform"], (SIZE, SIZE))
    per_example = losses.contrastive(positive, pairs, 0.3) if kind == "cgc" else 1 - positive
    np.testing.assert_allclose(consistency, per_example, rtol=1e-4)


@pytest.mark.parametrize("views", [("ce",), ("augmented", "original")])
def test_chosen_views_carry_cross_entropy_of_smoothed_labels(views):
    built, data = model("cgc", ce_views=views, label_smoothing=0.2), batch()
    loss, one_hot = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.2), np.eye(CLASSES)
    expected = sum(float(loss(one_hot[data["label"]], built(data[view], training=True))) for view in views)
    np.testing.assert_allclose(np.mean(built._terms(data)[0]), expected, rtol=1e-5)


def test_the_labels_class_is_explained_where_that_is_asked_for():
    built, data = model(explain_class="label"), batch()
    maps = [built._explained(data[view], data["label"], training=True)[1] for view in ("original", "augmented")]
    expected = losses.contrastive(*losses.similarities(*maps, data["transform"], (SIZE, SIZE)), 0.5)
    np.testing.assert_allclose(built._terms(data)[1], expected, rtol=1e-4)
    assert np.abs(model()._terms(data)[1] - expected).max() > 1e-3


def test_unlabeled_pictures_give_the_consistency_term():
    labeled, unlabeled = batch(6), batch(4)
    built = model(ce_views=("ce",))
    data = {"ce": labeled["ce"], "label": labeled["label"], "unlabeled": unlabeled}
    cross_entropy, consistency, _ = built._terms(data)
    np.testing.assert_allclose(np.mean(cross_entropy), cross_entropies(model(), labeled)[0], rtol=1e-5)
    np.testing.assert_allclose(consistency, model()._terms(unlabeled)[1], rtol=1e-5)
    logs = built.train_step(data)
    np.testing.assert_allclose(logs["loss"], logs["cross_entropy"] + 0.5 * logs["consistency_loss"], rtol=1e-6)


def test_loss_is_scaled_in_float16():
    """A scale that overflows changes no weight and is halved; any other one makes the step of float32."""
    with device.precision("mixed_float16"):
        half = model()
    whole, data = model(), batch()
    for built in (half, whole):
        built.optimizer.build(built.trainable_variables)
    assert isinstance(half.optimizer, keras.optimizers.LossScaleOptimizer)
    before = [np.array(weight) for weight in half.trainable_variables]
    half.optimizer.dynamic_scale.assign(1e30)
    half.train_step(data)
    np.testing.assert_allclose(half.optimizer.dynamic_scale, 0.5e30, rtol=1e-6)
    for weight, old in zip(half.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(weight, old)
    half.optimizer.dynamic_scale.assign(256.0)
    for built in (half, whole):
        built.train_step(data)
    steps = [
        np.concatenate([np.ravel(w - old) for w, old in zip(built.trainable_variables, before, strict=True)])
        for built in (half, whole)
    ]
    assert np.linalg.norm(steps[0] - steps[1]) < 0.05 * np.linalg.norm(steps[1])


def test_lambda_rises_over_its_warm_up():
    """The first step of a warm-up is the baseline's; halfway a step is that of half of lambda."""
    data = batch()

    def after_a_step(at, **settings):
        built = model(**settings)
        built.optimizer.build(built.trainable_variables)
        built.optimizer.iterations.assign(at)
        built.train_step(data)
        return np.concatenate([np.ravel(weight) for weight in built.trainable_variables])

    rising = {"lambda_cgc": 4.0, "lambda_warmup_steps": 10}
    for at, same in ((0, {"kind": "baseline"}), (5, {"lambda_cgc": 2.0}), (30, {"lambda_cgc": 4.0})):
        np.testing.assert_allclose(after_a_step(at, **rising), after_a_step(at, **same), rtol=1e-5, atol=1e-7)
    assert np.abs(after_a_step(5, **rising) - after_a_step(30, **rising)).max() > 1e-3


def test_no_label_is_used_by_the_consistency_term():
    data, other = batch(), batch()
    other["label"] = (other["label"] + 1) % CLASSES
    np.testing.assert_array_equal(model()._terms(data)[1], model()._terms(other)[1])


def test_consistency_training_raises_similarity():
    """Fifty steps on one batch with the consistency term alone weighted up make the positives more alike."""
    built, data = model("cgc_no_negatives", lambda_cgc=20.0), batch()
    before = np.mean(built._terms(data)[1])
    built.fit(tf.data.Dataset.from_tensors(data).repeat(50), verbose=0, shuffle=False)
    assert np.mean(built._terms(data)[1]) < 0.8 * before


def test_evaluation_is_in_inference_mode():
    """A heatmap does not depend on the other images of its batch."""
    built, images = model(), batch()["original"]
    alone = built.explain(images[:1])["heatmap"]
    np.testing.assert_allclose(built.explain(images)["heatmap"][:1], alone, rtol=1e-4, atol=1e-7)


def test_validation_counts_only_images_with_a_region_and_a_heatmap():
    built, data = model(), batch()
    region = np.zeros([6, SIZE, SIZE], np.float32)
    region[:3, :16] = 1
    built.reset_metrics()
    result = built.test_step({"image": data["original"], "label": data["label"], "region": region})
    heatmaps = built.explain(data["original"][:3], data["label"][:3])["heatmap"]
    full = tf.image.resize(heatmaps[..., None], [SIZE, SIZE])[..., 0]
    expected = np.mean(tf.reduce_sum(full[:, :16], [1, 2]) / tf.reduce_sum(full, [1, 2]))
    np.testing.assert_allclose(result["center_content_heatmap"], expected, rtol=1e-5)
    assert "center_content_heatmap" not in built.test_step({"image": data["original"], "label": data["label"]})


def test_validation_tells_a_collapse_to_uniform_heatmaps():
    """Entropy 1 is a uniform map; one that is all zero does not count."""
    built, data = model(), batch(3)
    uniform, one_cell, zero = (
        np.ones([7, 7], np.float32),
        np.eye(49, dtype=np.float32)[5].reshape(7, 7),
        np.zeros([7, 7]),
    )
    heatmaps = tf.constant(np.stack([uniform, one_cell, zero]), tf.float32)
    logits = tf.zeros([3, CLASSES])
    built._explained = lambda *_, **__: (logits, heatmaps, data["label"])
    result = built.test_step({"image": data["original"], "label": data["label"]})
    np.testing.assert_allclose(result["heatmap_entropy"], 0.5, rtol=1e-6)


@pytest.mark.parametrize(
    "bad",
    [
        {"kind": "gcg"},
        {"temperature": 0.0},
        {"lambda_cgc": -0.1},
        {"lambda_warmup_steps": -1},
        {"ce_views": ()},
        {"ce_views": ("ce", "other")},
        {"cam": "scorecam"},
        {"label_smoothing": 1.0},
    ],
)
def test_refuses_bad_objectives(bad):
    with pytest.raises(ValueError, match=f"^{next(iter(bad))} should be .* Received: "):
        Objective(**bad)
