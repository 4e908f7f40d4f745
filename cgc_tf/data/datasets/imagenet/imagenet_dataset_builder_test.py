"""Tests of the `imagenet` dataset on archives of the official layout."""

import hashlib
from unittest import mock

import numpy as np
import tensorflow_datasets as tfds

from cgc_tf.data.datasets import dummy_data
from cgc_tf.data.datasets.imagenet import imagenet_dataset_builder as builder_module

DUMMY_DATA = builder_module.Builder.code_path.parent / "dummy_data"
DUMMY_MD5S = {name: hashlib.md5((DUMMY_DATA / name).read_bytes()).hexdigest() for name in builder_module.MD5S}


def test_boxes_are_those_of_the_labeled_class():
    text = dummy_data.voc("a", [("n1", (0, 0, 25, 20)), ("n2", (0, 0, 50, 40)), ("n1", (30, 10, 60, 40))])
    np.testing.assert_allclose(builder_module.read_boxes(text, "n1"), [(0, 0, 0.5, 0.5), (0.25, 0.6, 1, 1)])
    assert builder_module.read_boxes(text, "n3") == []


def test_labels_are_sorted_wnids():
    wnids = builder_module.Builder.wnids()
    assert len(set(wnids)) == 1000 and wnids == sorted(wnids) and wnids[0] == "n01440764"


class ImagenetTest(tfds.testing.DatasetBuilderTestCase):
    """Prepares and reads back the dummy archives."""

    DATASET_CLASS = builder_module.Builder
    SPLITS = {"train": 6, "validation": 3}  # noqa: RUF012

    def setUp(self):
        super().setUp()
        self.enter_context(mock.patch.object(builder_module, "MD5S", DUMMY_MD5S))
