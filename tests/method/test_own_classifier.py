"""A Keras user's own classifier and dataset: what works in three lines."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from own_classifiers import (
    CLASSES,
    COUNT,
    IMAGES,
    LABELS,
    ONE_HOT,
    SIZE,
    by_operation,
    classifier,
    compiled,
    dataset,
    dense,
    layers,
    mixed,
    nested,
)

from cgc_tf.data.view_batches import view_batches
from cgc_tf.method import geometry
from cgc_tf.method.model import CGCModel
from cgc_tf.method.objective import Objective


@pytest.mark.parametrize(
    "build",
    [
        classifier,
        lambda: dense("softmax"),
        lambda: dense(tf.nn.softmax),
        lambda: dense(keras.ops.log_softmax),
        lambda: classifier(layers.Softmax()),
        lambda: classifier(layers.Activation("softmax")),
        lambda: keras.Sequential([dense("softmax"), layers.Activation("linear", dtype="float32")]),
        by_operation,
        nested,
        mixed,
    ],
    ids=["logits", "dense", "tf.nn", "log_softmax", "Softmax", "Activation", "cast", "operation", "nested", "mixed"],
)
def test_softmax_is_taken_off_by_any_route_and_layers_stay_shared(build):
    network = build()
    model = CGCModel.from_classifier(network)
    given = network(IMAGES.astype("float32")).numpy()
    logits = model(IMAGES)
    assert logits.dtype == "float32" and np.abs(np.sum(logits, 1) - 1).max() > 0.01
    softmax = np.exp(given) / np.sum(np.exp(given), 1, keepdims=True) if given.min() < 0 else given
    np.testing.assert_allclose(model.explain(IMAGES)["probabilities"], softmax, atol=2e-3)
    assert {id(variable) for variable in model.trainable_variables} == {id(v) for v in network.trainable_variables}


def test_training_trains_the_classifier_itself():
    network = dense("softmax")
    before = network(IMAGES.astype("float32")).numpy()
    model = compiled(network, run_eagerly=True)
    model.fit(view_batches(dataset()), verbose=0)
    assert np.abs(network(IMAGES.astype("float32")) - before).max() > 0
    np.testing.assert_allclose(model.predict(IMAGES, verbose=0), network(IMAGES.astype("float32")), atol=1e-6)


@pytest.mark.sampled
@pytest.mark.parametrize("end", [(), (layers.Activation("sigmoid"),)])
def test_one_logit_is_two_classes(end):
    network = classifier(*end, last=1)
    model = compiled(network, metrics=["accuracy", keras.metrics.AUC(name="auc")], run_eagerly=True)
    probability = network(IMAGES.astype("float32")).numpy() if end else tf.sigmoid(network(IMAGES.astype("float32")))
    np.testing.assert_allclose(model.predict(IMAGES, verbose=0), probability, atol=1e-6)
    np.testing.assert_allclose(model.explain(IMAGES)["probabilities"][:, 1:], probability, atol=1e-6)
    labels = (LABELS > 0).astype("float32")[:, None]
    logs = model.fit(view_batches(dataset(labels=labels)), verbose=0).history
    assert {"auc", "accuracy"} <= set(logs)
    np.testing.assert_array_equal(
        [np.max(x) > 0 for x in model.explain(IMAGES, [0] * 3 + [1] * 3)["heatmap"]], [True] * 6
    )


FORMS = {
    "ids": dataset(),
    "alone": dataset(batch=None),
    "one-hot": dataset(labels=ONE_HOT),
    "column": dataset(labels=LABELS[:, None]),
    "float 0..255": dataset(IMAGES.astype("float32")),
    "float 0..1": dataset(IMAGES.astype("float32") / 255),
    "weights": dataset(IMAGES, LABELS, np.ones(COUNT)),
    "dicts": dataset().map(lambda image, label: {"image": image, "label": label}),
    "unknown batches": dataset(batch=None).batch(2).filter(lambda *_: True),
}


@pytest.mark.sampled
@pytest.mark.parametrize("form", [form for form in FORMS if form != "ids"])
def test_any_form_of_dataset_gives_the_same_views(form):
    batches, expected = list(view_batches(FORMS[form])), list(view_batches(FORMS["ids"]))
    assert len(batches) == (1 if form == "alone" else 3)
    scale = 255 if form == "float 0..1" else 1
    for view in ("ce", "original", "augmented"):
        ours, theirs = (np.concatenate([batch[view] for batch in made]) for made in (batches, expected))
        np.testing.assert_allclose(ours * scale, theirs, atol=1e-4)
        assert ours.max() > 1 or scale == 255
    labels = np.concatenate([batch["label"] for batch in batches])
    np.testing.assert_array_equal(labels.argmax(-1) if labels.ndim > 1 else labels, LABELS)


@pytest.mark.sampled
@pytest.mark.parametrize("form", ["ids", "one-hot", "float 0..1"])
def test_validation_is_keras_own(form):
    """`evaluate` and `fit`'s validation give what the classifier itself would, whatever the dataset's form."""
    network = dense("softmax")
    metrics = ["accuracy", keras.metrics.TopKCategoricalAccuracy(2, name="top2")] if form == "one-hot" else ["accuracy"]
    model = compiled(network, metrics=metrics, run_eagerly=True)
    loss = "categorical_crossentropy" if form == "one-hot" else "sparse_categorical_crossentropy"
    network.compile(loss=loss, metrics=["accuracy", *metrics[1:]], run_eagerly=True)
    theirs = network.evaluate(FORMS[form], return_dict=True, verbose=0)
    ours = model.evaluate(FORMS[form], return_dict=True, verbose=0)
    np.testing.assert_allclose([ours[name] for name in theirs], list(theirs.values()), rtol=1e-5)
    alone = model.evaluate(FORMS[form].unbatch(), return_dict=True, verbose=0)
    np.testing.assert_allclose(alone["loss"], ours["loss"], rtol=1e-5)
    logs = model.fit(view_batches(FORMS[form]), validation_data=FORMS[form], verbose=0).history
    assert {"accuracy", "val_accuracy", "consistency_loss"} <= set(logs)
    assert model.value_range == ((0, 1) if form == "float 0..1" else (0, 255)) and model.image_size == SIZE


@pytest.mark.slow
def test_steps_together_give_the_weights_of_steps_alone():
    found = []
    for settings in ({"run_eagerly": True}, {"steps_per_execution": 2}):
        model = compiled(**settings)
        model.fit(view_batches(dataset()), verbose=0)
        assert model.optimizer.iterations == 3
        found.append(np.concatenate([np.ravel(weight) for weight in model.trainable_variables]))
    np.testing.assert_allclose(*found, atol=1e-4)


@pytest.mark.slow
def test_regularizers_are_minimized_too():
    plain, penalized = classifier(), classifier()
    penalized.layers[-1].kernel.regularizer = keras.regularizers.L2(0.1)
    kernels = []
    for network in (plain, penalized):
        before = network.layers[-1].kernel.numpy()
        model = compiled(network, run_eagerly=True)
        model.train_on_batch(next(iter(view_batches(dataset()))))
        kernels.append(network.layers[-1].kernel.numpy())
    np.testing.assert_allclose(kernels[0] - kernels[1], 0.01 * 2 * 0.1 * before, atol=1e-6)


def test_a_batch_is_trained_on():
    model = compiled(run_eagerly=True)
    (batch, *_) = view_batches(dataset())
    logs = model.train_on_batch(batch, return_dict=True)
    assert np.isfinite(logs["loss"]) and model.optimizer.iterations == 1


def test_weights_of_examples_and_of_classes():
    """A weight of an example, or of its class, is a factor of its cross-entropy."""
    model = compiled(objective=Objective("baseline", ce_views=("original",)), metrics=(), run_eagerly=True)
    model.optimizer.learning_rate = 0.0
    of_class, losses = {0: 0.0, 2: 3.0}, []
    each = np.array([0.0, 1.0, 3.0])[LABELS]
    for source, chosen in (
        (dataset(IMAGES, LABELS, each), None),
        (dataset(), of_class),
        (dataset(labels=ONE_HOT), of_class),
    ):
        losses.append(model.fit(view_batches(source), class_weight=chosen, verbose=0).history["loss"][0])
    np.testing.assert_allclose(losses, losses[0], rtol=1e-6)
    views = next(iter(view_batches(dataset(), batch_size=COUNT)))
    unweighted = keras.losses.sparse_categorical_crossentropy(LABELS, model(views["original"]), from_logits=True)
    np.testing.assert_allclose(losses[0], np.mean(each * unweighted), rtol=1e-5)
    weighted = model.evaluate(dataset(IMAGES, LABELS, each), return_dict=True, verbose=0)["loss"]
    plain = keras.losses.sparse_categorical_crossentropy(LABELS, model(IMAGES), from_logits=True)
    np.testing.assert_allclose(weighted, np.mean(each * plain), rtol=1e-5)


RANDOM = {
    "dropout": {"first": [layers.Dropout(0.5)]},
    "noise": {"first": [layers.GaussianDropout(0.5)]},
    "flip": {"first": [layers.RandomFlip(), layers.RandomRotation(0.3)]},
    "augmentation": {"first": [keras.Sequential([layers.RandomZoom(0.3), layers.RandomContrast(0.5)])]},
}


@pytest.mark.parametrize("kind", RANDOM)
def test_a_picture_agrees_with_itself_whatever_is_random_in_the_model(kind):
    model = CGCModel.from_classifier(classifier(**RANDOM[kind]), objective=Objective("cgc_no_negatives"))
    whole = np.tile([[0, 0, SIZE, SIZE, 0]], [COUNT, 1])
    views = {"ce": IMAGES, "original": IMAGES, "augmented": IMAGES, "transform": whole, "label": LABELS}
    np.testing.assert_allclose(model._terms(views)[1], 0, atol=1e-5)
    seeds = [v for v in model.non_trainable_variables if v.name == "seed_generator_state"]
    if seeds:  # which still draw anew for each step
        before = model._terms(views)[0]
        assert np.abs(model._terms(views)[0] - before).max() > 1e-4
    moved = {**views, "transform": np.stack([geometry.draw_transform([2, i], SIZE) for i in range(COUNT)])}
    assert np.max(model._terms(moved)[1]) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("where", ["", "file"])
def test_a_dataset_that_is_cached_is_seen_whole_under_a_strategy(where, tmp_path):
    where = str(tmp_path / "cache") if where else ""
    cached = dataset(IMAGES.astype("float32"), batch=None).cache(where).batch(2)
    with tf.distribute.OneDeviceStrategy("CPU:0").scope():
        model = compiled(metrics=["accuracy", keras.metrics.F1Score(name="f1")], run_eagerly=bool(where))
    one_hot = cached.map(lambda image, label: (image, tf.one_hot(label, CLASSES)))
    for _ in range(2):
        model.fit(view_batches(one_hot), validation_data=one_hot, verbose=0)
        assert int(model.accuracy.count) == COUNT  # of the validation
    assert model.optimizer.iterations == 6
