"""What changes views besides crops and flips: Pillow's operations, which views they change, and seeds alone."""

import colorsys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from cgc_tf.data import augmentation, batches, load, rand_augment, views
from cgc_tf.data.augmentation import Augmentation
from cgc_tf.method.objective import VIEWS

SIDE = 60


def photograph():
    """A picture of smooth colors with some noise, and of neither much black nor white."""
    rng = np.random.default_rng(1)
    smooth = Image.fromarray(rng.integers(40, 200, (6, 6, 3), np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(smooth) + rng.normal(0, 4, (SIDE, SIDE, 3)), 5, 240).astype(np.uint8)


def affine(image, *rows):
    """Pillow counts from the corners of pixels, TensorFlow from their centers."""
    a, b, c, d, e, f = rows
    rows = (a, b, c + 0.5 - 0.5 * (a + b), d, e, f + 0.5 - 0.5 * (d + e))
    return image.transform(
        image.size, Image.Transform.AFFINE, rows, Image.Resampling.BILINEAR, fillcolor=(rand_augment.GRAY,) * 3
    )


def enhanced(kind):
    return lambda image, amount: kind(image).enhance(1 + 0.9 * amount)


PILLOWS = {  # as in the paper and torchvision
    "identity": lambda image, amount: image,
    "shear_x": lambda image, amount: affine(image, 1, 0.3 * amount, 0, 0, 1, 0),
    "shear_y": lambda image, amount: affine(image, 1, 0, 0, 0.3 * amount, 1, 0),
    "translate_x": lambda image, amount: affine(image, 1, 0, 150 / 331 * amount * SIDE, 0, 1, 0),
    "translate_y": lambda image, amount: affine(image, 1, 0, 0, 0, 1, 150 / 331 * amount * SIDE),
    "rotate": lambda image, amount: image.rotate(
        30 * amount, Image.Resampling.BILINEAR, fillcolor=(rand_augment.GRAY,) * 3
    ),
    "brightness": enhanced(ImageEnhance.Brightness),
    "color": enhanced(ImageEnhance.Color),
    "contrast": enhanced(ImageEnhance.Contrast),
    "sharpness": enhanced(ImageEnhance.Sharpness),
    "posterize": lambda image, amount: ImageOps.posterize(image, 8 - round(4 * abs(amount))),
    "solarize": lambda image, amount: ImageOps.solarize(image, 255 * (1 - abs(amount))),
    "auto_contrast": lambda image, amount: ImageOps.autocontrast(image),
    "equalize": lambda image, amount: ImageOps.equalize(image),
}


@pytest.mark.parametrize("operation", rand_augment.OPERATIONS, ids=lambda operation: operation.__name__)
def test_operations_are_pillows(operation):
    image = photograph()
    for amount in (0.3, -0.3, 1.0, -1.0):
        ours = np.clip(operation(tf.constant(image, tf.float32), tf.constant(amount)), 0, 255)
        theirs = np.asarray(PILLOWS[operation.__name__](Image.fromarray(image), amount), np.float32)
        difference = np.abs(ours - theirs)[1:-1, 1:-1]  # Pillow leaves the border as it is when it sharpens
        most = 3 if operation is rand_augment.equalize else 1.5  # Pillow counts in whole steps, few in a small picture
        assert np.quantile(difference, 0.97) <= most and difference.mean() < most / 2, (amount, difference.mean())


def test_each_operation_is_drawn_as_often_as_any_other_with_the_magnitude_and_either_sign(monkeypatch):
    def marked(index):
        return lambda image, amount: tf.zeros_like(image) + 16 * index + 4 + 10 * amount

    monkeypatch.setattr(rand_augment, "OPERATIONS", tuple(map(marked, range(14))))
    image, draws = tf.zeros([1, 1, 3], tf.uint8), 1400
    one = tf.function(lambda seed: rand_augment.rand_augment(image, seed, 1, 9)[0, 0, 0])
    seen = np.array([one(tf.constant([3, index])) for index in range(draws)])
    values, counts = np.unique(seen, return_counts=True)
    assert values.tolist() == [16 * index + 4 + sign * 3 for index in range(14) for sign in (-1, 1)]
    assert np.abs(counts - 50).max() < 4 * 50**0.5


def test_operations_come_one_after_the_other(monkeypatch):
    monkeypatch.setattr(rand_augment, "OPERATIONS", [lambda image, amount: image + 1])
    for count in (1, 5):
        assert np.all(rand_augment.rand_augment(tf.zeros([2, 2, 3], tf.uint8), [0, 0], count, 9) == count)


def test_a_rectangle_of_noise_is_erased_of_a_share_of_views():
    side, draws = 64, 400
    gray = tf.fill([side, side, 3], tf.constant(128, tf.uint8))
    erased = tf.function(lambda seed: augmentation.erase(gray, seed, 0.25))
    made = [erased(tf.constant([1, index])).numpy() for index in range(draws)]
    boxes, noise = [], []
    for view in made:
        changed = (view != 128).any(-1)
        if changed.any():
            rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
            box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            assert changed[box].mean() > 0.99 and changed.sum() == changed[box].sum()
            boxes.append(changed[box].shape)
            noise.append(view[box].ravel())
    height, width = np.array(boxes).T
    area, aspect = height * width / side**2, width / height
    assert abs(len(boxes) / draws - 0.25) < 4 * (0.25 * 0.75 / draws) ** 0.5
    assert 0.015 < area.min() < 0.06 and 0.28 < area.max() < 0.34 and 0.27 < aspect.min() < 0.5 < 2 < aspect.max() < 3.7
    noise = np.concatenate(noise)
    assert (noise.min(), noise.max()) == (0, 255) and abs(noise.mean() - 127.5) < 1


@pytest.mark.parametrize(
    "changes", [{"rand_augment": 2}, {"random_erasing": 1.0}, {"rand_augment": 1, "color_jitter": 0.4}]
)
def test_of_the_views_that_are_compared_only_colors_change(changes, pictures):
    source = load.load_dataset("folder", str(pictures))
    settings = {"image_size": 48, "batch_size": 8, "seed": 0, "steps": 3}
    plain = list(batches.training_batches(source, **settings))
    changed = list(batches.training_batches(source, **settings, augmentation=Augmentation(**changes)))
    for ours, theirs in zip(plain, changed, strict=True):
        same = {"original", "transform", "label"} | ({"augmented"} if "color_jitter" not in changes else set())
        for name in same:
            np.testing.assert_array_equal(ours[name], theirs[name])
        for name in {*VIEWS} - same:
            assert np.mean(np.any(ours[name] != theirs[name], (1, 2, 3))) > 0.7


@pytest.mark.slow
def test_a_run_that_goes_on_sees_what_it_would_have_seen(pictures):
    source = load.load_dataset("folder", str(pictures))
    settings = {"image_size": 48, "batch_size": 8, "seed": 0, "steps": 6}
    settings["augmentation"] = Augmentation(color_jitter=0.4, rand_augment=2, random_erasing=0.5)
    whole = [batch["ce"].numpy() for batch in batches.training_batches(source, **settings)]
    rest = [batch["ce"].numpy() for batch in batches.training_batches(source, **settings, first_step=4)]
    np.testing.assert_array_equal(whole[4:], rest)
    assert len({view.tobytes() for batch in whole for view in batch}) == 48  # of 24 pictures, other ones in each pass


def test_jitter_leaves_the_original_alone(pictures):
    source = load.load_dataset("folder", str(pictures))
    example = source.decode("train", 0)
    plain = views.training_views(example, [0, 0], 48)
    jittered = views.training_views(example, [0, 0], 48, augmentation=Augmentation(color_jitter=0.5))
    assert set(plain) == set(jittered) == {*VIEWS, "transform", "label"}
    for name in ("original", "transform", "label"):
        np.testing.assert_array_equal(plain[name], jittered[name])
    for name in ("ce", "augmented"):
        assert np.abs(plain[name].numpy().astype(int) - jittered[name]).mean() > 1
        again = views.training_views(example, [0, 0], 48, augmentation=Augmentation(color_jitter=0.5))[name]
        np.testing.assert_array_equal(jittered[name], again)


def test_jitter_of_gray_is_its_brightness():
    """A picture of one gray has no contrast, saturation or hue to change."""
    for index in range(20):
        factor = 1 + 0.5 * 0.8 * tf.random.stateless_uniform([4], [index, 7], -1, 1)[0].numpy()
        jittered = augmentation.jitter_colors(tf.fill([4, 5, 3], tf.constant(200, tf.uint8)), [index, 7], 0.5)
        np.testing.assert_allclose(jittered, np.full([4, 5, 3], min(200 * factor, 255)), atol=0.51)


@pytest.mark.parametrize("color", [(180, 20, 60), (30, 90, 120), (200, 190, 10)])
def test_jitter_of_one_color(color):
    """A picture of one color has no contrast; the rest is arithmetic in hue, saturation and value."""
    for index in range(20):
        drawn = tf.random.stateless_uniform([4], [index, 1], -1, 1).numpy()
        brightness, _, saturation, hue = 0.5 * np.array([0.8, 0.8, 0.8, 0.2]) * drawn
        rgb = np.minimum(np.array(color) / 255 * (1 + brightness), 1)
        h, s, v = colorsys.rgb_to_hsv(*rgb)
        expected = colorsys.hsv_to_rgb((h + hue) % 1, min(s * (1 + saturation), 1), v)
        jittered = augmentation.jitter_colors(tf.constant([[color]], tf.uint8), [index, 1], 0.5)
        np.testing.assert_allclose(jittered[0, 0], 255 * np.array(expected), atol=0.6)


def test_jitter_changes_contrast_about_the_mean():
    drawn = tf.random.stateless_uniform([4], [2, 2], -1, 1).numpy()
    brightness, contrast = 0.2 * 0.8 * drawn[:2]
    image = tf.constant([[[100] * 3, [140] * 3]], tf.uint8)
    spread = np.diff(augmentation.jitter_colors(image, [2, 2], 0.2).numpy()[0, :, 0].astype(int))
    assert abs(contrast) > 0.05
    np.testing.assert_allclose(spread, 40 * (1 + brightness) * (1 + contrast), atol=1)
