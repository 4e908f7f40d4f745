"""One picture's file: whether it can be used, its pixels, and which way is up.

A picture can be used if TensorFlow decodes its pixels and there are not too many of them. Its header tells most bad
files from good ones (decoding 100,000 photographs takes minutes, reading their headers seconds); where a header leaves
that open, the decoder is asked.
"""

import os
import re
import stat

import tensorflow as tf

from cgc_tf.common.files import PathLike
from cgc_tf.data import exif
from cgc_tf.data.source import reason

MOST_PIXELS = 2**27  # 400 MB as RGB
FORMATS = "JPEG, PNG, GIF, BMP nor WebP"
HEAD = 2048  # bytes that are read at once; few headers are longer
SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG": "PNG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"RIFF": "WebP",
}
ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB\x60\x82"}
OTHERS = {  # what is often found under a picture's name, by a regular expression of its first bytes
    rb".{4}ftyp(avif|avis)": "AVIF",
    rb".{4}ftyp(hei|hev|mif1|msf1)": "HEIC",
    rb"II[*+]\0|MM\0[*+]": "TIFF",
    rb"\xff\x0a|.{4}JXL ": "JPEG XL",
    rb".{4}jP  |\xff\x4f\xff\x51": "JPEG 2000",
    rb"8BPS": "Photoshop",
    rb"%PDF": "PDF",
    rb"version https://git-lfs": "a pointer of Git LFS (run `git lfs pull`)",
    rb"\s*(<!doctype html|<html)": "a page of HTML",
    rb"\s*(<\?xml|<svg)": "XML or SVG",
}
PLAIN_FRAMES = {0xFFC0, 0xFFC1, 0xFFC2}  # baseline, extended and progressive JPEG
FRAMES = set(range(0xFFC0, 0xFFD0)) - {0xFFC4, 0xFFC8, 0xFFCC}


def examine(path: PathLike) -> tuple[int, str]:
    """Reads one file's header and end; decodes it only where these do not tell whether it can be decoded.

    Returns:
        `(orientation, fault)`: 1 to 8, as `exif` defines it (1 is upright), and what is wrong with the file, or "".
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe would be waited for
        try:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
                return 1, "not a file but a pipe, a socket or a device"
            head = os.pread(file, HEAD, 0)
            kind = _kind(head)
            if not kind:
                return 1, _other(head)
            number = _reader(file, head)
            if kind == "BMP" and number(28, 2, True) not in exif.BMP_BITS:
                return (
                    1,
                    f"a BMP of {number(28, 2, True)} bits a pixel; only 24 and 32 bits are decoded correctly",
                )
            orientation = exif.orientation(number)
            height, width, is_plain = _shape(kind, number)
            end = ENDS.get(kind, b"")
            is_whole = os.pread(file, len(end), max(status.st_size - len(end), 0)) == end
            if kind == "WebP":
                if not height:
                    return 1, "an animated WebP, or of an unknown kind"
                is_whole = number(4, 4, True) + 8 <= status.st_size
        finally:
            os.close(file)
    except OSError as error:
        return 1, error.strerror or str(error)
    if height * width > MOST_PIXELS:
        return 1, f"{width} x {height} pixels are more than the {MOST_PIXELS:,} that are decoded"
    if is_plain and is_whole:
        return orientation, ""
    return orientation, decoding_fault(path)


def decoding_fault(path: PathLike) -> str:
    """Why a file cannot be decoded, "" where it can."""
    try:
        decode_image(tf.io.read_file(str(path)))
    except (tf.errors.OpError, ValueError) as error:
        return reason(error)
    return ""


def decode_image(contents: tf.Tensor | bytes) -> tf.Tensor:
    """An encoded JPEG, PNG, GIF (its first frame), BMP or WebP as uint8 RGB `[H, W, 3]`, not yet turned `upright`."""
    image = tf.cond(
        _is_transparent_webp(contents),  # of others TensorFlow leaves transparency out itself
        lambda: tf.io.decode_image(contents, 4, expand_animations=False)[..., :3],
        lambda: tf.io.decode_image(contents, 3, expand_animations=False),
    )
    return tf.ensure_shape(image, [None, None, 3])


def _is_transparent_webp(contents):
    """Whether contents are those of a WebP with transparency that is not animated, a scalar bool."""
    head = tf.cast(tf.io.decode_raw([contents], tf.uint8, fixed_length=25)[0], tf.int32)

    def says(start, text):
        return tf.reduce_all(head[start : start + len(text)] == list(text))

    is_extended, is_lossless = says(12, b"VP8X") & (head[20] & 0x12 == 0x10), says(12, b"VP8L") & (head[24] & 0x10 > 0)
    return says(0, b"RIFF") & says(8, b"WEBP") & (is_extended | is_lossless)


def upright(image: tf.Tensor, orientation: tf.Tensor | int) -> tf.Tensor:
    """Turns a decoded picture as EXIF's orientation asks, as every viewer shows it.

    Args:
        image: `[H, W, 3]`.
        orientation: scalar int, 1 to 8.

    Returns:
        `[H, W, 3]`, or `[W, H, 3]` for 5 to 8.
    """
    orientation = tf.convert_to_tensor(orientation)
    image = tf.cond(orientation >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
    upside_down = tf.reduce_any(orientation == [3, 4, 7, 8])
    mirrored = tf.reduce_any(orientation == [2, 3, 6, 7])
    return tf.ensure_shape(tf.raw_ops.Reverse(tensor=image, dims=[upside_down, mirrored, False]), [None, None, 3])


def _kind(head):
    for signature, kind in SIGNATURES.items():
        if head.startswith(signature) and (kind != "WebP" or head[8:12] == b"WEBP"):
            return kind
    return ""


def _other(head):
    """What a file is that is none of `SIGNATURES`."""
    if not head:
        return "the file is empty"
    for pattern, name in OTHERS.items():
        if re.match(pattern, head, re.DOTALL | re.IGNORECASE):
            return f"{name}, neither {FORMATS}"
    return f"neither {FORMATS}"


def _reader(file, head):
    """`exif`'s `number` of an open file, whose first bytes are known."""

    def number(start, length, is_little=False):
        is_known = start + length <= len(head) or len(head) < HEAD
        found = head[start : start + length] if is_known else os.pread(file, length, start)
        return int.from_bytes(found.ljust(length, b"\0"), "little" if is_little else "big")

    return number


def _shape(kind, number):
    """Height, width, and whether they and the rest of the header leave no doubt that decoders read it."""
    if kind == "JPEG":
        return _shape_of_jpeg(number)
    if kind == "PNG":
        height, width = number(20, 4), number(16, 4)
        begins_right = number(4, 4) == exif.PNG_GOES_ON and number(12, 4) == exif.CHUNK_HEADER
        return height, width, begins_right and height > 0 and width > 0
    if kind == "GIF":
        return number(8, 2, True), number(6, 2, True), False
    if kind == "WebP":
        height, width, has_alpha = exif.webp_facts(number)
        return height, width, height > 0 and width > 0 and not has_alpha
    height = number(22, 4, True)
    return min(height, 2**32 - height), number(18, 4, True), False  # below zero: rows from the top


def _shape_of_jpeg(number):
    start = 2
    for _ in range(exif.MOST):
        marker, length = number(start, 2), number(start + 2, 2)
        if marker in FRAMES:
            bits, height, width, components = (number(start + at, n) for at, n in ((4, 1), (5, 2), (7, 2), (9, 1)))
            is_plain = marker in PLAIN_FRAMES and bits == 8 and components in (1, 3, 4) and height > 0 and width > 0
            return height, width, is_plain
        if not exif.is_segment(marker, length):
            break
        start += 2 + length
    return 0, 0, False
