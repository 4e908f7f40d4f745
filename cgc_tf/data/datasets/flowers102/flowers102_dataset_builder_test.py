"""Tests of the `flowers102` dataset on archives of the official layout."""

import hashlib
import io
from unittest import mock

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image, ImageDraw

from cgc_tf.data.datasets import boxes
from cgc_tf.data.datasets.flowers102 import flowers102_dataset_builder as builder_module

DUMMY_DATA = builder_module.Builder.code_path.parent / "dummy_data"
DUMMY_MD5 = {"masks": hashlib.md5((DUMMY_DATA / "102segmentations.tgz").read_bytes()).hexdigest()}


@pytest.mark.parametrize("quality", [75, 90])
@pytest.mark.parametrize("paint", [(230, 60, 120), (250, 250, 250), (20, 60, 20), (120, 60, 200)])
def test_mask_is_the_flower_in_spite_of_jpeg(quality, paint):
    segmented, drawn = Image.new("RGB", (160, 120), (0, 0, 254)), Image.new("L", (160, 120))
    ImageDraw.Draw(segmented).ellipse((31, 22, 118, 97), paint)
    ImageDraw.Draw(drawn).ellipse((31, 22, 118, 97), 255)
    file = io.BytesIO()
    segmented.save(file, "JPEG", quality=quality)
    mask, truth = builder_module.flower_mask(Image.open(file)) > 0, np.asarray(drawn) > 0
    assert (mask & truth).sum() / (mask | truth).sum() > 0.95
    np.testing.assert_allclose(boxes.of_mask(mask), boxes.of_mask(truth), atol=0.02)


def test_no_flower_is_no_box():
    assert boxes.of_mask(builder_module.flower_mask(Image.new("RGB", (8, 6), (0, 0, 254)))) == []


class Flowers102Test(tfds.testing.DatasetBuilderTestCase):
    """Prepares and reads back the dummy archives."""

    DATASET_CLASS = builder_module.Builder
    SPLITS = {"train": 2, "validation": 1, "test": 2}  # noqa: RUF012
    DL_DOWNLOAD_RESULT = {  # noqa: RUF012
        "images": "102flowers.tgz",
        "labels": "imagelabels.mat",
        "splits": "setid.mat",
    }
    SKIP_CHECKSUMS = True  # of the masks an MD5 alone is known, which the builder checks

    def setUp(self):
        super().setUp()
        self.enter_context(mock.patch.object(builder_module, "MD5S", DUMMY_MD5))
