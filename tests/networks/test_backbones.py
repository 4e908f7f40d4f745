"""The registry: what it builds, how images are preprocessed, what it refuses."""

import keras
import numpy as np
import pytest

from cgc_tf.common.errors import UserError
from cgc_tf.method import gradcam, trunk_and_head
from cgc_tf.networks import backbones, registry


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("name", "size", "features"),
    [
        ("resnet8", 80, (5, 5, 256)),
        ("resnet18", 64, (2, 2, 512)),
        ("applications:MobileNetV2", 64, (2, 2, 1280)),
        ("efficientnet_b0", 64, (2, 2, 1280)),
        pytest.param("keras_cv:EfficientNetV2B0Backbone", 64, (2, 2, 1280), marks=pytest.mark.slow),
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


@pytest.mark.slow
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
        ("resnet8", "imagenet", 64, "resnet8 has no ImageNet weights; python -m cgc_tf.networks lists what has some"),
        ("hgnetv2_b5", "imagenet", 64, "several ImageNet weights: --weights=hgnetv2_b5_ssld_stage1_in22k_in1k or --"),
        ("efficientnet_es", "imagenet", 64, "efficientnet_es has no ImageNet weights"),
        ("resnet8", "absent.h5", 64, "absent.h5: no such file of weights"),
        ("resnet8", "imagnet", 64, "--weights=imagnet is none of: none, imagenet, a KerasHub preset"),
        ("resnet50", "resnet_51_imagenet", 64, ".pt file; presets like it: resnet_50_imagenet, resnet_1"),
        ("applications:VGG16", "x.safetensors", 64, "files of PyTorch are read for resnet18"),
        ("keras_cv:ResNet18Backbone", "imagenet", 64, "keras_cv:ResNet18Backbone has no presets of ImageNet"),
    ],
)
def test_refuses(name, weights, size, message):
    with pytest.raises(UserError) as caught:
        backbones.build_backbone(name, weights, size)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.sampled
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
