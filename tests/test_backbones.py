"""The registry: what it builds, what it refuses, and weights from local files."""

import keras
import numpy as np
import pytest

from cgc_tf import backbones, gradcam, split
from cgc_tf.errors import UserError


@pytest.mark.parametrize(
    ("name", "size", "features"),
    [
        ("resnet8", 80, (5, 5, 256)),
        ("resnet18", 64, (2, 2, 512)),
        ("applications:MobileNetV2", 64, (2, 2, 1280)),
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


def test_loads_a_keras_file_by_name(tmp_path, capsys):
    """A whole model of another size and head, saved as .h5, gives a trunk its layers of the same names."""
    network = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(96, 96, 3))
    whole = keras.Sequential([keras.Input((96, 96, 3)), network, keras.layers.Flatten(), keras.layers.Dense(5)])
    for weight in network.weights:
        weight.assign(np.random.default_rng(1).random(weight.shape) + 0.1)
    path = tmp_path / "mobilenet.h5"
    whole.save(path)
    trunk = backbones.build_backbone("applications:MobileNetV2", str(path), 96)
    assert "104 of 104 layers" in capsys.readouterr().out
    images = np.random.default_rng(0).integers(0, 256, (1, 96, 96, 3)).astype("float32")
    np.testing.assert_allclose(trunk(images), network(images / 127.5 - 1), rtol=1e-4, atol=1e-4)


def test_refuses_files_of_weights_that_do_not_fit(tmp_path):
    damaged = tmp_path / "damaged.h5"
    damaged.write_bytes(b"not HDF5")
    with pytest.raises(UserError, match="is not an HDF5 file"):
        backbones.build_backbone("resnet8", str(damaged), 64)
    other = tmp_path / "other.h5"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="unknown")]).save(other)
    with pytest.raises(UserError, match="none of its 1 layers has a name of resnet8's"):
        backbones.build_backbone("resnet8", str(other), 64)
