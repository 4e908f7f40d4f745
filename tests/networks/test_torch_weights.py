"""ResNets in and out of PyTorch: numbers against a network in PyTorch, names and shapes, and what is refused."""

import keras
import numpy as np
import pytest
import resnets
import tensorflow as tf
from resnets import CLASSES, keras_resnet, random_tensors, torch_explain

from cgc_tf.common.errors import UserError
from cgc_tf.method import gradcam
from cgc_tf.networks import torch_files, torch_weights
from cgc_tf.networks.torch_names import TORCHVISION_RESNET


@pytest.fixture(scope="module")
def resnet18():
    return keras_resnet("resnet18")


def load(tensors, resnet):
    _, head, layers = resnet
    return torch_weights.load(tensors, layers, TORCHVISION_RESNET, head.layers[-1], source="x.pth")


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_names_and_shapes_are_torchvisions(name, tmp_path):
    """Through a file and a network and back, every tensor is the same bits, under the same name, in the same order."""
    written = random_tensors(name)
    torch_files.write_tensors(tmp_path / "in.safetensors", written)
    _, head, layers = keras_resnet(name)
    report = torch_weights.load(
        torch_files.read_tensors(tmp_path / "in.safetensors"), layers, TORCHVISION_RESNET, head.layers[-1]
    )
    counters = sum(key.endswith("num_batches_tracked") for key in written)
    assert report == [
        f"weights: {len(written) - counters} tensors of the file loaded",
        f"weights: left out: {counters} of num_batches_tracked, which Keras does not count",
    ]
    torch_files.write_tensors(tmp_path / "out.safetensors", torch_weights.to_torch(layers, head.layers[-1]))
    again = torch_files.read_tensors(tmp_path / "out.safetensors")
    assert list(torch_weights.to_torch(layers, head.layers[-1])) == list(written)
    assert again.keys() == written.keys()
    for key, array in written.items():
        assert again[key].dtype == array.dtype and again[key].shape == array.shape
        np.testing.assert_array_equal(again[key], array)


@pytest.mark.parametrize("name", ["resnet18", pytest.param("resnet50", marks=pytest.mark.slow)])
def test_agrees_with_pytorch(name, tmp_path):
    """Logits and heatmaps of a PyTorch network, of ours after reading its file, and of PyTorch after reading ours."""
    torch = pytest.importorskip("torch")
    theirs = resnets.torch_resnet(torch, name)
    theirs.load_state_dict({key: torch.from_numpy(array) for key, array in random_tensors(name).items()})
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    images = np.random.default_rng(1).integers(0, 256, (2, 96, 128, 3)).astype(np.float32)
    expected = torch_explain(torch, theirs, images)

    trunk, head, layers = keras_resnet(name)
    torch_weights.load(torch_files.read_tensors(tmp_path / "theirs.pth"), layers, TORCHVISION_RESNET, head.layers[-1])
    features = trunk(images)
    logits, gradients, _ = gradcam.class_gradients(head, features)
    assert_close(logits, expected[0])
    assert_close(tf.nn.relu(tf.reduce_sum(features * gradients, -1)), expected[1])

    torch_files.write_tensors(tmp_path / "ours.pth", torch_weights.to_torch(layers, head.layers[-1]))
    again = resnets.torch_resnet(torch, name)
    again.load_state_dict(torch.load(tmp_path / "ours.pth"))
    for ours, wanted in zip(torch_explain(torch, again, images), expected, strict=True):
        assert_close(ours, wanted)


def assert_close(ours, theirs):
    difference = np.abs(np.asarray(ours) - theirs).max() / np.abs(theirs).max()
    print(f"relative difference {difference:.1e}")
    assert difference < 1e-4


def test_wrapped_checkpoint_of_the_cgc_release(resnet18, tmp_path):
    torch = pytest.importorskip("torch")
    tensors = random_tensors("resnet18")
    wrapped = {f"module.{key}": torch.from_numpy(array) for key, array in tensors.items()}
    best = {"best_acc1": torch.tensor(76.1), "best_acc5": np.float64(93.2)}
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], 0.1, momentum=0.9).state_dict()
    contents = {"epoch": 90, "arch": "resnet18", "state_dict": wrapped, **best, "optimizer": optimizer}
    torch.save(contents, tmp_path / "model_best.pth.tar")
    load(torch_files.read_tensors(tmp_path / "model_best.pth.tar"), resnet18)
    _, head, layers = resnet18
    for key, array in torch_weights.to_torch(layers, head.layers[-1]).items():
        np.testing.assert_array_equal(array, tensors[key])


def test_swav_has_no_classifier(resnet18):
    """SwAV's file has heads of its own, and no fc: read into the network alone."""
    tensors = {f"module.{k}": v for k, v in random_tensors("resnet18").items() if not k.startswith("fc.")}
    tensors |= {
        "module.projection_head.0.weight": np.ones((2048, 512), np.float32),
        "module.projection_head.1.num_batches_tracked": np.zeros((), np.int64),
        "module.projection_head.3.bias": np.ones(128, np.float32),
        "module.prototypes.weight": np.ones((3000, 128), np.float32),
    }
    assert torch_weights.load(tensors, resnet18[2], TORCHVISION_RESNET, source="x.pth") == [
        "weights: 100 tensors of x.pth loaded",
        "weights: left out: 20 of num_batches_tracked, which Keras does not count",
        "weights: left out: 4 of SwAV's heads",
        "weights: the classifier is new",
    ]
    with pytest.raises(UserError, match=r"2 missing \(fc.weight \[5, 512\], fc.bias \[5\]\); add --reset_classifier"):
        load(tensors, resnet18)


def test_another_classifier(resnet18):
    """Refused, unless the network is read alone."""
    tensors = random_tensors("resnet18", classes=1000)
    with pytest.raises(UserError, match=r"fc.weight \[1000, 512\] instead of \[5, 512\].*add --reset_classifier"):
        load(tensors, resnet18)
    assert "weights: left out: 2 of fc, the old classifier" in torch_weights.load(
        tensors, resnet18[2], TORCHVISION_RESNET
    )


def without(tensors, *names):
    return {key: array for key, array in tensors.items() if key not in names}


VGG = {f"features.{i}.weight": np.ones((64, 3, 3, 3), np.float32) for i in range(13)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: without(t, "bn1.bias"), r"1 missing \(bn1.bias \[64\]\)"),
        (lambda t: without(t, "fc.weight", "fc.bias"), r"2 missing \(fc.weight \[5, 512\].*add --reset_classifier"),
        (
            lambda t: t | {"conv1.weight": t["conv1.weight"][..., :3]},
            r"conv1.weight \[64, 3, 7, 3\] instead of \[64, 3",
        ),
        (lambda t: t | {"layer1.0.se.weight": np.ones((4, 4), "f")}, r"1 unknown \(layer1.0.se.weight \[4, 4\]\)"),
        (lambda t: t | {"fc.bias": np.full(CLASSES, np.nan, "f")}, r"1 not finite numbers \(fc.bias \[5\]\)"),
        (lambda t: t | {"fc.bias": np.zeros(CLASSES, np.int8)}, r"1 not finite numbers \(fc.bias int8\[5\]\)"),
        (lambda t: random_tensors("resnet50"), r"layer1.0.conv1.weight \[64, 64, 1, 1\] instead of .* and \d+ more"),
        (lambda t: VGG, r"not a ResNet in torchvision's naming: .* features.0.weight \[64, 3, 3, 3\].* and 10 more"),
        (lambda t: {}, "not a ResNet in torchvision's naming"),
    ],
)
def test_refuses_tensors_and_changes_nothing(resnet18, change, message):
    load(random_tensors("resnet18"), resnet18)
    _, head, layers = resnet18
    before = torch_weights.to_torch(layers, head.layers[-1])
    with pytest.raises(UserError, match=message) as caught:
        load(change({key: array + 1 for key, array in before.items()}), resnet18)
    assert str(caught.value).startswith("x.pth ") and "\n" not in str(caught.value)
    for key, array in torch_weights.to_torch(layers, head.layers[-1]).items():
        np.testing.assert_array_equal(array, before[key])


def test_refuses_other_networks():
    mobilenet = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(32, 32, 3))
    layers = {layer.name: layer for layer in mobilenet.layers}
    with pytest.raises(UserError, match="the network is not a ResNet in torchvision's naming: it has a layer Conv1"):
        torch_weights.load(random_tensors("resnet18"), layers, TORCHVISION_RESNET)
    _, head, layers = keras_resnet("resnet8")
    with pytest.raises(UserError, match="lacks the fourth"):
        torch_weights.to_torch(layers, head.layers[-1])
