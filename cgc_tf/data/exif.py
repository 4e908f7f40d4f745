"""Which way is up: the one definition, for files and, through AutoGraph, for the exported graph.

A JPEG's or PNG's orientation is that of the first EXIF data in front of its pixels: the first APP1 segment that begins
with `Exif` and two zeros and stands before the scan, or the first `eXIf` chunk before the first `IDAT`. A WebP's is
that of its first `EXIF` chunk. It is the first entry with EXIF's tag 0x0112 in the first directory: one SHORT or LONG,
1 to 8. Anything else, EXIF that makes no sense included, means 1, upright. XMP, checksums, and EXIF behind the pixels
of a JPEG or PNG are not looked at.

All is read by `number(start, length, is_little=False)`: the unsigned integer that up to six bytes of the file
spell, zeros where it has ended. In a graph the numbers are tensors, and so the code below is plain on purpose: `&` for
`and`, and no `break`.
"""

from typing import Any

MOST = 1000  # segments, chunks or entries that are looked through: what is made to take long does not
JPEG, PNG, PNG_GOES_ON = 0xFFD8FF, 0x89504E47, 0x0D0A1A0A  # how files begin
RIFF, WEBP = int.from_bytes(b"RIFF", "big"), int.from_bytes(b"WEBP", "big")
WEBP_LOSSY, WEBP_LOSSLESS, WEBP_EXTENDED, _WEBP_EXIF = (
    int.from_bytes(name, "big") for name in (b"VP8 ", b"VP8L", b"VP8X", b"EXIF")
)
BMP_BITS = (24, 32)  # TensorFlow takes a palette's indices for grays
_EXIF = int.from_bytes(b"Exif\0\0", "big")
_APP1, _RST0, _SOS = 0xFFE1, 0xFFD0, 0xFFDA  # segments have markers from 0xFFC0, but for those from _RST0 to _SOS
CHUNK_HEADER, _CHUNK_EXIF, _CHUNK_PIXELS, _CHUNK_END = (
    int.from_bytes(name, "big") for name in (b"IHDR", b"eXIf", b"IDAT", b"IEND")
)
_LITTLE, _BIG = 0x49492A00, 0x4D4D002A
_TAG, _ENTRY = 0x0112, 12
_SHORT, _LONG = 3, 4


def number_in(contents):
    """The `number` of a file's whole contents, bytes."""

    def number(start, length, is_little=False):
        found = contents[start : start + length].ljust(length, b"\0")
        return int.from_bytes(found, "little" if is_little else "big")

    return number


def orientation(number, zero: Any = 0):
    """EXIF's orientation, 1 (upright) to 8, of the file whose bytes `number` reads."""
    start, end = zero, zero
    if number(0, 3) == JPEG:
        start, end = _in_jpeg(number, zero)
    elif number(0, 4) == PNG:
        start, end = _in_png(number, zero)
    elif (number(0, 4) == RIFF) & (number(8, 4) == WEBP):
        start, end = _in_webp(number, zero)
    result = zero + 1
    if end > 0:
        result = _in_exif(number, zero, start, end)
    return result


def _in_jpeg(number, zero):
    """Where EXIF's data begin and end in a JPEG, both 0 where there are none."""
    start, steps = zero + 2, zero
    marker, length = number(2, 2), number(4, 2)
    while (steps < MOST) & is_segment(marker, length) & ((marker != _APP1) | (number(start + 4, 6) != _EXIF)):
        start += 2 + length
        marker, length = number(start, 2), number(start + 2, 2)
        steps += 1
    first, last = zero, zero
    if (marker == _APP1) & (number(start + 4, 6) == _EXIF):
        first, last = start + 10, start + 2 + length
    return first, last


def is_segment(marker, length):
    """Whether a JPEG goes on with a segment in front of its pixels."""
    return (marker >= 0xFFC0) & ((marker < _RST0) | (marker > _SOS)) & (length >= 2)


def _in_png(number, zero):
    """Where EXIF's data begin and end in a PNG, both 0 where there are none."""
    start, steps = zero + 8, zero
    length, kind = number(8, 4), number(12, 4)
    while (steps < MOST) & (kind != _CHUNK_EXIF) & (kind != _CHUNK_PIXELS) & (kind != _CHUNK_END) & (kind != 0):
        start += 12 + length
        length, kind = number(start, 4), number(start + 4, 4)
        steps += 1
    first, last = zero, zero
    if kind == _CHUNK_EXIF:
        first, last = start + 8, start + 8 + length
    return first, last


def _in_webp(number, zero):
    """Where EXIF's data begin and end in a WebP, both 0 where there are none."""
    start, steps = zero + 12, zero
    kind, length = number(12, 4), number(16, 4, True)
    while (steps < MOST) & (kind != _WEBP_EXIF) & (kind != 0):
        start += 8 + length + length % 2
        kind, length = number(start, 4), number(start + 4, 4, True)
        steps += 1
    first, last = zero, zero
    if kind == _WEBP_EXIF:
        first, last = start + 8, start + 8 + length
    return first, last


def webp_facts(number, zero: Any = 0):
    """A WebP's height, width and whether it has transparency, 1 or 0, by its first chunk; zeros for an animated one.

    TensorFlow 2.21 writes beyond its memory if it is asked for one frame, of four channels, of an animated WebP.
    """
    height, width, has_alpha = zero, zero, zero
    kind, flags, bits = number(12, 4), number(20, 1), number(21, 4, True)
    if kind == WEBP_LOSSY:
        height, width = number(28, 2, True) % 2**14, number(26, 2, True) % 2**14
    elif kind == WEBP_LOSSLESS:
        height, width, has_alpha = bits // 2**14 % 2**14 + 1, bits % 2**14 + 1, bits // 2**28 % 2
    elif (kind == WEBP_EXTENDED) & (flags // 2 % 2 == 0):
        height, width, has_alpha = number(27, 3, True) + 1, number(24, 3, True) + 1, flags // 16 % 2
    return height, width, has_alpha


def _in_exif(number, zero, start, end):
    if number(start, 6) == _EXIF:  # some programs write it twice, or into a PNG
        start += 6
    order = number(start, 4)
    is_little = order == _LITTLE
    directory = start + number(start + 4, 4, is_little)
    count = number(directory, 2, is_little)
    entry, steps = directory + 2, zero
    while (steps < MOST) & (steps < count) & (entry + _ENTRY <= end) & (number(entry, 2, is_little) != _TAG):
        entry += _ENTRY
        steps += 1
    kind, values = number(entry + 2, 2, is_little), number(entry + 4, 4, is_little)
    value = zero
    if kind == _SHORT:
        value = number(entry + 8, 2, is_little)
    elif kind == _LONG:
        value = number(entry + 8, 4, is_little)
    is_there = (steps < MOST) & (steps < count) & (entry + _ENTRY <= end) & (values == 1)
    is_meant = (is_little | (order == _BIG)) & is_there & (value >= 1) & (value <= 8)
    result = zero + 1
    if is_meant:
        result = value
    return result
