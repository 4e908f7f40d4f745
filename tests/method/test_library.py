"""CGC as a library: a Keras user's own classifier, wrapped, trained, explained, saved and read back."""

import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from cgc_tf.data.view_batches import view_batches
from cgc_tf.method.model import CGCModel
from cgc_tf.method.objective import Objective

ROOT = pathlib.Path(__file__).parents[2]


def of_ones_own():
    """What a user brings: images, pictures as a `tf.data.Dataset`, and a classifier."""
    images = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), np.uint8)
    layers, shape = keras.layers, (None, None, 3)
    network = keras.Sequential([keras.Input(shape)])
    for filters in (4, 8):
        for layer in (layers.Conv2D(filters, 3, strides=2), layers.BatchNormalization(), layers.ReLU()):
            network.add(layer)
    scaling = layers.Rescaling(1 / 127.5, -1)
    classifier = keras.Sequential(
        [keras.Input(shape), scaling, network, layers.GlobalAveragePooling2D(), layers.Dense(4)]
    )
    pictures = tf.data.Dataset.from_tensor_slices((images, np.arange(12) % 4)).shuffle(12).batch(6)
    return {"images": images[:3], "train": pictures, "val": pictures.take(1), "classifier": classifier, "keras": keras}


def run_example(page, names):
    """Runs the Python of a page for an epoch, with `names` there; they hold what it has made afterwards."""
    code = re.search(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)[1]
    assert "epochs=10" in code
    exec(code.replace("epochs=10", "epochs=1, verbose=0"), names)


def test_the_front_pages_example():
    names = of_ones_own()
    run_example("README.md", names)
    assert names["heatmaps"].shape[0] == 3 and np.isfinite(names["heatmaps"]).all()


@pytest.mark.slow
def test_the_example_of_training(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = of_ones_own()
    run_example("docs/training.md", names)
    model, answer, images = names["model"], names["answer"], names["images"]

    assert names["report"]["insertion_auc"] > 0 and (tmp_path / "exported/1/saved_model.pb").exists()
    assert {"loss", "cross_entropy", "consistency_loss", "accuracy"} <= set(model.history.history)
    assert answer["probabilities"].shape == (3, 4) and answer["heatmap"].shape[0] == 3
    np.testing.assert_allclose(
        tf.nn.softmax(names["classifier"](images.astype("float32"))), answer["probabilities"], atol=1e-5
    )
    again = keras.models.load_model("classifier.keras")
    np.testing.assert_allclose(again.explain(images)["heatmap"], answer["heatmap"], rtol=1e-4, atol=1e-7)
    assert again.optimizer.iterations == model.optimizer.iterations
    again.fit(view_batches(names["train"]), verbose=0)
    named = model.explain(images, class_ids=[1, 2, 3])
    np.testing.assert_array_equal(named["class_id"], [1, 2, 3])


def test_layer_and_objective_survive_saving(tmp_path):
    network = keras.applications.VGG16(weights=None, input_shape=(32, 32, 3), classes=3, classifier_activation=None)
    objective = Objective("cgc_no_negatives", lambda_cgc=2.0, ce_views=("ce",), cam="layercam")
    model = CGCModel.from_classifier(network, "block4_conv3", objective)
    images = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3), np.uint8)
    model.save(tmp_path / "vgg.keras")
    again = keras.models.load_model(tmp_path / "vgg.keras")
    assert again.objective == objective
    assert again.explain(images)["heatmap"].shape == (2, 4, 4)
    np.testing.assert_allclose(again.explain(images)["heatmap"], model.explain(images)["heatmap"], rtol=1e-5)


def test_views_differ_from_epoch_to_epoch_and_repeat_with_the_seed():
    images = np.random.default_rng(2).integers(0, 256, (6, 40, 50, 3), np.uint8)
    pictures = tf.data.Dataset.from_tensor_slices((images, np.arange(6)))
    runs = [view_batches(pictures, 32, 4, seed=5) for _ in range(2)]
    drawn = [[np.concatenate([batch["transform"] for batch in stream]) for _ in range(2)] for stream in runs]
    assert len(drawn[0][0]) == 6
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0][0] != drawn[0][1]).any(1).all()
