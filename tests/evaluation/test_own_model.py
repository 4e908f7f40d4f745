"""A model in memory, measured on a dataset of one's own and exported, without a run's folder."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import cgc_tf
from cgc_tf.common.errors import UserError
from cgc_tf.data.load import load_dataset
from cgc_tf.evaluation import own_model
from cgc_tf.evaluation.examples import Drawing
from cgc_tf.evaluation.measure import measure
from cgc_tf.evaluation.protocol import Protocol
from cgc_tf.report import model_card
from export.artifact import layout

SIZE, CLASSES, COUNT = 16, 3, 6
FEW = Protocol(curve_steps=2, resamples=100)
RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.integers(0, 256, (COUNT, SIZE, SIZE, 3), np.uint8), np.arange(COUNT, dtype=np.int32) % CLASSES
BOXES = np.tile([[[0.0, 0.0, 0.5, 1.0]]], [COUNT, 1, 1]).astype("float32")


def model(size=SIZE, scale=1 / 255, **settings):
    keras.utils.set_random_seed(3)
    layers = [
        keras.layers.Rescaling(scale),
        keras.layers.Conv2D(4, 3, activation="relu"),
        keras.layers.Conv2D(4, 3),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(CLASSES, "softmax"),
    ]
    return cgc_tf.CGCModel.from_classifier(keras.Sequential([keras.Input((size, size, 3)), *layers]), **settings)


def located(scale=1):
    return tf.data.Dataset.from_tensor_slices(
        {"image": IMAGES / scale if scale > 1 else IMAGES, "label": np.eye(CLASSES)[LABELS], "boxes": BOXES}
    ).batch(4)


def from_1():
    return tf.data.Dataset.from_tensor_slices((IMAGES, LABELS + 1))


@pytest.fixture(scope="module")
def report():
    (report,), comparisons, figure, page = cgc_tf.evaluate(model(), located(), protocol=FEW)
    assert (comparisons, figure, page) == ([], None, None)
    return report


def test_a_model_is_measured_on_a_dataset_of_ones_own(report):
    measured = model()
    predicted = measured.predict(IMAGES, verbose=0).argmax(-1)
    assert report["top1"] == pytest.approx(np.mean(predicted == LABELS)) and report["examples"] == COUNT
    heatmaps = measured.explain(_center(IMAGES), LABELS)["heatmap"]
    up = tf.image.resize(heatmaps[..., None], [SIZE, SIZE])[..., 0].numpy()
    inside = up[:, : SIZE // 2].sum((1, 2)) / up.sum((1, 2))
    assert report["content_heatmap"] == pytest.approx(np.mean(inside), rel=0.05)
    assert 0 < report["insertion_auc"] < 1
    unknown = [report[name] for name in ("dataset", "split", "workdir", "checkpoint", "data_dir")]
    assert unknown == [None] * 5 and report["config"]["objective"] is None
    assert report["content_heatmap_on"] == "center views, labeled class"


def _center(images):
    from cgc_tf.data.views import original_view

    return tf.stack([original_view(image, SIZE)[0] for image in images])


def test_pictures_and_a_model_of_0_to_1_give_the_same(report):
    unit = model(scale=1.0, value_range=(0, 1))
    (other,) = cgc_tf.evaluate(unit, located(255), protocol=FEW).reports
    for name in ("top1", "content_heatmap", "insertion_auc", "consistency"):
        assert other[name] == pytest.approx(report[name], rel=1e-4)


def test_a_source_is_measured_on_too(pictures):
    source = load_dataset("folder", pictures)
    evaluated, same = own_model.opened(model(size=None, image_size=32), source, FEW)
    assert same is source and evaluated.class_names == source.class_names and evaluated.takes_any_size
    assert evaluated.settings["objective"] == "cgc"
    columns = measure(evaluated, source, Protocol(limit=2, curves="none")).columns
    assert np.isfinite(columns["content_heatmap"]).all() and len(columns["top1"]) == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cgc_tf.evaluate(["runs/a"], located()), "dataset=... goes with a CGCModel"),
        (lambda: cgc_tf.evaluate(model(), located(), drawing=Drawing(1)), "drawing=... is not used"),
        (
            lambda: cgc_tf.evaluate(model(), located(), Protocol(dataset="folder")),
            r"Protocol\(dataset=...\) is not used",
        ),
        (lambda: cgc_tf.evaluate(model(), None), "a tf.data.Dataset of .* Received: NoneType"),
        (
            lambda: cgc_tf.evaluate(model(), from_1()),
            "labels should .* 3 of 3 classes",
        ),
        (lambda: cgc_tf.evaluate(model(), located().take(0)), "one that is empty"),
        (lambda: cgc_tf.evaluate(model(size=None), located()), "does not say of which size"),
        (lambda: cgc_tf.export_saved_model(model(size=None), "x"), "does not say of which size"),
        (lambda: cgc_tf.export_saved_model(model(), "x", ["a", "b"]), "should be 3 different names"),
        (lambda: cgc_tf.export_saved_model("runs/A", "x", ["a", "b"]), "a run knows the names of its classes"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message) as refused:
        call()
    assert "\n" not in str(refused.value)


@pytest.mark.slow
def test_a_model_is_exported_without_a_run(exported, tmp_path):
    unit = model(scale=1.0, value_range=(0, 1))
    version = cgc_tf.export_saved_model(unit, tmp_path / "own", ["a", "b", "c"])
    assert set(layout.signature_defs(version)) == set(layout.signature_defs(exported))
    answer = tf.saved_model.load(str(version)).signatures["predict_tensor_uint8"](images=tf.constant(IMAGES))
    np.testing.assert_allclose(answer["probabilities"], unit.predict(IMAGES / 255, verbose=0), atol=1e-5)
    card, of_run = model_card.read(version), model_card.read(exported)
    assert set(card) == set(of_run) and set(card["configuration"]) == set(of_run["configuration"])
    unknown = [card[name] for name in ("history", "checkpoint")]
    assert unknown == [None, None] and card["data"] == {"dataset": None, "classes": 3}
    assert card["no_metrics"] == "it was exported without a run" and card["configuration"]["objective"] is None
    with pytest.raises(UserError, match="not of cgc_model"):
        cgc_tf.export_saved_model(unit, exported.parent)
