"""A Keras user's own classifier and dataset: what is refused, in one line."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from own_classifiers import IMAGES, LABELS, ONE_HOT, SIZE, classifier, compiled, dataset, dense, layers

from cgc_tf.data.view_batches import view_batches
from cgc_tf.method.model import CGCModel


def two_outputs():
    network = classifier()
    return keras.Model(network.inputs, network.outputs * 2)


def two_inputs():
    images = [keras.Input((SIZE, SIZE, 3)) for _ in range(2)]
    return keras.Model(images, classifier()(layers.Add()(images)))


REFUSED = {
    "unbuilt": (lambda: keras.Sequential([layers.Dense(2)]), "the classifier is not built"),
    "two outputs": (two_outputs, "one input and one output. Received: 1 and 2"),
    "two inputs": (two_inputs, "one input and one output. Received: 2 and 1"),
    "several labels": (lambda: dense("sigmoid"), "sigmoid of 3 outputs"),
    "tanh": (lambda: dense("tanh"), "Received: activation tanh"),
    "hidden softmax": (lambda: classifier(layers.Lambda(tf.nn.softmax)), "Received: probabilities of the layer lambda"),
    "gray": (lambda: keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(2)]), "color images"),
    "random crop": (lambda: classifier(first=[layers.RandomCrop(8, 8)]), "RandomCrop moves"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_classifiers_that_are_refused(kind):
    build, message = REFUSED[kind]
    network = build()
    with pytest.raises(ValueError, match=message) as refused:
        CGCModel.from_classifier(network)
    assert "\n" not in str(refused.value)


DATA_REFUSED = {
    "normalized": (lambda: dataset(IMAGES / 127.5 - 1), "neither black nor normalized"),
    "black": (lambda: dataset(IMAGES * 0.0), "values from 0 to 0"),
    "arrays": (lambda: IMAGES, "a tf.data.Dataset of .* Received: ndarray"),
    "no labels": (lambda: tf.data.Dataset.from_tensor_slices(IMAGES), "tf.data.Dataset of .image, label. is needed"),
    "gray": (lambda: dataset(IMAGES[..., :1]), "in color"),
    "texts": (lambda: dataset(labels=LABELS.astype(str)), "ids or one-hot"),
    "soft": (lambda: dataset(labels=ONE_HOT * 0.9 + 0.1 / 3), "of one class each"),
    "fractions": (lambda: dataset(labels=LABELS + 0.5), r"Received: a label \[0.5\]"),
    "masks": (lambda: dataset(labels=IMAGES[..., 0]), "one label for each image"),
    "empty": (lambda: dataset(IMAGES.astype("float32")).take(0), "one that is empty"),
    "oblong": (lambda: dataset(IMAGES[:, :8]), "image_size=... is needed"),
}


@pytest.mark.parametrize("kind", DATA_REFUSED)
def test_datasets_that_are_refused(kind):
    build, message = DATA_REFUSED[kind]
    with pytest.raises(ValueError, match=message) as refused:
        view_batches(build())
    assert "\n" not in str(refused.value)


def brighter_later():
    return dataset(np.concatenate([IMAGES / 255.0, IMAGES.astype(float)]), np.tile(LABELS, 2))


CALLS_REFUSED = {
    "labels from 1": (lambda m: m.fit(view_batches(dataset(labels=LABELS + 1)), verbose=0), "labels should .* 3$"),
    "validation from 1": (lambda m: m.evaluate(dataset(labels=LABELS + 1), verbose=0), "labels should .* 3$"),
    "one-hot of more": (
        lambda m: m.fit(view_batches(dataset(labels=np.eye(5)[LABELS])), verbose=0),
        r"one-hot \[B, 3\]",
    ),
    "range that changes": (lambda m: m.fit(view_batches(brighter_later()), verbose=0), r"pictures should be in 0..1"),
    "no views": (lambda m: m.fit(dataset(), verbose=0), r"fit\(cgc_tf.view_batches"),
    "arrays": (lambda m: m.train_on_batch(IMAGES, LABELS), r"fit\(cgc_tf.view_batches"),
    "views to evaluate": (lambda m: m.evaluate(view_batches(dataset()), verbose=0), "no views of view_batches"),
    "another size": (lambda m: m.fit(view_batches(dataset(), image_size=24), verbose=0), "images of 16 x 16.*24 x 24$"),
    "a loss": (lambda m: m.compile("sgd", loss="mse"), "compile takes no loss"),
    "a loss, second": (lambda m: m.compile("sgd", "mse"), "compile takes no loss"),
    "weights beside": (lambda m: m.fit(view_batches(dataset()), sample_weight=[1.0], verbose=0), "sample_weight"),
}


@pytest.mark.parametrize("kind", CALLS_REFUSED)
def test_calls_that_are_refused(kind):
    call, message = CALLS_REFUSED[kind]
    model = compiled(run_eagerly=kind in ("labels from 1", "range that changes"))  # a step in a graph takes seconds
    with pytest.raises(ValueError, match=message) as refused:
        call(model)
    assert "\n" not in str(refused.value)
