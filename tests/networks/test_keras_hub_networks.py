"""KerasHub's networks: which there are, that they are what KerasHub says they are, and that they can be read back."""

import json

import keras
import numpy as np
import pytest

from cgc_tf.method.model import CGCModel
from cgc_tf.networks import backbones, batch_norm, blocks, keras_hub_networks, registry

SIZE = 48
IMAGES = np.random.default_rng(0).uniform(0, 255, (2, SIZE, SIZE, 3)).astype("float32")
IN_BLOCKS = [
    "mobilenetv3_small_050",
    pytest.param("hgnetv2_b0", marks=pytest.mark.slow),
    pytest.param("efficientnet_es", marks=pytest.mark.slow),
    pytest.param("keras_cv:EfficientNetV2B0Backbone", marks=pytest.mark.slow),
]


def test_finds_every_family():
    found = keras_hub_networks.architectures()
    assert len(found) == 51
    assert {
        *("resnet8", "resnet18", "resnet152", "resnetv2_101", "densenet201", "vgg19", "cspdarknet53", "darknet53"),
        *("mobilenetv3_large_100", "mobilenetv5_300m", "hgnetv2_b6"),
        *("efficientnet_b0", "efficientnet_b5", "efficientnet_lite0", "efficientnet_el", "efficientnetv2_rw_m"),
    } <= set(found)
    downloads = keras_hub_networks.presets_alone()
    assert {"xception_41_imagenet", "resnet_vd_200_imagenet"} <= set(downloads)
    assert not [name for name in downloads if name.startswith(("vit", "deit", "swin", "mit", "resnet_50", "vgg"))]


def of_presets():
    for name, (network, _) in keras_hub_networks.architectures().items():
        found = keras_hub_networks.presets_of(name, network)
        if found and not name.startswith("resnetv2"):  # of which it states what ResNet-50 and 101 have
            quick = name in ("mobilenetv3_small_050", "hgnetv2_b4", "vgg11", "efficientnet_b0")
            stated = network.presets[next(iter(found))]["metadata"]["params"]
            yield pytest.param(name, stated, id=name, marks=() if quick else pytest.mark.long)


@pytest.mark.parametrize(("name", "stated"), of_presets())
def test_has_the_parameters_that_keras_hub_states(name, stated):
    """Of some presets KerasHub counts the variables, of others what is trained, ImageNet's classifier included."""
    network = keras_hub_networks.build(name)
    trained = sum(np.prod(variable.shape) for variable in network.trainable_variables)
    features = keras_hub_networks.with_one_output(network).output_shape[-1]
    assert stated in (network.count_params(), trained + 1000 * (features + 1))


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_BLOCKS[:3])  # KerasCV's blocks hold dropout that they do not use
def test_without_its_blocks_a_network_computes_the_same(name):
    network, _ = registry.build(name, "none")
    opened = blocks.opened(network)
    assert len(opened.layers) > len(network.layers)
    assert not [layer.name for layer in opened.layers if getattr(layer, "groups", 1) > 1]
    _check_same(opened, network)


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_BLOCKS)
def test_what_is_read_back_is_what_was_trained(name):
    """Batch normalization keeps its momentum and its kernel; some of KerasHub's blocks could not be read at all."""
    model = CGCModel.from_classifier(backbones.add_classifier(backbones.build_backbone(name, "none", SIZE), 3))
    again = CGCModel.from_config(json.loads(json.dumps(model.get_config())))
    norms = [layer for layer in again.trunk._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    assert {(type(layer), layer.momentum) for layer in norms} == {(batch_norm.FusedBatchNormalization, 0.9)}
    _check_same(again, model)


def _check_same(ours, theirs):
    """Outputs, in use and in training, and what training leaves: statistics, and the seeds of random layers."""
    state = [variable.numpy() for variable in _in_order(theirs)]
    expected = [theirs(IMAGES, training=training) for training in (False, True)]
    after = [variable.numpy() for variable in _in_order(theirs)]
    for variable, value in zip(_in_order(ours), state, strict=True):
        variable.assign(value.reshape(variable.shape))  # a depthwise kernel's
    for training, output in zip((False, True), expected, strict=True):
        np.testing.assert_allclose(ours(IMAGES, training=training), output, rtol=1e-4, atol=1e-4)
    for variable, value in zip(_in_order(ours), after, strict=True):
        np.testing.assert_allclose(variable, value.reshape(variable.shape), rtol=1e-4, atol=1e-4)


def _in_order(model):
    return [*model.weights, *(variable for variable in model.variables if variable.name == "seed_generator_state")]
