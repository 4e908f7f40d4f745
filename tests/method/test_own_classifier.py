"""A Keras user's own classifier and dataset: what works in three lines, and what is refused in one."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from cgc_tf.data.view_batches import view_batches
from cgc_tf.method import geometry
from cgc_tf.method.model import CGCModel
from cgc_tf.method.objective import Objective
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


@pytest.mark.parametrize("form", FORMS)
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


def test_steps_together_give_the_weights_of_steps_alone():
    found = []
    for settings in ({"run_eagerly": True}, {"steps_per_execution": 2}):
        model = compiled(**settings)
        model.fit(view_batches(dataset()), verbose=0)
        assert model.optimizer.iterations == 3
        found.append(np.concatenate([np.ravel(weight) for weight in model.trainable_variables]))
    np.testing.assert_allclose(*found, atol=1e-4)


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
