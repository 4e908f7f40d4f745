"""The views: torchvision's crops, Pillow's pixels, and nothing but seeds to decide them."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from benchmarks import pillow_loader
from cgc_tf.data import batches, load, views
from cgc_tf.method import geometry, resizing

SIZES = [(375, 500), (500, 375), (224, 224), (10, 400), (400, 10), (64, 86), (1, 1), (2, 3)]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_crop_is_torchvisions(height, width):
    """Given the same random numbers, a plain reading of RandomResizedCrop in Python comes to the same crop."""
    for index in range(40):
        seeds = tf.random.split([5, index], 3)
        areas = tf.random.stateless_uniform([10], seeds[0], 0.08, 1.0).numpy()
        aspects = tf.random.stateless_uniform([10], seeds[1], *np.log([3 / 4, 4 / 3])).numpy()
        uniforms = iter(np.stack([areas, aspects], 1).ravel().tolist())
        offsets = iter(tf.random.stateless_uniform([2], seeds[2]).numpy().tolist())
        expected = pillow_loader.crop_of(
            height,
            width,
            uniform=lambda *bounds, uniforms=uniforms: next(uniforms),
            randint=lambda low, high, offsets=offsets: low + int(next(offsets) * (high - low + 1)),
        )
        np.testing.assert_array_equal(geometry.draw_crop([5, index], height, width), expected)


def photograph(height, width):
    """A picture with edges and noise."""
    rng = np.random.default_rng(height)
    coarse = rng.integers(0, 256, (height // 9 + 1, width // 9 + 1, 3))
    image = np.kron(coarse, np.ones([9, 9, 1]))[:height, :width] + rng.normal(0, 12, (height, width, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


def assert_pillows(ours, theirs):
    """At most one level apart, as Pillow rounds between its passes, and alike on average."""
    difference = np.asarray(ours, int) - np.asarray(theirs, int)
    assert np.abs(difference).max() <= 1
    assert np.abs(difference).mean() < 0.25 and abs(difference.mean()) < 0.06


@pytest.mark.parametrize("shape", [(256, 341), (30, 40), (448, 597), (100, 600), (375, 500)])
def test_resizing_is_pillows(shape):
    image = photograph(375, 500)
    theirs = Image.fromarray(image).resize(shape[::-1], Image.Resampling.BILINEAR)
    assert_pillows(resizing.resize_image(tf.constant(image), shape), theirs)


@pytest.mark.parametrize("flip", [0, 1])
@pytest.mark.parametrize("crop", [[10, 20, 300, 400], [300, 0, 75, 60], [0, 450, 375, 50], [7, 9, 1, 1]])
def test_transform_is_pillows(crop, flip):
    image, (top, left, height, width) = photograph(375, 500), crop
    theirs = Image.fromarray(image).crop((left, top, left + width, top + height))
    theirs = np.asarray(theirs.resize((96, 96), Image.Resampling.BILINEAR))
    ours = geometry.transform_image(tf.constant(image), tf.constant([*crop, flip]), 96)
    assert_pillows(ours, theirs[:, ::-1] if flip else theirs)


def test_view_that_is_never_smaller_takes_the_short_way_to_the_same_pixels():
    image, transform = tf.constant(photograph(96, 96)), tf.constant([5, 9, 60, 80, 1])
    assert geometry.transform_image(image, transform, 96).shape == (96, 96, 3)
    unknown_size = [tf.TensorSpec([None, None, 3], tf.uint8), tf.TensorSpec([5], tf.int32)]
    long_way = tf.function(lambda *x: geometry.transform_image(*x, 96), input_signature=unknown_size)(image, transform)
    difference = np.abs(geometry.transform_image(image, transform, 96).numpy().astype(int) - long_way.numpy())
    assert difference.max() <= 1 and difference.mean() < 1e-3  # a sum of floats on either side of a half


@pytest.mark.parametrize(("height", "width"), [(375, 500), (500, 375), (100, 333), (1, 1), (3, 200)])
def test_original_is_resized_then_cut(height, width):
    image = photograph(height, width)
    resized, box = geometry.center_view(height, width, 64)
    top, left = np.rint(box.numpy()[:2] * resized.numpy()).astype(int)
    theirs = Image.fromarray(image).resize(tuple(resized.numpy()[::-1]), Image.Resampling.BILINEAR)
    view, _ = views.original_view(tf.constant(image), 64)
    assert_pillows(view, theirs.crop((left, top, left + 64, top + 64)))


def seen(source, batch_size, steps, first_step=0, seed=3):
    """{bytes of `original`: the other views} of a stream; its pictures differ."""
    found = {}
    for batch in batches.training_batches(source, 32, batch_size, seed, steps, first_step):
        for index in range(batch_size):
            key = batch["original"][index].numpy().tobytes()
            found.setdefault(key, []).append(
                tuple(batch[view][index].numpy().tobytes() for view in ("ce", "augmented"))
            )
    return found


def test_view_depends_on_seed_pass_and_example_alone(pictures):
    source = load.load_dataset("folder", str(pictures))
    by_eight, by_three = seen(source, 8, 6), seen(source, 3, 16)
    assert by_eight == by_three and len(by_eight) == 24
    for first, second in by_eight.values():
        assert first[0] != second[0] and first[1] != second[1]
    for key, draws in seen(source, 8, 3, seed=4).items():
        assert draws[0] not in by_eight[key]


@pytest.mark.parametrize("size", [96, 300, 1024])
def test_every_pass_is_mixed(size):
    """A batch of examples that lie by class has, in every pass, as much of each as chance gives it."""
    label, batch = np.arange(size) * 8 // size, 32
    for of_pass in range(40):
        order = batches.shuffled(tf.range(size, dtype=tf.int64), 0, of_pass, size).numpy()
        assert sorted(order) == list(range(size))
        in_batches = label[order][: size // batch * batch].reshape(-1, batch)
        counts = np.stack([np.bincount(labels, minlength=8) for labels in in_batches])
        expected = batch / 8 * 7 / 8 * (size - batch) / (size - 1)  # the hypergeometric distribution's variance
        assert np.mean((counts - batch / 8) ** 2) < 2.5 * expected, of_pass
