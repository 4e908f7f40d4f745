"""Metrics against the reference's numbers and against answers known by hand."""

import numpy as np
import pytest
import tensorflow as tf

from cgc_tf.evaluation import curves
from cgc_tf.method import geometry, gradcam, metrics
from cgc_tf.networks.preprocessing import IMAGENET_MEAN, IMAGENET_STD


def test_content_heatmap_golden(golden):
    data = golden("metrics")
    for i, expected in enumerate(data["content_heatmap"]):
        features = tf.constant(data[f"features_{i}"][None])
        _, gradients, _ = gradcam.class_gradients(
            lambda x: tf.reduce_mean(x, [1, 2]) @ data["kernel"], features, data["class_id"][i : i + 1]
        )
        height, width = data["image_size_hw"][i]
        box = data["box_ymin_xmin_ymax_xmax_half_open"][i] / [height, width, height, width]
        region = geometry.boxes_to_region(tf.constant(box[None], tf.float32), height, width)
        share, valid = metrics.content_heatmap(gradcam.hirescam(features, gradients), region[None])
        assert valid[0]
        np.testing.assert_allclose(share[0], expected, atol=1e-5)


def golden_curves(data, start, finish):
    """Curves of the golden images by the golden model, softmax(0.25 * avgpool14(image) @ projection)."""
    mean, std = 255 * np.array(IMAGENET_MEAN, np.float32), 255 * np.array(IMAGENET_STD, np.float32)
    images = data["ins_images_nhwc"].astype(np.float32) * std + mean
    projection = data["ins_projection"].astype(np.float32)

    def probabilities(x):
        pooled = tf.nn.avg_pool2d((x - mean) / std, 14, 14, "VALID")
        flat = tf.reshape(tf.transpose(pooled, [0, 3, 1, 2]), [len(images), -1])
        return tf.nn.softmax(0.25 * flat @ projection)

    class_ids = tf.argmax(probabilities(images), -1)
    saliency = tf.constant(data["ins_heatmaps"])
    return curves.pixel_curve(probabilities, start(images), finish(images), saliency, class_ids)


def neutral(images):
    return tf.zeros_like(images) + curves.neutral_color()


def test_insertion_golden(golden):
    data = golden("metrics")
    found = golden_curves(data, curves.blur, tf.identity)
    np.testing.assert_allclose(found, data["insertion_curves"], atol=1e-3)
    np.testing.assert_allclose(curves.area_under(found), data["insertion_auc"], atol=1e-4)


def test_deletion_golden(golden):
    data = golden("metrics")
    found = golden_curves(data, tf.identity, neutral)
    np.testing.assert_allclose(found, data["deletion_curves"], atol=1e-3)
    np.testing.assert_allclose(curves.area_under(found), data["deletion_auc"], atol=1e-4)


def test_content_heatmap_by_hand():
    """A map inside the object scores 1, one outside 0, a uniform one the object's area, an empty one nothing."""
    region = np.zeros([4, 8, 8], np.float32)
    region[:, :4, :4] = 1
    inside, outside = np.zeros([8, 8]), np.zeros([8, 8])
    inside[1, 1], outside[6, 6] = 3, 5
    maps = tf.constant(np.stack([inside, outside, np.ones([8, 8]), np.zeros([8, 8])]), tf.float32)
    share, valid = metrics.content_heatmap(maps, region)
    np.testing.assert_allclose(share, [1, 0, 0.25, 0], atol=1e-6)
    np.testing.assert_array_equal(valid, [True, True, True, False])


def test_pixel_curve_by_hand():
    """Four pixels in four steps; the score is the sum of the image, so it climbs by the inserted pixel's value."""
    finish = tf.reshape(tf.constant([0.1, 0.4, 0.2, 0.3]), [1, 2, 2, 1])
    curve = curves.pixel_curve(
        lambda x: tf.reduce_sum(x, [1, 2]), tf.zeros_like(finish), finish, finish[..., 0], [0], steps=4
    )
    np.testing.assert_allclose(curve, [[0, 0.4, 0.7, 0.9, 1.0]], atol=1e-6)
    np.testing.assert_allclose(curves.area_under(curve), [(0.2 + 0.55 + 0.8 + 0.95) / 4], atol=1e-6)


def test_inserting_an_image_into_itself_changes_nothing():
    image = tf.random.stateless_uniform([1, 16, 16, 3], [1, 2], 0, 255)
    curve = curves.pixel_curve(lambda x: tf.reduce_mean(x, [1, 2]) / 255, image, image, tf.ones([1, 16, 16]), [1])
    np.testing.assert_allclose(curve, np.full([1, 29], curve[0, 0]), atol=1e-6)


def test_pixel_average_precision_by_hand():
    """The object's two pixels are found first and third: (1 / 1 + 2 / 3) / 2. What is equally hot is found together."""
    region = np.array([[[1, 0, 1, 0]]], np.float32)
    for heat, expected in (
        ([9, 5, 3, 1], 5 / 6),
        ([9, 1, 9, 1], 1.0),
        ([0, 2, 0, 2], 0.5),
        ([7, 7, 7, 7], 0.5),
        ([0, 0, 4, 0], (1 + 2 / 4) / 2),
    ):
        found = metrics.pixel_average_precision(np.array([[heat]], np.float32), region)
        np.testing.assert_allclose(found, [expected], rtol=1e-6)
    assert metrics.pixel_average_precision(np.ones([1, 1, 4], np.float32), np.zeros_like(region)) == 0


def test_pixel_average_precision_does_not_reward_sharpness():
    """By a literal loop over thresholds, and of a heatmap's square the same, whose Content Heatmap is higher."""
    rng = np.random.default_rng(0)
    region = np.zeros([3, 24, 31], np.float32)
    region[:, 5:14, 8:20] = 1
    heat = np.round(rng.random(region.shape) + 0.4 * region, 1).astype(np.float32)  # with ties
    expected = []
    for one, where in zip(heat, region, strict=True):
        precisions, recalls = [], [0.0]
        for threshold in np.unique(one)[::-1]:
            chosen = one >= threshold
            precisions.append(where[chosen].mean())
            recalls.append(where[chosen].sum() / where.sum())
        expected.append(np.sum(np.diff(recalls) * precisions))
    found = metrics.pixel_average_precision(heat, region)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(metrics.pixel_average_precision(heat**2, region), found, rtol=1e-6)
    assert np.all(metrics.content_heatmap(heat**2, region)[0] > metrics.content_heatmap(heat, region)[0] + 0.05)


def test_pointing_game_by_hand():
    """A peak inside hits; one beside hits as far as the tolerance reaches, round, not square; an empty map misses."""
    region = np.zeros([1, 20, 30], np.float32)
    region[:, 5:10, 5:10] = 1
    peaks = {(7, 7): True, (9, 12): True, (9, 13): False, (11, 11): True, (12, 12): False, (0, 29): False}
    for peak, hits in peaks.items():
        heatmap = np.zeros([1, 20, 30], np.float32)
        heatmap[0, *peak] = 1
        assert bool(metrics.pointing_game(heatmap, region, 3)[0]) is hits, peak
    assert not metrics.pointing_game(np.zeros([1, 4, 4], np.float32), region, 3)[0]


def test_entropy_and_sparsity_by_hand():
    one, two = np.zeros([2, 2], np.float32), np.zeros([2, 2], np.float32)
    one[0, 0] = 7
    two[0] = 3
    maps = np.stack([np.ones([2, 2], np.float32), one, two, np.zeros([2, 2], np.float32)])
    np.testing.assert_allclose(metrics.entropy(maps), [1, 0, 0.5, 0], atol=1e-6)
    np.testing.assert_allclose(metrics.sparsity(maps), [0, 0.75, 0.5, 0], atol=1e-6)


def test_retrieval_rank_by_hand():
    pairs = np.array([[9, 0.1, 0.9], [0.5, 9, 0.5], [0.2, 0.3, 9]], np.float32)
    np.testing.assert_allclose(metrics.retrieval_rank(tf.constant([0.5, 0.5, 0.4]), pairs), [2, 2, 1])


def test_uniform_map_scores_the_boxes_area():
    region = np.zeros([1, 37, 53], np.float32)
    region[:, 3:20, 10:41] = 1
    share, _ = metrics.content_heatmap(tf.ones([1, 7, 9]), region)
    np.testing.assert_allclose(share, region.mean(), rtol=1e-5)


def test_substrates():
    images = tf.constant([[[[0.0, 100, 200], [50, 100, 100]]]])
    np.testing.assert_allclose(curves.substrate("mean", images)[0, 0], [[25, 100, 150]] * 2)
    np.testing.assert_allclose(curves.substrate("zero", images)[0, 0], [255 * np.array(IMAGENET_MEAN)] * 2, rtol=1e-6)
    np.testing.assert_array_equal(curves.substrate("blur", images), curves.blur(images))
    with pytest.raises(ValueError, match=r"a substrate is one of blur, zero, mean\. Received: kind=black"):
        curves.substrate("black", images)
