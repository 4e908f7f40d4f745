"""Tests of the `fgvc_aircraft` dataset on an archive of the official layout."""

import hashlib
import io
from unittest import mock

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from cgc_tf.data.datasets.fgvc_aircraft import fgvc_aircraft_dataset_builder as builder_module

ARCHIVE = builder_module.Builder.code_path.parent / "dummy_data" / "fgvc-aircraft-2013b.tar.gz"
DUMMY_MD5 = {"archive": hashlib.md5(ARCHIVE.read_bytes()).hexdigest()}


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ((11, 21, 50, 60), (0.5, 0.1, 1, 0.5)),  # rows 20 to 60 of 60, of which 40 are left
        ((0, 0, 50, 20), (0, 0, 0.5, 0.5)),  # a zero, though pixels count from 1
        ((1, 1, 100, 60), (0, 0, 1, 1)),  # the whole photograph, banner included
        ((21, 11, 120, 30), (0.25, 0.2, 0.75, 1)),  # beyond the right edge
        ((100, 40, 100, 40), (0.975, 0.99, 1, 1)),  # one pixel, the last
    ],
)
def test_cut_moves_the_box_with_the_image(printed, expected):
    photograph = Image.new("RGB", (100, 60))
    photograph.paste((255, 255, 255), (0, 40, 100, 60))
    image, boxes = builder_module.cut(photograph, *printed)
    assert image.size == (100, 40) and not np.asarray(image).any()
    np.testing.assert_allclose(boxes, [expected])


def test_box_inside_the_banner_is_no_box():
    _, boxes = builder_module.cut(Image.new("RGB", (100, 60)), 10, 41, 30, 55)
    assert boxes == []


def test_stored_image_is_close_to_the_cut_one():
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).resize((96, 64), Image.Resampling.BICUBIC)
    stored = Image.open(io.BytesIO(builder_module.as_jpeg(image).read()))
    difference = np.asarray(stored, int) - np.asarray(image, int)
    assert stored.format == "JPEG" and np.abs(difference).mean() < 1.5


class FgvcAircraftTest(tfds.testing.DatasetBuilderTestCase):
    """Prepares and reads back the dummy archive at each level."""

    DATASET_CLASS = builder_module.Builder
    SPLITS = {"train": 2, "validation": 1, "test": 2}  # noqa: RUF012
    DL_DOWNLOAD_RESULT = {"archive": ARCHIVE.name}  # noqa: RUF012
    SKIP_CHECKSUMS = True  # the publisher gives an MD5, which the builder checks

    def setUp(self):
        super().setUp()
        self.enter_context(mock.patch.object(builder_module, "MD5S", DUMMY_MD5))
