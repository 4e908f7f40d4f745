"""RandAugment (Cubuk et al. 2019) of one image, drawn from a seed alone.

Keras' layer of this name draws from a state of its own, so that a run that was continued would see other pictures;
it turns pictures by up to half a circle, and computes every operation of every picture. So operations are chosen here,
and made of TensorFlow's and Keras' where these are stateless.
"""

import keras
import numpy as np
import tensorflow as tf

MOST = 30  # the paper's largest magnitude
GRAY = 128  # what is behind the border


def rand_augment(image, seed, count, magnitude):
    """Some of `OPERATIONS`, one after the other, each drawn with equal probability; with a random sign if it has one.

    Args:
        image: uint8 `[S, S, 3]`.
        seed: int `[2]`, a stateless seed.
        count: how many operations.
        magnitude: how much each changes, 0 to 30.

    Returns:
        uint8 `[S, S, 3]`.
    """
    seeds, shape = tf.random.split(seed, 2), image.shape
    chosen = tf.random.stateless_uniform([count], seeds[0], 0, len(OPERATIONS), tf.int32)
    signs = tf.sign(tf.random.stateless_uniform([count], seeds[1], -1, 1))
    for index in range(count):
        amount, before = magnitude / MOST * signs[index], tf.cast(image, tf.float32)
        branches = [lambda op=op, x=before, amount=amount: tf.cast(op(x, amount), tf.float32) for op in OPERATIONS]
        after = tf.switch_case(chosen[index], branches)
        image = tf.ensure_shape(tf.cast(tf.clip_by_value(after, 0, 255) + 0.5, tf.uint8), shape)
    return image


def identity(image, amount):
    """Here and below: an image, float32 `[S, S, 3]` in 0..255, changed by an amount in -1..1; it may leave 0..255."""
    return image


def shear_x(image, amount):
    """Moves each row by up to 0.3 of its distance from the top; what moves in is gray, as in all that moves."""
    return _moved(image, [1, 0.3 * amount, 0, 0, 1, 0])


def shear_y(image, amount):
    """Moves each column by up to 0.3 of its distance from the left."""
    return _moved(image, [1, 0, 0, 0.3 * amount, 1, 0])


def translate_x(image, amount):
    """Moves all by up to 150/331 of the side, as the paper's 150 pixels are of its pictures."""
    return _moved(image, [1, 0, 150 / 331 * amount * _sides(image)[1], 0, 1, 0])


def translate_y(image, amount):
    """As `translate_x`, down."""
    return _moved(image, [1, 0, 0, 0, 1, 150 / 331 * amount * _sides(image)[0]])


def rotate(image, amount):
    """Turns about the center by up to 30 degrees."""
    angle, center = amount * np.pi / 6, (_sides(image)[0] - 1) / 2
    cos, sin = tf.cos(angle), tf.sin(angle)
    return _moved(image, [cos, -sin, center * (1 - cos + sin), sin, cos, center * (1 - sin - cos)])


def brightness(image, amount):
    """Toward black, or away from it; this and the next three as Pillow's ImageEnhance, by 1 + 0.9 of the amount."""
    return _away_from(tf.zeros_like(image), image, amount)


def color(image, amount):
    """Toward its gray levels, or away from them."""
    return _away_from(tf.image.rgb_to_grayscale(image), image, amount)


def contrast(image, amount):
    """Toward its mean gray, or away from it."""
    return _away_from(tf.reduce_mean(tf.image.rgb_to_grayscale(image)), image, amount)


def sharpness(image, amount):
    """Toward a smoothed image (Pillow's SMOOTH: nine ones, and four more in the center), or away from it."""
    smooth = (9 * tf.nn.avg_pool2d(image[None], 3, 1, "SAME")[0] + 4 * image) / 13
    return _away_from(smooth, image, amount)


def posterize(image, amount):
    """Keeps the highest of 8 bits, 4 at least."""
    step = 2 ** tf.round(4 * tf.abs(amount))
    return tf.floor(image / step) * step


def solarize(image, amount):
    """Inverts what is not below a threshold, from 255 down to 0."""
    return tf.where(image < 255 * (1 - tf.abs(amount)), image, 255 - image)


def auto_contrast(image, amount):
    """Stretches each channel to 0..255."""
    return keras.layers.AutoContrast(value_range=(0, 255))(image)


def equalize(image, amount):
    """Gives each channel a flat histogram."""
    return keras.layers.Equalization(value_range=(0, 255))(image)


OPERATIONS = (
    *(identity, shear_x, shear_y, translate_x, translate_y, rotate, brightness, color, contrast, sharpness),
    *(posterize, solarize, auto_contrast, equalize),
)


def _sides(image):
    return tf.unstack(tf.cast(tf.shape(image)[:2], tf.float32))


def _moved(image, rows):
    """What lies at (x, y) is taken from (rows[0] x + rows[1] y + rows[2], rows[3] x + rows[4] y + rows[5])."""
    transform = tf.stack([tf.cast(number, tf.float32) for number in (*rows, 0, 0)])
    return keras.ops.image.affine_transform(image, transform, fill_value=GRAY)


def _away_from(other, image, amount):
    return other + (1 + 0.9 * amount) * (image - other)
