"""Tests of the `stanford_cars196` dataset on files of the official layout."""

import numpy as np
import scipy.io
import tensorflow_datasets as tfds
from etils import epath

from cgc_tf.data.datasets.stanford_cars196 import stanford_cars196_dataset_builder as builder_module


def test_names_are_those_of_the_meta_file_where_there_is_one(tmp_path):
    meta = epath.Path(tmp_path) / "cars_meta.mat"
    assert len(builder_module.class_names(meta)) == 196
    names = np.array([["Acura RL Sedan 2012", "Ram C/V Cargo Van Minivan 2012"]], object)
    scipy.io.savemat(meta, {"class_names": names})
    assert builder_module.class_names(meta) == ["Acura RL Sedan 2012", "Ram C/V Cargo Van Minivan 2012"]


class StanfordCars196Test(tfds.testing.DatasetBuilderTestCase):
    """Prepares and reads back the dummy files."""

    DATASET_CLASS = builder_module.Builder
    SPLITS = {"train": 3, "test": 1}  # noqa: RUF012
