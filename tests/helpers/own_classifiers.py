"""What a Keras user brings: small classifiers of many kinds, and datasets."""

import keras
import numpy as np
import tensorflow as tf

from cgc_tf.method.model import CGCModel
from cgc_tf.training import device

layers = keras.layers
SIZE, CLASSES, COUNT = 16, 3, 6
RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.integers(0, 256, (COUNT, SIZE, SIZE, 3), np.uint8), np.arange(COUNT) % CLASSES
ONE_HOT = np.eye(CLASSES, dtype="float32")[LABELS]


def classifier(*end, first=(), last=CLASSES):
    """Two convolutions, a dense layer, and what follows."""
    keras.utils.set_random_seed(1)
    convolutions = [layers.Conv2D(4, 3, strides=2, activation="relu"), layers.Conv2D(4, 3, name="last_map")]
    middle = [*first, layers.Rescaling(1 / 255), *convolutions, layers.GlobalAveragePooling2D()]
    return keras.Sequential([keras.Input((SIZE, SIZE, 3)), *middle, layers.Dense(last), *end])


def dense(activation, units=CLASSES):
    network = classifier()
    network.pop()
    network.add(layers.Dense(units, activation=activation))
    return network


def by_operation():
    network = classifier()
    return keras.Model(network.inputs, keras.ops.softmax(network.outputs[0]))


def nested():
    images = keras.Input((SIZE, SIZE, 3))
    return keras.Model(images, layers.Softmax()(keras.Sequential([classifier(), layers.Identity()])(images)))


def mixed():
    with device.precision("mixed_float16"):
        return classifier(layers.Activation("softmax", dtype="float32"))


def dataset(images=IMAGES, labels=LABELS, *weights, batch=2):
    pairs = tf.data.Dataset.from_tensor_slices((images, labels, *weights))
    return pairs.batch(batch) if batch else pairs


def compiled(network=None, objective=None, metrics=("accuracy",), **settings):
    model = CGCModel.from_classifier(network or classifier(), objective=objective)
    model.compile("sgd", metrics=list(metrics), **settings)
    return model
