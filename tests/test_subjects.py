"""A run, its checkpoint and its export are measured alike."""

import dataclasses
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from cgc_tf import runs, sources, subjects, torch_files
from cgc_tf.errors import UserError
from cgc_tf.measuring import measure
from cgc_tf.protocol import Protocol
from export import torch_checkpoint


@pytest.fixture(scope="module")
def source(small_config):
    return sources.load("folder", small_config.data_dir)


def columns(subject, source, **choices):
    return measure(subject, source, Protocol(**choices), batch_size=12).columns


def test_checkpoint_scores_as_its_run(workdir, small_config, source, tmp_path):
    config = dataclasses.replace(small_config, weights=str(workdir))
    checkpoint = subjects.from_checkpoint(config, source.class_names, tmp_path)
    expected, found = (columns(s, source, limit=6) for s in (subjects.from_workdir(workdir), checkpoint))
    for key in ("top1", "content_heatmap", "insertion_auc", "consistency"):
        np.testing.assert_allclose(found[key], expected[key], rtol=1e-4, atol=1e-5)


def test_file_of_pytorch_with_its_classifier(small_config, source, tmp_path):
    """What is measured is the file's own classifier: a ResNet written for PyTorch and read back."""
    config = dataclasses.replace(small_config, backbone="resnet18", image_size=64)
    model = runs.make_model(config, runs.make_backbone(config, "none"), 3)
    file = str(tmp_path / "resnet18.safetensors")
    torch_files.write_tensors(file, torch_checkpoint.state_dict(model))
    subject = subjects.from_checkpoint(dataclasses.replace(config, weights=file), source.class_names, tmp_path)
    images = tf.random.stateless_uniform([2, 64, 64, 3], [1, 2], 0, 255)
    np.testing.assert_allclose(subject.probabilities(images), tf.nn.softmax(model(images)), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("weights", ["none", "imagenet", "network.keras"])
def test_weights_without_a_classifier(small_config, source, tmp_path, weights):
    """A classifier that is not read would be measured as it was drawn."""
    if weights.endswith(".keras"):
        weights = str(tmp_path / "network.keras")
        keras.Sequential([keras.Input([4]), keras.layers.Dense(2)]).save(weights)
    config = dataclasses.replace(small_config, weights=weights)
    with pytest.raises(UserError, match=f"--checkpoint --weights={weights}: a trained classifier is read from"):
        subjects.from_checkpoint(config, source.class_names, tmp_path)


def test_saved_model_scores_as_its_run(exported, workdir, small_config, source, tmp_path):
    """Through the signature over encoded pictures: the same predictions; curves but for rounding."""
    subject = subjects.from_saved_model(exported.parent, small_config, source.class_names, tmp_path)
    expected, found = columns(subjects.from_workdir(workdir), source), columns(subject, source)
    np.testing.assert_array_equal(found["predicted"], expected["predicted"])
    np.testing.assert_allclose(found["probability_of_label"], expected["probability_of_label"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["insertion_auc"], expected["insertion_auc"], atol=5e-3)
    assert np.nanmin(found["content_heatmap"]) >= 0


def test_pictures_are_framed_exactly(exported, workdir, small_config, source, tmp_path):
    """The export's own resizing and cropping give back the very pixels: its heatmap is the run's."""
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 3)).astype(np.uint8)
    subject = subjects.from_saved_model(exported.parent, small_config, source.class_names, tmp_path)
    run = subjects.from_workdir(workdir)
    predicted = tf.argmax(run.probabilities(images), -1)
    expected, found = (s.explain(tf.constant(images), predicted).numpy() for s in (run, subject))
    peak = expected.max((1, 2), keepdims=True)
    np.testing.assert_allclose(found, expected / np.where(peak, peak, 1), rtol=1e-3, atol=1e-5)


def test_signature_over_tensors_is_preferred(workdir, small_config, source, tmp_path):
    """An export that takes image tensors of any size, and a class, is measured as its run is."""
    model = subjects.from_workdir(workdir).model
    module = tf.Module()
    module.variables_of_model = [variable.value for variable in model.weights]
    image = tf.TensorSpec([None, None, None, 3], tf.float32, name="image")
    class_id = tf.TensorSpec([None], tf.int32, name="class_id")

    @tf.function(input_signature=[image, class_id])
    def explain(image, class_id):
        return {name: value for name, value in model.explain(image, class_id).items() if name != "class_id"}

    tf.saved_model.save(module, str(tmp_path / "1"), {"explain_tensor": explain})
    subject = subjects.from_saved_model(tmp_path, small_config, source.class_names, tmp_path)
    assert subject.takes_any_size and subject.takes_any_class
    expected, found = columns(subjects.from_workdir(workdir), source, limit=6), columns(subject, source, limit=6)
    for key in ("top1", "content_heatmap", "insertion_auc", "consistency"):
        np.testing.assert_allclose(found[key], expected[key], rtol=1e-3, atol=1e-4, err_msg=key)


def test_what_is_no_saved_model(exported, small_config, source, tmp_path):
    with pytest.raises(UserError, match="cannot be loaded"):
        subjects.from_saved_model(tmp_path, small_config, source.class_names, tmp_path)
    subject = subjects.from_saved_model(exported.parent, small_config, source.class_names, tmp_path)
    with pytest.raises(UserError, match="--explainer=occlusion needs the network itself"):
        subject.explained_by("occlusion")


@pytest.mark.parametrize("choice", [{"ch_resize": 96}, {"randomization": 2}, {"explained_class": "label"}])
def test_what_a_saved_model_cannot_answer(exported, small_config, source, tmp_path, choice):
    """One with a signature over encoded pictures alone, of the predicted class."""
    subject = subjects.from_saved_model(exported.parent, small_config, source.class_names, tmp_path)
    subject = dataclasses.replace(subject, takes_any_size=False, takes_any_class=False)
    ((name, value),) = choice.items()
    with pytest.raises(UserError, match=f"--{name}={value}: {subject.name} has no signature for it"):
        measure(subject, source, Protocol(**choice))


def test_program_measures_a_saved_model(exported, small_config, tmp_path):
    command = ["evaluate.py", f"--saved_model={exported}", "--dataset=folder", f"--data_dir={small_config.data_dir}"]
    command += ["--image_size=48", f"--output={tmp_path / 'out'}", "--limit=6"]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "6 images of split test" in done.stdout and (tmp_path / "out" / "report.html").exists()
