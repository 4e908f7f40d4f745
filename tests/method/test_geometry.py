"""One transform: drawn as torchvision documents, and the same on images, boxes, regions and heatmaps."""

import numpy as np
import pytest
import tensorflow as tf

from cgc_tf.method import geometry


def draws(count, height, width):
    return np.stack([geometry.draw_crop([7, i], height, width) for i in range(count)])


def test_draw_crop_stays_inside_and_follows_its_distribution():
    top, left, height, width = draws(400, 120, 160).T
    assert (top >= 0).all() and (left >= 0).all()
    assert (top + height <= 120).all() and (left + width <= 160).all()
    area, aspect = height * width / (120 * 160), width / height
    assert area.min() > 0.07 and 0.40 < area.mean() < 0.56  # uniform in [0.08, 1], large crops rejected more often
    assert aspect.min() > 0.72 and aspect.max() < 1.40
    assert abs(np.log(aspect).mean()) < 0.05  # log-uniform, so 3/4 and 4/3 are equally likely
    assert len(np.unique(top)) > 30 and len(np.unique(left)) > 30


def test_draw_crop_falls_back_to_the_center():
    """No crop of allowed aspect and area fits a 10 x 400 strip: the widest allowed one, in the middle."""
    np.testing.assert_array_equal(geometry.draw_crop([0, 0], 10, 400), [0, 193, 10, 13])


def test_flip_has_probability_one_half():
    flips = [int(geometry.draw_transform([1, i], 64)[4]) for i in range(200)]
    assert 70 < sum(flips) < 130


@pytest.mark.parametrize("transform", [[10, 20, 40, 30, 0], [10, 20, 40, 30, 1], [0, 0, 96, 96, 1], [33, 5, 9, 80, 0]])
def test_images_boxes_and_heatmaps_move_together(transform):
    """A picture whose bright square is box and heatmap at once ends up in one place by all three ways."""
    size = 96
    box = np.array([[24, 16, 48, 64]], np.float32) / size
    region = geometry.boxes_to_region(tf.constant(box), size, size)
    transform = tf.constant(transform)
    image = tf.cast(region[..., None] * 255 * tf.ones(3), tf.uint8)
    as_image = tf.cast(geometry.transform_image(image, transform, size)[..., 0], tf.float32) / 255
    as_box = geometry.boxes_to_region(geometry.transform_boxes(box, transform, size), size, size)
    up = tf.eye(size)
    crop_y = geometry.crop_matrix(transform[None, 0], transform[None, 2], up)[0]
    crop_x = geometry.crop_matrix(transform[None, 1], transform[None, 3], up, transform[None, 4])[0]
    as_heatmap = crop_y @ region @ tf.transpose(crop_x)
    np.testing.assert_allclose(as_image, as_heatmap, atol=0.005)
    assert np.abs(as_box - as_heatmap).max() <= 0.75  # the box's edge is sharp, the heatmap's is interpolated
    np.testing.assert_array_equal(as_box.numpy() > 0.5, as_heatmap.numpy() > 0.5)


def test_upsampling_matrix_is_bilinear_resize():
    heatmap = np.random.default_rng(0).random([1, 5, 7, 1], np.float32)
    up_y, up_x = geometry.upsampling_matrix(32, 5), geometry.upsampling_matrix(48, 7)
    np.testing.assert_allclose(
        up_y @ heatmap[0, :, :, 0] @ up_x.T, tf.image.resize(heatmap, [32, 48])[0, :, :, 0], atol=1e-6
    )


@pytest.mark.parametrize(("height", "width"), [(375, 500), (500, 375), (224, 224), (100, 333)])
def test_center_view(height, width):
    resized, box = geometry.center_view(height, width, 224)
    assert min(resized.numpy()) == 256
    np.testing.assert_array_equal(resized, [256 * height // min(height, width), 256 * width // min(height, width)])
    pixels = box.numpy() * np.tile(resized, 2)
    np.testing.assert_allclose(pixels[2:] - pixels[:2], [224, 224], atol=1e-3)
    np.testing.assert_allclose(pixels[:2] + pixels[2:], resized, atol=1.001)


def test_boxes_to_region_is_a_union_in_whole_pixels():
    boxes = tf.constant([[0, 0, 0.5, 0.5], [0.25, 0.25, 1, 0.75], [0, 0, 0, 0]], tf.float32)
    expected = [[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 0], [0, 1, 1, 0]]
    np.testing.assert_array_equal(geometry.boxes_to_region(boxes, 4, 4), expected)
    np.testing.assert_array_equal(geometry.boxes_to_region(tf.zeros([0, 4]), 2, 3), np.zeros([2, 3]))
