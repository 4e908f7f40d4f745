"""The registry: what it builds, how images are preprocessed, what it refuses; and each library's networks in use."""

import dataclasses
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from cgc_tf.common.errors import UserError
from cgc_tf.data.pictures import decode_image
from cgc_tf.data.views import original_view
from cgc_tf.method import gradcam, trunk_and_head
from cgc_tf.networks import backbones, registry
from cgc_tf.training import run_folder, train
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
        ("mobilenetv3_small_050", 64, (2, 2, 288)),
        ("hgnetv2_b0", 64, (2, 2, 1024)),  # which gives the maps of all its stages
        ("efficientnet_es", 64, (2, 2, 1280)),
    ],
)
def test_builds_and_explains(name, size, features):
    trunk = backbones.build_backbone(name, "none", size)
    _, head = trunk_and_head.split(backbones.add_classifier(trunk, 3))
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


def test_resnet_normalizes_as_torchvision():
    trunk = backbones.build_backbone("resnet8", "none", 80)
    color = np.array([[[[124, 10, 250]]]], np.float32)
    normalized = trunk.get_layer("imagenet_normalization")(color)
    expected = (color / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(normalized, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "weights", "size", "message"),
    [
        ("resnet51", "none", 64, "unknown --backbone=resnet51; near it are resnet50, "),
        ("torch:resnet50", "none", 64, "known: keras_hub, applications, keras_cv"),
        ("applications:MobileNetV9", "none", 64, "known: "),
        ("keras_cv:YOLO", "none", 64, "unknown --backbone=keras_cv:YOLO"),
        ("resnet18", "none", 32, "its feature map would be 1x1"),
        ("resnet8", "imagenet", 64, "resnet8 has no ImageNet weights"),
        ("hgnetv2_b5", "imagenet", 64, "several ImageNet weights: --weights=hgnetv2_b5_ssld_stage1_in22k_in1k or --"),
        ("efficientnet_es", "imagenet", 64, "efficientnet_es has no ImageNet weights"),
        ("resnet8", "absent.h5", 64, "absent.h5: no such file of weights"),
        ("resnet8", "imagnet", 64, "--weights=imagnet is none of: none, imagenet, a KerasHub preset"),
        ("applications:VGG16", "x.safetensors", 64, "files of PyTorch are read for resnet18"),
        ("keras_cv:ResNet18Backbone", "imagenet", 64, "keras_cv:ResNet18Backbone has no presets of ImageNet"),
    ],
)
def test_refuses(name, weights, size, message):
    with pytest.raises(UserError) as caught:
        backbones.build_backbone(name, weights, size)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "preprocess"),
    [
        ("applications:VGG16", keras.applications.vgg16.preprocess_input),  # BGR less caffe's mean
        ("applications:MobileNetV2", keras.applications.mobilenet_v2.preprocess_input),  # -1..1
        ("applications:DenseNet121", keras.applications.densenet.preprocess_input),  # ImageNet's mean and deviation
        ("applications:EfficientNetB0", keras.applications.efficientnet.preprocess_input),  # within the network
        ("keras_cv:ResNet18Backbone", lambda images: images / 255),
    ],
)
def test_preprocesses_as_the_library(name, preprocess):
    trunk = backbones.build_backbone(name, "none", 64)
    network, _ = registry.build(name, "none")
    network.set_weights(trunk.get_weights())
    if name.startswith("keras_cv"):
        inside = next(layer for layer in network.layers if isinstance(layer, keras.layers.Rescaling))
        inside.scale, inside.offset = 1.0, 0.0
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype("float32")
    images[..., 0] /= 4
    expected = np.asarray(network(preprocess(images.copy())))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(trunk(images) / scale, expected / scale, atol=1e-4)
    assert "EfficientNetB0" in name or np.abs(network(images) - expected).max() > 0.01 * scale


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        pytest.param("resnet18", {}, marks=SLOW),
        pytest.param("resnet50", {}, marks=SLOW),
        pytest.param("efficientnet_b0", {}, marks=SLOW),
        pytest.param("applications:ConvNeXtTiny", {}, marks=SLOW),  # KerasHub has none
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
    workdir = train.train(config, tmp_path / "run")
    model = run_folder.trained_model(config, workdir)
    pictures = [path.read_bytes() for path in sorted(pathlib.Path(config.data_dir).glob("test/*/*"))]
    views = tf.stack([original_view(decode_image(picture), 64)[0] for picture in pictures])
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
