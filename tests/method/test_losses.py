"""The consistency losses against the reference's own numbers and against a literal full-size version."""

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.literal import literal
from cgc_tf.method import geometry, gradcam, losses


def golden_step(data, objective):
    """Loss and gradients on the golden features, by the nested tapes that training uses."""
    kernel, bias = tf.Variable(data["kernel"]), tf.constant(data["bias"])
    features = [tf.constant(data[f"features_{view}"]) for view in ("original", "augmented")]
    keys = ("crop_top", "crop_left", "crop_height", "crop_width", "flip")
    transform = tf.stack([tf.cast(data[key], tf.int32) for key in keys], -1)

    def head(x):
        return tf.reduce_mean(x, [1, 2]) @ kernel + bias

    with tf.GradientTape() as tape:
        tape.watch(features)
        logits, gradients, class_ids = gradcam.class_gradients(head, features[0])
        maps = [gradcam.hirescam(features[0], gradients)]
        _, gradients, _ = gradcam.class_gradients(head, features[1], class_ids)
        maps.append(gradcam.hirescam(features[1], gradients))
        positive, pairs = losses.similarities(*maps, transform, [int(data["image_size"])] * 2)
        if objective == "cgc":
            per_example = losses.contrastive(positive, pairs, float(data["temperature"]))
        else:
            per_example = losses.no_negatives(positive)
        loss = tf.reduce_mean(per_example)
    gradients = tape.gradient(loss, [*features, kernel])
    return logits, class_ids, maps, positive, pairs, per_example, gradients


def relative(ours, reference):
    return np.linalg.norm(np.asarray(ours) - reference) / np.linalg.norm(reference)


def test_golden_loss_and_gradients(golden):
    data = golden("cgc_loss")
    logits, class_ids, maps, positive, pairs, per_example, gradients = golden_step(data, "cgc")
    np.testing.assert_allclose(logits, data["logits_original"], atol=1e-6)
    np.testing.assert_array_equal(class_ids, data["class_id"])
    np.testing.assert_allclose(maps[0], data["cam_original"], atol=1e-7)
    np.testing.assert_allclose(maps[1], data["cam_augmented"], atol=1e-7)
    np.testing.assert_allclose(positive, data["positive_similarity"], atol=1e-5)
    np.testing.assert_allclose(pairs, data["augmented_similarity"], atol=1e-5)
    np.testing.assert_allclose(per_example, data["loss_per_example"], atol=1e-5)
    np.testing.assert_allclose(np.mean(per_example), data["loss"], atol=2e-6)
    for ours, name in zip(gradients, ("features_original", "features_augmented", "kernel"), strict=True):
        assert relative(ours, data[f"grad_{name}"]) < 5e-5, name


def test_golden_no_negatives(golden):
    data = golden("cgc_loss")
    *_, per_example, gradients = golden_step(data, "cgc_no_negatives")
    scale = 2 / float(data["image_size"]) ** 2
    np.testing.assert_allclose(np.mean(per_example) * scale, data["mse_no_negatives"], rtol=1e-5)
    for ours, name in zip(gradients, ("features_original", "features_augmented", "kernel"), strict=True):
        assert relative(ours * scale, data[f"mse_grad_{name}"]) < 2e-5, name


def test_golden_carried_heatmap(golden):
    """A_y g A_x^T is the reference's T(up(g)), pixel by pixel."""
    data = golden("cgc_loss")
    up = tf.constant(geometry.upsampling_matrix(224, 7))
    crop_y = geometry.crop_matrix(data["crop_top"], data["crop_height"], up)
    crop_x = geometry.crop_matrix(data["crop_left"], data["crop_width"], up, tf.cast(data["flip"], tf.int32))
    carried = crop_y @ data["cam_original"] @ tf.linalg.matrix_transpose(crop_x)
    full = up @ data["cam_original"] @ tf.transpose(up)
    ours = carried / tf.reduce_sum(full, [1, 2], keepdims=True)
    np.testing.assert_allclose(ours, data["heatmap_original_transformed_224"], atol=1e-6)
    assert relative(ours, data["heatmap_original_transformed_224"]) < 1e-3


@pytest.mark.parametrize(
    ("shape", "size"),
    [((7, 7), (96, 96)), ((5, 8), (96, 96)), ((2, 3), (96, 96)), ((5, 8), (80, 128)), ((4, 4), (60, 90))],
)
@pytest.mark.parametrize("similarity", ["cosine", "correlation"])
def test_equals_literal_version(shape, size, similarity):
    rng = np.random.default_rng(1)
    original, augmented = (tf.constant(rng.random((4, *shape), np.float32) ** 3) for _ in range(2))
    crops = [geometry.draw_crop([3, i], *size) for i in range(4)]
    transform = tf.concat([tf.stack(crops), [[0], [1], [1], [0]]], -1)
    assert_equals_literal(original, augmented, transform, size, 0.2, similarity)


def assert_equals_literal(original, augmented, transform, size, temperature, similarity="cosine"):
    """Similarities, losses and gradients are those of whole maps in float64; returns the gradients.

    Gradients are those through the ReLU that every heatmap comes out of.
    """
    transform = tf.constant(transform)
    maps, maps64 = ([tf.cast(x, dtype) for x in (original, augmented)] for dtype in (tf.float32, tf.float64))
    with tf.GradientTape() as tape, tf.GradientTape() as tape64:
        tape.watch(maps)
        tape64.watch(maps64)
        positive, pairs = losses.similarities(*map(tf.nn.relu, maps), transform, size, similarity=similarity)
        loss = losses.contrastive(positive, pairs, temperature)
        positive64, loss64 = literal(*map(tf.nn.relu, maps64), transform, size, temperature, resize64, similarity)
    np.testing.assert_allclose(positive, positive64, atol=2e-6)
    np.testing.assert_allclose(loss, loss64, rtol=1e-5, atol=1e-5)
    gradients = tape.gradient(loss, maps)
    for gradient, gradient64 in zip(gradients, tape64.gradient(loss64, maps64), strict=True):
        assert np.linalg.norm(gradient.numpy() - gradient64) <= 1e-4 * np.linalg.norm(gradient64)
    return gradients


def resize64(image, size):
    """Bilinear resizing of `[H, W, 1]` in float64: half-pixel centers, edges clamped."""
    rows, columns = (
        np.stack([np.interp((np.arange(new) + 0.5) * old / new - 0.5, np.arange(old), unit) for unit in np.eye(old)], 1)
        for old, new in zip(image.shape[:2], size, strict=True)
    )
    return (rows @ image[..., 0] @ columns.T)[..., None]


WHOLE, CORNER = [0, 0, 224, 224, 0], [0, 0, 64, 64, 1]


@pytest.mark.parametrize("zero", ["original", "augmented", "both", "crop"])
def test_nothing_counts_as_a_uniform_heatmap(zero):
    """A heatmap that is all zero, or of which a crop sees nothing, has the cosine of a uniform one."""
    rng = np.random.default_rng(2)
    original, augmented = rng.random((2, 2, 7, 7))
    if zero == "crop":
        original[:, :4, :4] = 0
    original = original * (zero not in ("original", "both"))
    augmented = augmented * (zero not in ("augmented", "both"))
    transform = [CORNER, CORNER]
    assert_equals_literal(original, augmented, transform, (224, 224), 0.5)
    found = losses.similarities(*map(tf.constant, (np.float32(original), np.float32(augmented), transform)), (224, 224))
    ones = [x if x.any() else np.ones_like(x) for x in (original if zero != "crop" else 0 * original, augmented)]
    uniform = losses.similarities(*map(np.float32, ones), transform, (224, 224))
    for ours, theirs in zip(found, uniform, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("rest", [1e-3, 1e-6, 1e-9, 0.0])
def test_gradient_is_bounded_where_a_crop_sees_a_faint_rest(rest):
    """What a crop sees of a heatmap is so many times its peak: the gradient stays near the reference's."""
    rng = np.random.default_rng(3)
    original, augmented = rng.random((2, 4, 7, 7))
    original[:, :4, :4] *= rest  # the peak is outside of the crop
    gradient, _ = assert_equals_literal(original, augmented, [CORNER] * 4, (224, 224), 0.5)
    assert np.abs(gradient).max() < 1e3


def test_correlation_is_numpys_and_does_not_see_the_mean():
    """Of heatmaps at the views' size, which are cells here; a uniform one, and one that shows nothing, have none."""
    original, augmented = np.random.default_rng(5).random((2, 3, 6, 6), np.float32)
    original[2], augmented[2] = 0, 1
    transform = [[0, 0, 6, 6, 0]] * 3
    with tf.GradientTape() as tape:
        maps = [tf.constant(original), tf.constant(augmented)]
        tape.watch(maps)
        positive, pairs = losses.similarities(*maps, transform, (6, 6), similarity="correlation")
        loss = losses.contrastive(positive, pairs, 0.5)
    expected = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(original[:2], augmented[:2], strict=True)]
    np.testing.assert_allclose(positive, [*expected, 0], atol=1e-3)
    np.testing.assert_allclose(pairs[:2, :2], np.corrcoef(augmented[:2].reshape(2, -1)), atol=1e-3)
    np.testing.assert_allclose(pairs[2, :2], 0, atol=1e-3)
    assert all(np.isfinite(gradient).all() for gradient in tape.gradient(loss, maps))
    brighter, _ = losses.similarities(original + 1, augmented, transform, (6, 6), similarity="correlation")
    np.testing.assert_allclose(brighter[:2], positive[:2], atol=2e-3)


def test_agreement_is_the_similarity_of_what_is_shown():
    """As a measure a heatmap that shows nothing agrees with none, where the loss takes it for a uniform one."""
    rng = np.random.default_rng(4)
    original, augmented = rng.random((2, 5, 7, 7), np.float32)
    original[1], original[2, :4, :4] = 0, 0
    augmented[3] = original[4] = augmented[4] = 0
    transform = [WHOLE, WHOLE, CORNER, WHOLE, WHOLE]
    positive, pairs = losses.similarities(original, augmented, transform, (224, 224))
    np.testing.assert_allclose(positive[4], 1, atol=1e-6)
    measured, measured_pairs = losses.agreement(original, augmented, transform, (224, 224))
    np.testing.assert_allclose(measured, [positive[0], 0, 0, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(measured_pairs[:3, :3], pairs[:3, :3], rtol=1e-6)
    assert not np.any(measured_pairs[3:]) and not np.any(measured_pairs[:, 3:])


def test_degenerate_heatmaps_stay_finite():
    """All-zero maps, a batch of one, and a very cold temperature give finite losses and gradients."""
    transform = tf.constant([[0, 0, 96, 96, 0], [10, 5, 40, 60, 1]])
    flat = tf.concat([tf.zeros([1, 6, 6]), tf.random.stateless_uniform([1, 6, 6], [0, 1])], 0)
    with tf.GradientTape() as tape:
        tape.watch(flat)
        positive, pairs = losses.similarities(flat, flat * 1e-20, transform, (96, 96))
        loss = losses.contrastive(positive, pairs, 0.01)
    assert np.isfinite(loss).all() and np.isfinite(tape.gradient(loss, flat)).all()
    positive, pairs = losses.similarities(flat[1:], flat[1:], transform[:1], (96, 96))
    np.testing.assert_allclose(positive, [1.0], atol=1e-5)
    np.testing.assert_allclose(losses.contrastive(positive, pairs, 0.5), [0.0], atol=1e-5)


def test_contrastive_by_hand():
    """Two examples, tau 1: -log(e^.9 / (e^.9 + e^.1)) and -log(e^.5 / (e^.5 + e^.1))."""
    loss = losses.contrastive(tf.constant([0.9, 0.5]), tf.constant([[1.0, 0.1], [0.1, 1.0]]), 1.0)
    np.testing.assert_allclose(loss, np.log1p(np.exp([-0.8, -0.4])), rtol=1e-6)
