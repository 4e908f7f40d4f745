"""What a picture's file says of itself, read without decoding its pixels.

Enough to tell most bad files from good ones: decoding 100,000 photographs takes minutes, reading their headers seconds.
"""

import os
import struct

import tensorflow as tf
from PIL import ExifTags, Image

MOST_PIXELS = 2**27  # 400 MB as RGB
FORMATS = ("JPEG", "PNG", "GIF", "BMP")
ENDS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND\xaeB\x60\x82", "GIF": b";"}
HEAD = 2048
APP1, FRAMES = 0xE1, {0xC0, 0xC1, 0xC2}  # markers of JPEG: EXIF, and the frames that decoders read

Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit is a warning first; ours is an error below


def examine(path, decode=None):
    """Reads one file's header and end.

    Args:
        path: the file.
        decode: a function, the file's bytes -> its pixels, which raises `tf.errors.OpError` where it cannot; asked
            about files that do not end as their format does, because they may be cut short.

    Returns:
        `(orientation, fault)`: EXIF's orientation, 1 to 8 (1 is upright), and what is wrong with the file, or "".
    """
    try:
        file = os.open(path, os.O_RDONLY)
        try:
            size, head = os.fstat(file).st_size, os.pread(file, HEAD, 0)
            kind, width, height, orientation = _plain_jpeg(head) or _by_pillow(path, size)
            end = ENDS.get(kind, b"")
            is_whole = os.pread(file, len(end), max(size - len(end), 0)) == end
        finally:
            os.close(file)
    except Image.UnidentifiedImageError:
        return 1, "neither JPEG, PNG, GIF nor BMP"
    except (OSError, ValueError) as error:
        return 1, getattr(error, "strerror", None) or str(error).splitlines()[0]
    if width * height > MOST_PIXELS:
        return 1, f"{width} x {height} pixels are more than the {MOST_PIXELS:,} that are decoded"
    return orientation, "" if is_whole or decode is None else decoding_fault(path, decode)


def _plain_jpeg(head):
    """What `_by_pillow` returns, in a tenth of its time, of a JPEG without EXIF whose first bytes tell; else None."""
    start = 2
    while head[:2] == b"\xff\xd8" and start + 9 <= len(head) and head[start] == 0xFF and head[start + 1] != APP1:
        marker, length, height, width = struct.unpack_from(">xBHxHH", head, start)
        if marker in FRAMES:
            return "JPEG", width, height, 1
        start += 2 + length
    return None


def _by_pillow(path, size):
    if not size:
        raise ValueError("the file is empty")
    with Image.open(path, formats=FORMATS) as image:
        return image.format, *image.size, _orientation(image)


def decoding_fault(path, decode):
    """Why a file cannot be decoded, "" where it can."""
    try:
        decode(tf.io.read_file(str(path)))
    except (tf.errors.OpError, ValueError) as error:
        return (getattr(error, "message", None) or str(error)).splitlines()[0]
    return ""


def _orientation(image):
    if "exif" not in image.info:
        return 1
    found = image.getexif().get(ExifTags.Base.Orientation, 1)
    return found if found in range(1, 9) else 1


def upright(image, orientation):
    """Turns a decoded picture as EXIF's orientation asks, as every viewer shows it.

    Args:
        image: `[H, W, 3]`.
        orientation: scalar int, 1 to 8.

    Returns:
        `[H, W, 3]`, or `[W, H, 3]` for 5 to 8.
    """
    image = tf.cond(orientation >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
    upside_down = tf.reduce_any(orientation == [3, 4, 7, 8])
    mirrored = tf.reduce_any(orientation == [2, 3, 6, 7])
    return tf.ensure_shape(tf.raw_ops.Reverse(tensor=image, dims=[upside_down, mirrored, False]), [None, None, 3])
