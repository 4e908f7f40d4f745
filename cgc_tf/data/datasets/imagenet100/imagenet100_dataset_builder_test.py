"""Tests of the `imagenet100` dataset on the dummy archives of `imagenet`."""

from unittest import mock

import tensorflow_datasets as tfds

from cgc_tf.data.datasets.imagenet import imagenet_dataset_builder
from cgc_tf.data.datasets.imagenet.imagenet_dataset_builder_test import DUMMY_DATA, DUMMY_MD5S
from cgc_tf.data.datasets.imagenet100 import imagenet100_dataset_builder as builder_module


def test_classes_are_a_hundred_of_the_thousand():
    wnids = builder_module.Builder.wnids()
    assert len(wnids) == 100 and wnids == sorted(wnids)
    assert set(wnids) < set(imagenet_dataset_builder.Builder.wnids())


class Imagenet100Test(tfds.testing.DatasetBuilderTestCase):
    """Prepares and reads back what is left of the dummy archives."""

    DATASET_CLASS = builder_module.Builder
    EXAMPLE_DIR = DUMMY_DATA
    SPLITS = {"train": 4, "validation": 2}  # noqa: RUF012

    def setUp(self):
        super().setUp()
        self.enter_context(mock.patch.object(imagenet_dataset_builder, "MD5S", DUMMY_MD5S))
