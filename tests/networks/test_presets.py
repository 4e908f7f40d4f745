"""Presets: KerasHub's with the normalization they ask for, and what `imagenet` means; only the hubs are made up."""

import json

import huggingface_hub
import kagglehub
import numpy as np
import pytest
from keras.src.utils import file_utils

from cgc_tf.common.errors import UserError
from cgc_tf.data import load
from cgc_tf.networks import backbones, presets, registry, torch_files
from cgc_tf.networks.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from cgc_tf.training import train
from cgc_tf.training.config import Config
from export import torch_checkpoint


def resnet8():
    from keras_hub.models import ResNetBackbone

    return ResNetBackbone([64], [7], [64, 128, 256], [1, 1, 1], [1, 2, 2], "basic_block", use_pre_activation=False)


def test_loads_a_keras_hub_preset_folder(tmp_path, capsys):
    """A folder that KerasHub wrote gives its weights to the network of that architecture, and to no other."""
    import keras_hub

    network, preset = resnet8(), str(tmp_path / "preset")
    network.save_to_preset(preset)
    loaded = backbones.build_backbone("resnet8", preset, 64)
    for ours, theirs in zip(loaded.weights, network.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert "does not say how images are normalized; ImageNet's" in capsys.readouterr().out
    assert loaded.get_layer("imagenet_normalization")
    with pytest.raises(UserError, match="of other shapes than --backbone=resnet18"):
        backbones.build_backbone("resnet18", preset, 64)
    with pytest.raises(UserError, match="is a preset of KerasHub, but --backbone=keras_cv:ResNet18Backbone is not one"):
        backbones.build_backbone("keras_cv:ResNet18Backbone", preset, 64)
    keras_hub.layers.ResNetImageConverter(scale=1 / 127.5, offset=-1).save_to_preset(preset)
    normalized = backbones.build_backbone("resnet8", preset, 64).get_layer("normalization")
    np.testing.assert_allclose(normalized(np.array([[[[0, 127.5, 255]]]])), [[[[-1, 0, 1]]]])


def test_imagenet_is_torchvisions_for_resnets(tmp_path, monkeypatch):
    """`--weights=imagenet` asks for timm's copy of torchvision's weights, a safetensors file under PyTorch's names."""
    network = backbones.build_backbone("resnet18", "none", 64)
    for index, weight in enumerate(network.weights):
        weight.assign(np.random.default_rng(index).random(weight.shape))
    tensors = torch_checkpoint.state_dict(backbones.add_classifier(network, 3))
    torch_files.write_tensors(tmp_path / "model.safetensors", tensors)
    pretrained = {"input_size": [3, 224, 224], "interpolation": "bilinear", "mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnet18", "pretrained_cfg": pretrained}))
    asked = set()

    def download(repo_id, filename):
        asked.add(repo_id)
        if not (tmp_path / filename).exists():
            raise huggingface_hub.errors.LocalEntryNotFoundError(filename)
        return str(tmp_path / filename)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    trunk = backbones.build_backbone("resnet18", "imagenet", 64)
    assert asked == {"timm/resnet18.tv_in1k"}
    for ours, theirs in zip(trunk.weights, network.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    color = np.array([[[[124, 10, 250]]]], np.float32)
    normalized = network.get_layer("imagenet_normalization")(color)
    np.testing.assert_allclose(trunk.get_layer("normalization")(color), normalized, atol=1e-5)


@pytest.mark.slow
def test_imagenet_is_keras_cvs_own_preset(tmp_path, monkeypatch):
    from keras_cv.src.utils import preset_utils

    network = registry.build("keras_cv:ResNet50Backbone", "none")[0]
    preset_utils.save_to_preset(network, str(tmp_path))
    asked = set()

    def download(handle, path):
        asked.add(handle)
        return str(tmp_path / path)

    monkeypatch.setattr(kagglehub, "model_download", download)
    trunk = backbones.build_backbone("keras_cv:ResNet50Backbone", "imagenet", 64)
    assert len(asked) == 1 and asked.pop().startswith("keras/resnetv1/keras/resnet50_imagenet")
    for ours, theirs in zip(trunk.weights, network.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_an_architecture_that_is_a_download(tmp_path, monkeypatch):
    """It comes with a preset, whose weights are `imagenet`; without weights, the architecture alone is asked for."""
    from keras_hub.models import XceptionBackbone

    network, asked = XceptionBackbone([[8, 8], [16, 16], [24, 24]], [False, True, False]), set()
    network.save_to_preset(str(tmp_path))

    def download(handle, path, **_):
        asked.add(path)
        if not (tmp_path / path).exists():
            raise FileNotFoundError(path)
        return str(tmp_path / path)

    monkeypatch.setattr(kagglehub, "model_download", download)
    new = backbones.build_backbone("xception_41_imagenet", "none", 64)
    assert new.output_shape[-1] == 24 and "model.weights.h5" not in asked
    trunk = backbones.build_backbone("xception_41_imagenet", "imagenet", 64)
    for ours, theirs in zip(trunk.weights, network.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    (tmp_path / "config.json").unlink()
    with pytest.raises(UserError, match=r"--backbone=xception_41\S+ could not be .*its architecture is a download"):
        backbones.build_backbone("xception_41_imagenet", "none", 64)


@pytest.mark.parametrize(
    ("backbone", "weights"),
    [("applications:MobileNetV2", "imagenet"), ("resnet18", "imagenet"), ("resnet18", "resnet_18_imagenet")],
)
def test_weights_that_cannot_be_fetched_are_known_before_data_is_prepared(backbone, weights, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError("no route to host\nand more")

    monkeypatch.setattr(file_utils, "get_file", fail)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    monkeypatch.setattr(kagglehub, "model_download", fail)
    monkeypatch.setattr(load, "load_dataset", lambda *_: pytest.fail("data would be prepared"))
    config = Config(dataset="toy_aircraft", backbone=backbone, weights=weights)
    with pytest.raises(UserError) as caught:
        train.train(config, tmp_path / "run")
    message = str(caught.value)
    assert f"--weights={presets.IMAGENET.get(backbone, weights) if weights == 'imagenet' else weights}" in message
    assert "because there is no network: no route to host; without a download there are --weights=none, a" in message
