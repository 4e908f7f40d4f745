"""One seed, one TensorFlow configuration, and small real data for every test."""

import pathlib

import numpy as np
import pytest

import cgc_tf  # noqa: F401  (settles the Keras backend before anything imports it)

DATA = pathlib.Path(__file__).parent / "data"


@pytest.fixture(autouse=True)
def seeded():
    import keras

    keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def golden():
    """Values computed by the reference implementation: `golden("cgc_loss")["loss"]`."""
    return lambda name: dict(np.load(DATA / f"{name}.npz"))
