"""Runs that start from PyTorch's files and become some."""

import dataclasses

import keras
import numpy as np
import pytest
from resnets import CLASSES, keras_resnet, published_shapes, random_tensors

from cgc_tf.common.errors import UserError
from cgc_tf.networks import torch_files, torch_weights
from cgc_tf.networks.torch_names import TORCHVISION_RESNET
from cgc_tf.training import run_folder, train
from cgc_tf.training.new_model import NewModel
from export import torch_checkpoint


def without(tensors, *names):
    return {key: array for key, array in tensors.items() if key not in names}


@pytest.mark.slow
def test_exports_a_trained_run(small_config, workdir, tmp_path):
    """train -> export -> the tensors give the run's own model back; a network of ours alone is refused."""
    config = dataclasses.replace(small_config, backbone="resnet18", image_size=64, epochs=1)
    run = train.train(config, tmp_path / "run")
    output = tmp_path / "new" / "model.safetensors"
    count = torch_checkpoint.export(run, output)
    tensors = torch_files.read_tensors(output)
    assert count == len(tensors) and {k: v.shape for k, v in tensors.items()} == published_shapes("resnet18", 3)
    trunk, head, layers = keras_resnet("resnet18", classes=3)
    torch_weights.load(tensors, layers, TORCHVISION_RESNET, head.layers[-1])
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.float32)
    np.testing.assert_allclose(head(trunk(images)), run_folder.trained_model(config, run)(images), rtol=1e-5, atol=1e-5)
    with pytest.raises(UserError, match=r"backbone resnet8\) cannot be written: the network lacks the fourth"):
        torch_checkpoint.export(workdir, output)


@pytest.mark.slow
def test_a_run_starts_from_a_pytorch_file(small_config, tmp_path, capsys):
    """`--weights=FILE` gives network and classifier what the file holds, and --reset_classifier a new classifier."""
    tensors, path = random_tensors("resnet18"), tmp_path / "model.safetensors"
    torch_files.write_tensors(path, tensors)
    config = dataclasses.replace(small_config, backbone="resnet18", image_size=64, weights=str(path))
    new_model = NewModel(config)
    path.rename(tmp_path / "elsewhere")  # it is read once
    model = new_model.with_classes(CLASSES)
    (tmp_path / "elsewhere").rename(path)
    assert "tensors of" in capsys.readouterr().out
    for name, array in torch_checkpoint.state_dict(model).items():
        if not name.endswith("num_batches_tracked"):
            np.testing.assert_array_equal(array, tensors[name], err_msg=name)
    with pytest.raises(UserError, match=r"fc\.weight \[5, 512\] instead of \[3, 512\]"):
        NewModel(config).with_classes(3)
    fresh = dataclasses.replace(config, reset_classifier=True)
    model = NewModel(fresh).with_classes(3)
    assert model.head.output_shape == (None, 3)
    with pytest.raises(UserError, match="--hidden_units makes a head that no PyTorch file holds"):
        NewModel(dataclasses.replace(config, hidden_units=(8,)))
    torch_files.write_tensors(path, without(tensors, "layer2.0.bn1.bias"))
    with pytest.raises(UserError, match=r"1 missing \(layer2.0.bn1.bias \[128\]\)"):
        NewModel(config)


POOL = keras.layers.GlobalAveragePooling2D


LINEAR = keras.layers.Dense


@pytest.mark.parametrize(
    ("network", "head", "message"),
    [
        ("resnet18", [keras.layers.GlobalMaxPooling2D(), LINEAR(3)], "its head is not average pooling and one linear"),
        ("resnet18", [POOL(), LINEAR(8, "relu"), LINEAR(3)], "its head is not average pooling and one linear layer"),
        ("resnet18", [keras.layers.Conv2D(3, 1), POOL()], "its head is not average pooling and one linear layer"),
        (
            None,
            [keras.layers.Conv2D(4, 3), POOL(), LINEAR(3)],
            "not a ResNet in torchvision's .* a layer conv",
        ),
        ("resnet18", [keras.layers.Rescaling(2.0), POOL(), LINEAR(3)], "normalizes images by another mean"),
    ],
)
def test_export_refuses_other_heads_and_networks(network, head, message):
    trunk = [keras_resnet(network)[0]] if network else []
    with pytest.raises(UserError, match=message):
        torch_checkpoint.state_dict(keras.Sequential([keras.Input((64, 64, 3)), *trunk, *head]))
