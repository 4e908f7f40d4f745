"""A run, its checkpoint and its export are measured alike."""

import dataclasses
import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from cgc_tf.common.errors import UserError
from cgc_tf.data import load
from cgc_tf.evaluation import evaluate, evaluated_models
from cgc_tf.evaluation.measure import measure
from cgc_tf.evaluation.protocol import Protocol
from cgc_tf.evaluation.saved_models import from_saved_model
from cgc_tf.networks import torch_files
from cgc_tf.report import model_card, tables
from cgc_tf.training import checkpoints
from cgc_tf.training.new_model import NewModel
from export import torch_checkpoint


@pytest.fixture(scope="module")
def source(small_config):
    return load.load_dataset("folder", small_config.data_dir)


def columns(subject, source, **choices):
    return measure(subject, source, Protocol(**choices), batch_size=12).columns


@pytest.mark.slow
def test_checkpoint_scores_as_its_run(workdir, small_config, source, tmp_path):
    """Whatever it is told it knows better: a run says itself what it is of."""
    subject = evaluated_models.from_checkpoint(workdir, tmp_path)
    expected, found = (columns(s, source, limit=6) for s in (evaluated_models.from_workdir(workdir), subject))
    for key in ("top1", "content_heatmap", "insertion_auc", "consistency"):
        np.testing.assert_allclose(found[key], expected[key], rtol=1e-4, atol=1e-5)
    assert subject.settings["backbone"] == "resnet8" and subject.image_size == 48
    earlier = checkpoints.files(workdir / checkpoints.FOLDER)[0]
    assert evaluated_models.from_checkpoint(earlier, tmp_path).checkpoint == earlier.name
    for told, complaint in (
        ({"backbone": "resnet50"}, "--backbone=resnet50: --weights=.* says resnet8"),
        ({"image_size": 224}, "--image_size=224: --weights=.* says 48"),
    ):
        with pytest.raises(UserError, match=complaint):
            evaluated_models.from_checkpoint(workdir, tmp_path, told)
    with pytest.raises(UserError, match="is not in its run's folder"):
        evaluated_models.from_checkpoint(shutil.copy(earlier, tmp_path), tmp_path)


@pytest.mark.slow
def test_heatmaps_to_a_power(workdir, source):
    """Sharper heatmaps of the same model: of a peak's share each value is raised, and nothing else is measured anew."""
    subject = evaluated_models.from_workdir(workdir)
    given = tf.constant([[[1e-30, 3e-30], [0, 4e-30]], [[0, 0], [0, 0]]])
    fixed = dataclasses.replace(subject, explain=lambda images, class_ids: given)
    np.testing.assert_allclose(fixed.sharpened(2).explain(None, None)[0], [[1 / 16, 9 / 16], [0, 1]], rtol=1e-6)
    np.testing.assert_array_equal(fixed.sharpened(2).explain(None, None)[1], 0)
    assert subject.sharpened(1) is subject
    reports = [
        evaluate.evaluate_models([subject], source, Protocol(limit=6, curves="none", heatmap_power=power)).reports[0]
        for power in (1.0, 4.0)
    ]
    assert reports[1]["entropy"] < reports[0]["entropy"] and reports[1]["top1"] == reports[0]["top1"]
    assert (workdir / "evaluation-heatmap_power-4-limit-6.json").exists()


@pytest.fixture(scope="module")
def torch_file(small_config, tmp_path_factory):
    """A ResNet18 for 64 pixels with its classifier, as a file of PyTorch's, and the model in it."""
    config = dataclasses.replace(small_config, backbone="resnet18", image_size=64)
    model = NewModel(config).with_classes(3)
    file = str(tmp_path_factory.mktemp("torch") / "resnet18.safetensors")
    torch_files.write_tensors(file, torch_checkpoint.state_dict(model))
    return file, model


def test_file_of_pytorch_with_its_classifier(torch_file, source, tmp_path):
    """What is measured is the file's own classifier: a ResNet written for PyTorch and read back."""
    file, model = torch_file
    told = {"backbone": "resnet18", "image_size": 64}
    subject = evaluated_models.from_checkpoint(file, tmp_path, told, source.class_names)
    images = tf.random.stateless_uniform([2, 64, 64, 3], [1, 2], 0, 255)
    np.testing.assert_allclose(subject.probabilities(images), tf.nn.softmax(model(images)), rtol=1e-4, atol=1e-6)
    assert subject.settings.get("objective") is None  # which nobody knows
    assert subject.notes == (evaluated_models.TOLD_LABELS,)


@pytest.mark.parametrize("missing", ["backbone", "image_size", "labels"])
def test_what_a_file_of_pytorch_does_not_say(torch_file, source, tmp_path, missing):
    told = {"backbone": "resnet18", "image_size": 64, "labels": source.class_names}
    del told[missing]
    labels = told.pop("labels", None)
    with pytest.raises(UserError, match=f"--{missing}"):
        evaluated_models.from_checkpoint(torch_file[0], tmp_path, told, labels)


@pytest.mark.parametrize("weights", ["none", "imagenet", "network.keras"])
def test_weights_without_a_classifier(source, tmp_path, weights):
    """A classifier that is not read would be measured as it was drawn."""
    if weights.endswith(".keras"):
        weights = str(tmp_path / "network.keras")
        keras.Sequential([keras.Input([4]), keras.layers.Dense(2)]).save(weights)
    with pytest.raises(UserError, match=f"--checkpoint --weights={weights}: a trained classifier is read from"):
        evaluated_models.from_checkpoint(weights, tmp_path)


@pytest.mark.slow
def test_saved_model_scores_as_its_run(exported, workdir, source, tmp_path):
    """Through the signature over images: the same predictions; curves but for rounding. It says all of itself."""
    subject = from_saved_model(exported.parent, tmp_path)
    expected, found = columns(evaluated_models.from_workdir(workdir), source), columns(subject, source)
    np.testing.assert_array_equal(found["predicted"], expected["predicted"])
    np.testing.assert_allclose(found["probability_of_label"], expected["probability_of_label"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["insertion_auc"], expected["insertion_auc"], atol=5e-3)
    assert np.nanmin(found["content_heatmap"]) >= 0
    assert (subject.image_size, subject.settings["objective"], subject.settings["backbone"]) == (48, "cgc", "resnet8")
    with pytest.raises(UserError, match=r"--image_size=64: .* takes images of 48 pixels"):
        from_saved_model(exported, tmp_path, image_size=64)
    with pytest.raises(UserError, match="names its own classes"):
        from_saved_model(exported, tmp_path, labels=source.class_names[::-1])


@pytest.mark.slow
def test_classes_are_matched_by_name(workdir, exported, source, tmp_path):
    """A dataset with the same classes in another order gets the same scores; one with others is refused."""
    turned = dataclasses.replace(
        source,
        class_names=source.class_names[::-1],
        decode=lambda *place: {**source.decode(*place), "label": 2 - source.decode(*place)["label"]},
    )
    for subject in (evaluated_models.from_workdir(workdir), from_saved_model(exported, tmp_path)):
        expected = columns(subject, source, curves="none")
        found = columns(subject.in_order_of(turned.class_names), turned, curves="none")
        np.testing.assert_array_equal(found["predicted"], 2 - expected["predicted"])
        for key in ("top1", "probability_of_label", "content_heatmap", "consistency"):
            np.testing.assert_allclose(found[key], expected[key], rtol=1e-4, atol=1e-5, err_msg=key)
    with pytest.raises(
        UserError, match=r"the model alone has 2: blue_wings, green_fuselage; the dataset alone has 1: b$"
    ):
        subject.in_order_of(("b", "red_wings"))


def test_pictures_are_framed_exactly(exported, workdir, tmp_path):
    """The export's own resizing and cropping give back the very pixels: its heatmap is the run's."""
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 3)).astype(np.uint8)
    subject = from_saved_model(exported.parent, tmp_path)
    run = evaluated_models.from_workdir(workdir)
    predicted = tf.argmax(run.probabilities(images), -1)
    expected, found = (s.explain(tf.constant(images), predicted).numpy() for s in (run, subject))
    peak = expected.max((1, 2), keepdims=True)
    np.testing.assert_allclose(found, expected / np.where(peak, peak, 1), rtol=1e-3, atol=1e-5)


@pytest.fixture(scope="module")
def foreign(workdir, tmp_path_factory):
    """A SavedModel of someone else's: it takes image tensors of any size and a class, and says nothing of itself."""
    model = evaluated_models.from_workdir(workdir).network
    module = tf.Module()
    module.variables_of_model = [variable.value for variable in model.weights]
    image = tf.TensorSpec([None, None, None, 3], tf.float32, name="image")
    class_id = tf.TensorSpec([None], tf.int32, name="class_id")

    @tf.function(input_signature=[image, class_id])
    def explain(image, class_id):
        return {name: value for name, value in model.explain(image, class_id).items() if name != "class_id"}

    folder = tmp_path_factory.mktemp("foreign")
    tf.saved_model.save(module, str(folder / "1"), {"explain_tensor": explain})
    return folder


@pytest.mark.slow
def test_signature_over_tensors_is_preferred(workdir, foreign, source, tmp_path):
    """An export that takes image tensors of any size, and a class, is measured as its run is."""
    subject = from_saved_model(foreign, tmp_path, 48, source.class_names)
    assert subject.takes_any_size and subject.takes_any_class
    expected, found = (
        columns(evaluated_models.from_workdir(workdir), source, limit=6),
        columns(subject, source, limit=6),
    )
    for key in ("top1", "content_heatmap", "insertion_auc", "consistency"):
        np.testing.assert_allclose(found[key], expected[key], rtol=1e-3, atol=1e-4, err_msg=key)


@pytest.mark.slow
def test_what_a_foreign_saved_model_does_not_say(foreign, source, tmp_path):
    """It is asked for, or unknown, never taken from a default."""
    with pytest.raises(UserError, match="--image_size is missing"):
        from_saved_model(foreign, tmp_path, labels=source.class_names)
    with pytest.raises(UserError, match=r"does not name its classes: add --labels=FILE"):
        from_saved_model(foreign, tmp_path, 48)
    with pytest.raises(UserError, match="3 outputs, but 2 names"):
        from_saved_model(foreign, tmp_path, 48, source.class_names[:2])
    subject = from_saved_model(foreign, tmp_path, 48, source.class_names)
    assert subject.notes[0] == evaluated_models.TOLD_LABELS and "no model card" in subject.notes[1]
    protocol = Protocol(curves="none", limit=2, data_dir="DIR")
    made = evaluate.report_of(subject, measure(subject, source, protocol), source, protocol, "", 32)
    assert {made["config"][name] for name in ("objective", "backbone", "dataset", "lambda_cgc")} == {None}
    assert tables.label(made) == f"unknown objective ({foreign.name}/1)"


def test_what_is_no_saved_model(exported, tmp_path):
    with pytest.raises(UserError, match="holds no SavedModel"):
        from_saved_model(tmp_path, tmp_path)
    copy = shutil.copytree(exported, tmp_path / "1")
    (copy / "saved_model.pb").write_bytes(b"damaged")
    with pytest.raises(UserError, match="cannot be loaded"):
        from_saved_model(copy, tmp_path)
    (copy / model_card.CARD).write_text("{")
    with pytest.raises(UserError, match=r"model_card.json cannot be read"):
        from_saved_model(copy, tmp_path)
    subject = from_saved_model(exported.parent, tmp_path)
    with pytest.raises(UserError, match="--explainer=occlusion needs the network itself"):
        subject.explained_by("occlusion")


@pytest.mark.parametrize("choice", [{"ch_resize": 96}, {"randomization": 2}, {"explained_class": "label"}])
def test_what_a_saved_model_cannot_answer(exported, source, tmp_path, choice):
    """One with a signature over encoded pictures alone, of the predicted class."""
    subject = from_saved_model(exported.parent, tmp_path)
    subject = dataclasses.replace(subject, takes_any_size=False, takes_any_class=False)
    ((name, value),) = choice.items()
    with pytest.raises(UserError, match=f"--{name}={value}: {subject.name} has no signature for it"):
        measure(subject, source, Protocol(**choice))


@pytest.mark.slow
def test_program_measures_a_saved_model(exported, small_config, tmp_path, programs):
    """Without being told anything: what it was trained on, its size, its classes; moved to another name, too."""
    moved = shutil.copytree(exported.parent, tmp_path / "moved")
    command = ["evaluate.py", f"--saved_model={moved}", f"--output={tmp_path / 'out'}", "--limit=6", "--curve_steps=2"]
    done = programs.run(*command)
    assert done.returncode == 0, done.stderr
    assert "6 of the 12 images of split test of folder" in done.stdout
    assert "CH on whole images, predicted class" in done.stdout
    made = json.loads((tmp_path / "out" / "evaluation-curve_steps-2-limit-6.json").read_text())
    assert (made["data_dir"], made["image_size"], made["config"]["backbone"]) == (small_config.data_dir, 48, "resnet8")
    assert (tmp_path / "out" / "report-curve_steps-2-limit-6.html").exists()
