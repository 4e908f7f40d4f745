"""What an encoded picture says of itself, read in a graph before anything is decoded: its size, and which way is up.

`cgc_tf.data.pictures` does the same for files, outside of a graph; both use `cgc_tf.data.exif`, here through AutoGraph.
"""

import tensorflow as tf

from cgc_tf.data import exif

_ENCODED = tf.TensorSpec([], tf.string)
GIF, BMP = int.from_bytes(b"GIF8", "big"), int.from_bytes(b"BM", "big")


@tf.function(input_signature=[_ENCODED])
def size(contents):
    """Height and width, int64 `[2]`, as the header of an encoded picture has them; zeros for no picture of ours."""
    number = _reader(contents)
    if number(0, 3) == exif.JPEG:
        found = tf.cast(tf.io.extract_jpeg_shape(contents)[:2], tf.int64)
    elif number(0, 4) == exif.PNG:
        found = tf.stack([number(20, 4), number(16, 4)])
    elif number(0, 4) == GIF:
        found = tf.stack([number(8, 2, True), number(6, 2, True)])
    elif (number(0, 2) == BMP) & tf.reduce_any(number(28, 2, True) == tf.constant(exif.BMP_BITS, tf.int64)):
        height = number(22, 4, True)
        found = tf.stack([tf.minimum(height, 2**32 - height), number(18, 4, True)])  # below zero: rows from the top
    elif (number(0, 4) == exif.RIFF) & (number(8, 4) == exif.WEBP):
        found = tf.stack(exif.webp_facts(number, tf.constant(0, tf.int64))[:2])
    else:
        found = tf.zeros([2], tf.int64)
    return found


@tf.function(input_signature=[_ENCODED])
def orientation(contents):
    """An encoded picture's orientation, int32 1 (upright) to 8."""
    return tf.cast(exif.orientation(_reader(contents), tf.constant(0, tf.int64)), tf.int32)


def _reader(contents):
    """`exif`'s `number` of an encoded picture, a scalar string."""
    end = tf.cast(tf.strings.length(contents), tf.int64)

    def number(start, length, is_little=False):
        start = tf.minimum(tf.cast(start, tf.int64), end)
        piece = [tf.strings.substr(contents, start, tf.constant(length, tf.int64))]
        most = 256**length - 1
        big = tf.io.decode_raw(piece, tf.int64, little_endian=False, fixed_length=8)[0, 0]
        big = tf.bitwise.bitwise_and(tf.bitwise.right_shift(big, 8 * (8 - length)), most)
        little = tf.bitwise.bitwise_and(tf.io.decode_raw(piece, tf.int64, fixed_length=8)[0, 0], most)
        return tf.where(is_little, little, big)

    return number
