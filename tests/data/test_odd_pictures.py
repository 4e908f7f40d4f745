"""One table of odd files, read by training and by the exported graph: used and turned alike, or refused by both."""

import io
import time

import numpy as np
import odd_pictures
import pytest
import tensorflow as tf
from PIL import Image

from cgc_tf.data import pictures
from cgc_tf.data.views import original_view
from export.artifact import picture_headers
from export.artifact import pictures as in_graph

TABLE = odd_pictures.table()
SIZE = 24
LOSSY = ("black_and_white.png", "arithmetic.jpg")  # the second says so, but is not


@pytest.mark.slow
def test_training_and_the_exported_graph_agree(tmp_path):
    """All in one test, since Keras' seed, set before each, makes TensorFlow prepare every graph anew."""
    read = tf.function(lambda encoded: in_graph.views(encoded, SIZE), [tf.TensorSpec([None], tf.string)])
    path, wrong = tmp_path / "picture", {}
    for name, odd in TABLE.items():
        path.write_bytes(odd.contents)
        orientation, fault = pictures.examine(path)
        views, _, (is_decoded,) = read([odd.contents])
        if odd.fault:
            is_right = odd.fault in fault and "\n" not in fault and not is_decoded
        else:
            is_right = (orientation, fault) == (odd.orientation, "") and is_decoded
        if is_right and is_decoded:
            image = pictures.upright(pictures.decode_image(odd.contents), orientation)
            is_right = (image.shape[0] < image.shape[1]) == (orientation >= 5)
            is_right &= np.array_equal(views[0], original_view(image, SIZE)[0])
            is_right &= name in LOSSY or _looks_like_the_bird(odd.contents)
        if not is_right:
            wrong[name] = orientation, fault, bool(is_decoded)
    assert not wrong


def _looks_like_the_bird(contents):
    """Whether it decodes to about the pixels of the plain picture: 16 bits by their upper eight, no transparency."""
    ours, bird = (np.asarray(image, int) for image in (pictures.decode_image(contents), odd_pictures.bird()))
    return ours.shape == bird.shape and np.abs(ours.mean(-1) - bird.mean(-1)).mean() < 12


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_what_pillow_can_read_is_turned_as_pillow_turns_it():
    """Except for what the definition leaves out: XMP, and EXIF that is not in front of the pixels."""
    for name, odd in TABLE.items():
        if odd.orientation == 1 or "crc" in name or name == "two_exif.png":
            continue
        with Image.open(io.BytesIO(odd.contents)) as image:
            assert image.getexif().get(0x0112) == odd.orientation, name


def test_files_made_at_random_are_turned_alike(tmp_path):
    """Bytes changed, cut out and put in, in the part that is read: whatever comes of it, both say the same."""
    rng, path = np.random.default_rng(0), tmp_path / "picture"
    starts = [TABLE[name].contents for name in ("exif_after_others.jpg", "exif_little_endian.png", "exif_long.jpg")]
    found = []
    for count in range(200):
        contents = bytearray(starts[count % 3])
        for _ in range(rng.integers(1, 4)):
            place = rng.integers(2, 120)
            kind = rng.integers(3)
            if kind == 0:
                contents[place] = rng.integers(256)
            elif kind == 1:
                del contents[place : place + rng.integers(1, 5)]
            else:
                contents[place:place] = rng.bytes(rng.integers(1, 5))
        path.write_bytes(contents)
        found.append((pictures.examine(path)[0], int(picture_headers.orientation(bytes(contents)))))
    assert all(ours == theirs for ours, theirs in found)
    assert {ours for ours, _ in found} >= {1, 6}


def test_files_made_to_take_long_do_not():
    directory = odd_pictures.chunk(b"eXIf", odd_pictures.tiff(*[bytes(12)] * 65_000))
    for contents in (
        b"\xff\xd8" + b"\xff\xe0\0\2" * 2_000_000,
        b"\x89PNG\r\n\x1a\n" + odd_pictures.chunk(b"tEXt", b"") * 500_000,
        odd_pictures.png(directory),
    ):
        begin = time.process_time()
        assert int(picture_headers.orientation(contents)) == 1
        assert time.process_time() - begin < 5
