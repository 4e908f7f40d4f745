"""The registry: what it builds, what it refuses, and weights from local files."""

import dataclasses
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from cgc_tf import backbones, data, folder, gradcam, runs, split, training
from cgc_tf.errors import UserError
from export import saved_model


@pytest.mark.parametrize(
    ("name", "size", "features"),
    [
        ("resnet8", 80, (5, 5, 256)),
        ("resnet18", 64, (2, 2, 512)),
        ("applications:MobileNetV2", 64, (2, 2, 1280)),
        ("efficientnet_b0", 64, (2, 2, 1280)),
        ("keras_cv:EfficientNetV2B0Backbone", 64, (2, 2, 1280)),
        ("keras_cv:ResNet18Backbone", 64, (2, 2, 512)),
    ],
)
def test_builds_and_explains(name, size, features):
    trunk = backbones.build_backbone(name, "none", size)
    _, head = split.split(backbones.add_classifier(trunk, 3))
    images = np.random.default_rng(0).integers(0, 256, (2, size, size, 3)).astype("uint8")
    output = trunk(images)
    assert output.shape == (2, *features)
    logits, gradients, _ = gradcam.class_gradients(head, output)
    assert logits.shape == (2, 3) and gradients.shape == output.shape
    layers = [layer for layer in trunk._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    assert layers and {layer.momentum for layer in layers} == {0.9}


def test_keras_cv_architectures_are_the_librarys_own():
    """KerasCV states the number of parameters of each preset."""
    from keras_cv.src.models.backbones.efficientnet_v2 import efficientnet_v2_backbone_presets as efficient
    from keras_cv.src.models.backbones.resnet_v1 import resnet_v1_backbone_presets as resnets

    for name, preset in (("EfficientNetV2B0Backbone", "efficientnetv2_b0"), ("ResNet50Backbone", "resnet50")):
        stated = {**efficient.backbone_presets, **resnets.backbone_presets}[preset]["metadata"]["params"]
        assert backbones.build_backbone(f"keras_cv:{name}", "none", 64).count_params() == stated


def test_resnet_normalises_as_torchvision():
    trunk = backbones.build_backbone("resnet8", "none", 80)
    colour = np.array([[[[124, 10, 250]]]], np.float32)
    normalised = trunk.get_layer("imagenet_normalisation")(colour)
    expected = (colour / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(normalised, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "weights", "size", "message"),
    [
        ("resnet51", "none", 64, "unknown --backbone=resnet51; known: resnet8, resnet18"),
        ("torch:resnet50", "none", 64, "known: keras_hub, applications, keras_cv"),
        ("applications:MobileNetV9", "none", 64, "known: "),
        ("keras_cv:YOLO", "none", 64, "unknown --backbone=keras_cv:YOLO"),
        ("resnet18", "none", 32, "its feature map would be 1x1"),
        ("resnet8", "imagenet", 64, "resnet8 has no ImageNet weights"),
        ("resnet8", "absent.h5", 64, "absent.h5: no such file of weights"),
    ],
)
def test_refuses(name, weights, size, message):
    with pytest.raises(UserError) as caught:
        backbones.build_backbone(name, weights, size)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("ending", [".h5", ".keras"])
def test_loads_a_keras_file_by_name(ending, tmp_path, capsys):
    """A whole model of another size and head, saved as a file, gives a backbone its layers of the same names."""
    network = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(96, 96, 3))
    whole = keras.Sequential([keras.Input((96, 96, 3)), network, keras.layers.Flatten(), keras.layers.Dense(5)])
    for weight in network.weights:
        weight.assign(np.random.default_rng(1).random(weight.shape) + 0.1)
    path = tmp_path / f"mobilenet{ending}"
    whole.save(path)
    trunk = backbones.build_backbone("applications:MobileNetV2", str(path), 96)
    assert "104 of 104 layers" in capsys.readouterr().out
    images = np.random.default_rng(0).integers(0, 256, (1, 96, 96, 3)).astype("float32")
    np.testing.assert_allclose(trunk(images), network(images / 127.5 - 1), rtol=1e-4, atol=1e-4)


def test_refuses_files_of_weights_that_do_not_fit(tmp_path):
    damaged = tmp_path / "damaged.h5"
    damaged.write_bytes(b"not HDF5")
    with pytest.raises(UserError, match="is damaged, or not a file of weights"):
        backbones.build_backbone("resnet8", str(damaged), 64)
    truncated = tmp_path / "truncated.keras"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(truncated)
    truncated.write_bytes(truncated.read_bytes()[:-200])
    with pytest.raises(UserError, match="is damaged, or not a file of weights"):
        backbones.build_backbone("resnet8", str(truncated), 64)
    other = tmp_path / "other.h5"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="unknown")]).save(other)
    with pytest.raises(UserError, match="none of its 1 layers has a name of resnet8's"):
        backbones.build_backbone("resnet8", str(other), 64)


def test_loads_a_keras_hub_preset_folder(tmp_path):
    """A folder that KerasHub wrote gives its weights to the network of that architecture, and to no other."""
    from keras_hub.models import ResNetBackbone

    backbone = backbones.build_backbone("resnet8", "none", 64)
    network = ResNetBackbone([64], [7], [64, 128, 256], [1, 1, 1], [1, 2, 2], "basic_block", use_pre_activation=False)
    network.save_to_preset(str(tmp_path / "preset"))
    loaded = backbones.build_backbone("resnet8", str(tmp_path / "preset"), 64)
    for ours, theirs in zip(loaded.weights, network.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert len(backbone.weights) == len(loaded.weights)
    with pytest.raises(UserError, match="of other shapes than --backbone=resnet18"):
        backbones.build_backbone("resnet18", str(tmp_path / "preset"), 64)


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("resnet18", {}),
        pytest.param("resnet50", {}, marks=SLOW),
        pytest.param("efficientnet_b0", {}, marks=SLOW),
        pytest.param("applications:ConvNeXtTiny", {}, marks=SLOW),
        pytest.param("keras_cv:EfficientNetV2B0Backbone", {}, marks=SLOW),
        pytest.param("keras_cv:ResNet50Backbone", {}, marks=SLOW),
        pytest.param("applications:MobileNetV2", {"explain_layer": "block_13_expand_relu"}, marks=SLOW),
        pytest.param("applications:DenseNet121", {}, marks=SLOW),
        pytest.param("applications:EfficientNetB0", {"precision": "mixed_bfloat16"}, marks=SLOW),
        pytest.param("applications:VGG16", {"hidden_units": (32, 32)}, marks=SLOW),
    ],
)
def test_trains_explains_saves_reloads_and_exports(name, settings, small_config, tmp_path):
    config = dataclasses.replace(small_config, backbone=name, image_size=64, epochs=1, **settings)
    workdir = training.train(config, tmp_path / "run")
    model = runs.trained_model(config, workdir)
    pictures = [path.read_bytes() for path in sorted(pathlib.Path(config.data_dir).glob("test/*/*"))]
    views = tf.stack([data.original_view(folder.decode_image(picture), 64)[0] for picture in pictures])
    expected = model.explain(views)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras").explain(views)
    version = saved_model.export(workdir, tmp_path / "exported")
    served = tf.saved_model.load(str(version)).signatures["explain"](tf.constant(pictures))
    peak = np.max(expected["heatmap"], (1, 2), keepdims=True)
    heatmap = expected["heatmap"] / np.where(peak > 0, peak, 1)
    assert heatmap.shape[1] >= 2 and np.any(peak > 0)
    np.testing.assert_allclose(again["heatmap"], expected["heatmap"], rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(served["heatmap"], heatmap, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(served["probabilities"], expected["probabilities"], rtol=1e-4, atol=1e-5)
