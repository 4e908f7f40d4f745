"""What an encoded picture says of itself, read in a graph before anything is decoded: its size, and which way is up.

`cgc_tf.headers` is the same for files, outside of one.
"""

import tensorflow as tf

_SIZES = 26  # bytes, up to the height of a BMP
_HEAD = 1 << 16  # bytes in which EXIF is looked for: as many as one segment of a JPEG holds
# EXIF's header, up to where its own offsets count from. RE2's \C is any byte; only those below 128 can be named.
_EXIF = r"(?s)^\C*?(?:Exif\x00\x00|eXIf)(II\*\x00|MM\x00\*)"
_ORIENTATION, _ENTRY = 0x0112, 12  # the tag; bytes of a directory's entry: tag, type, count and value


def size(contents):
    """Height and width, int64 `[2]`, as the header of an encoded picture has them; zeros for no picture of ours."""
    header = _numbers(contents, _SIZES)

    def begins(signature):
        return tf.reduce_all(header[: len(signature)] == tf.constant(list(signature), tf.int64))

    def big(start, length):
        return _number(header[start : start + length])

    def little(start, length):
        return _number(header[start : start + length][::-1])

    height = little(22, 4)
    of_bmp = tf.stack([tf.minimum(height, 2**32 - height), little(18, 4)])  # below zero: rows from the top
    of_gif = tf.stack([little(8, 2), little(6, 2)])
    of_png = tf.stack([big(20, 4), big(16, 4)])
    return tf.case(
        [
            (begins(b"\xff\xd8\xff"), lambda: tf.cast(tf.io.extract_jpeg_shape(contents)[:2], tf.int64)),
            (begins(b"\x89PNG"), lambda: of_png),
            (begins(b"GIF8"), lambda: of_gif),
            (begins(b"BM"), lambda: of_bmp),
        ],
        default=lambda: tf.zeros([2], tf.int64),
    )


def orientation(contents):
    """EXIF's orientation of an encoded JPEG or PNG, int32 1 to 8; 1, which is upright, where it says none."""
    found = tf.strings.regex_replace(tf.strings.substr(contents, 0, _HEAD), _EXIF, r"\1", replace_global=False)
    data = _numbers(found, _HEAD)
    is_exif = (data[0] == data[1]) & tf.reduce_any(data[0] == [ord("I"), ord("M")])

    def number(digits):
        return _number(tf.cond(data[0] == ord("I"), lambda: digits[..., ::-1], lambda: digits))

    start = tf.minimum(number(data[4:8]), _HEAD - 2)
    entries = data[start + 2 :][: _ENTRY * number(tf.slice(data, [start], [2]))]
    entries = tf.reshape(entries[: tf.size(entries) // _ENTRY * _ENTRY], [-1, _ENTRY])
    # An entry's value fills its last four bytes from the left.
    values = tf.boolean_mask(number(entries[:, 8:10]), number(entries[:, :2]) == _ORIENTATION)
    value = tf.reduce_sum(values[:1])
    return tf.where(is_exif & (value >= 1) & (value <= 8), tf.cast(value, tf.int32), 1)


def _numbers(contents, count):
    """The first bytes of a string as int64 `[count]`, zeros where it ends before."""
    padded = tf.strings.substr(tf.strings.join([contents, "\0" * count]), 0, count)
    return tf.cast(tf.reshape(tf.io.decode_raw(padded, tf.uint8), [count]), tf.int64)


def _number(digits):
    """What bytes, int64 `[..., n]`, the first the most significant, spell."""
    weights = [256**place for place in reversed(range(digits.shape[-1]))]
    return tf.reduce_sum(digits * tf.constant(weights, tf.int64), -1)
