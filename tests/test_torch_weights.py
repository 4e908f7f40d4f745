"""ResNets in and out of PyTorch: numbers against a network in PyTorch, names and shapes, and what is refused."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from cgc_tf import architectures, gradcam, runs, torch_files, torch_weights, training
from cgc_tf.errors import UserError
from cgc_tf.preprocessing import IMAGENET_MEAN, IMAGENET_STD, imagenet_normalisation
from export import torch_checkpoint

CLASSES = 5


def keras_resnet(name, classes=CLASSES):
    """A trunk in this project's form, a head, and all their layers by name."""
    import keras_hub

    block, filters, blocks, strides = architectures.RESNETS[name]
    network = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=list(filters),
        stackwise_num_blocks=list(blocks),
        stackwise_num_strides=list(strides),
        block_type=block,
    )
    images = keras.Input((None, None, 3))
    trunk = keras.Model(images, network(imagenet_normalisation()(images)))
    head = keras.Sequential([keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(classes)])
    head.build(trunk.output_shape)
    return trunk, head, {layer.name: layer for layer in network.layers}


def published_shapes(name, classes):
    """The names and shapes of torchvision's resnet18 or resnet50, written down after its published architecture."""
    is_bottleneck = name == "resnet50"
    blocks, expansion = ((3, 4, 6, 3), 4) if is_bottleneck else ((2, 2, 2, 2), 1)
    shapes = {"conv1.weight": (64, 3, 7, 7), **_norm("bn1", 64)}
    inputs = 64
    for stage, count in enumerate(blocks):
        width = 64 * 2**stage
        for block in range(count):
            unit, outputs = f"layer{stage + 1}.{block}", width * expansion
            sizes = [(1, inputs, width), (3, width, width), (1, width, outputs)]
            if not is_bottleneck:
                sizes = [(3, inputs, width), (3, width, width)]
            for index, (size, fan_in, fan_out) in enumerate(sizes, 1):
                shapes[f"{unit}.conv{index}.weight"] = (fan_out, fan_in, size, size)
                shapes |= _norm(f"{unit}.bn{index}", fan_out)
            if inputs != outputs:
                shapes[f"{unit}.downsample.0.weight"] = (outputs, inputs, 1, 1)
                shapes |= _norm(f"{unit}.downsample.1", outputs)
            inputs = outputs
    return {**shapes, "fc.weight": (classes, inputs), "fc.bias": (classes,)}


def _norm(name, width):
    vectors = {f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")}
    return {**vectors, f"{name}.num_batches_tracked": ()}


def random_tensors(name, classes=CLASSES):
    """A state_dict of `published_shapes` with random numbers, the statistics of batch normalisation included."""
    rng, tensors = np.random.default_rng(0), {}
    for key, shape in published_shapes(name, classes).items():
        if key.endswith("num_batches_tracked"):
            tensors[key] = np.zeros(shape, np.int64)
        elif len(shape) > 1:
            tensors[key] = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape).astype(np.float32)
        elif key.endswith((".bias", ".running_mean")):
            tensors[key] = rng.normal(0, 0.2, shape).astype(np.float32)
        else:
            tensors[key] = rng.uniform(0.5, 1.5, shape).astype(np.float32)
    return tensors


@pytest.fixture(scope="module")
def resnet18():
    return keras_resnet("resnet18")


def load(tensors, resnet):
    _, head, layers = resnet
    return torch_weights.load_resnet(tensors, layers, head.layers[-1], source="x.pth")


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_names_and_shapes_are_torchvisions(name, tmp_path):
    """Through a file and a network and back, every tensor is the same bits, under the same name, in the same order."""
    written = random_tensors(name)
    torch_files.write_tensors(tmp_path / "in.safetensors", written)
    _, head, layers = keras_resnet(name)
    report = torch_weights.load_resnet(torch_files.read_tensors(tmp_path / "in.safetensors"), layers, head.layers[-1])
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
    theirs = torch_resnet(torch, name)
    theirs.load_state_dict({key: torch.from_numpy(array) for key, array in random_tensors(name).items()})
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    images = np.random.default_rng(1).integers(0, 256, (2, 96, 128, 3)).astype(np.float32)
    expected = torch_explain(torch, theirs, images)

    trunk, head, layers = keras_resnet(name)
    torch_weights.load_resnet(torch_files.read_tensors(tmp_path / "theirs.pth"), layers, head.layers[-1])
    features = trunk(images)
    logits, gradients, _ = gradcam.class_gradients(head, features)
    assert_close(logits, expected[0])
    assert_close(tf.nn.relu(tf.reduce_sum(features * gradients, -1)), expected[1])

    torch_files.write_tensors(tmp_path / "ours.pth", torch_weights.to_torch(layers, head.layers[-1]))
    again = torch_resnet(torch, name)
    again.load_state_dict(torch.load(tmp_path / "ours.pth"))
    for ours, wanted in zip(torch_explain(torch, again, images), expected, strict=True):
        assert_close(ours, wanted)


def assert_close(ours, theirs):
    difference = np.abs(np.asarray(ours) - theirs).max() / np.abs(theirs).max()
    print(f"relative difference {difference:.1e}")
    assert difference < 1e-4


def torch_resnet(torch, name):
    """torchvision's ResNet in its structure and under its names: the stride is in the 3x3 convolution."""
    nn = torch.nn
    is_bottleneck = name == "resnet50"
    blocks, expansion = ((3, 4, 6, 3), 4) if is_bottleneck else ((2, 2, 2, 2), 1)

    class Block(nn.Module):
        def __init__(self, inputs, width, stride):
            super().__init__()
            outputs = width * expansion
            sizes = [(inputs, width, 1, 1), (width, width, 3, stride), (width, outputs, 1, 1)]
            if not is_bottleneck:
                sizes = [(inputs, width, 3, stride), (width, width, 3, 1)]
            self.depth, self.downsample = len(sizes), None
            for index, (fan_in, fan_out, size, step) in enumerate(sizes, 1):
                convolution = nn.Conv2d(fan_in, fan_out, size, step, size // 2, bias=False)
                self.add_module(f"conv{index}", convolution)
                self.add_module(f"bn{index}", nn.BatchNorm2d(fan_out))
            if stride != 1 or inputs != outputs:
                shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
                self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

        def forward(self, x):
            y = x
            for index in range(1, self.depth + 1):
                y = getattr(self, f"bn{index}")(getattr(self, f"conv{index}")(y))
                y = torch.relu(y) if index < self.depth else y
            return torch.relu(y + (x if self.downsample is None else self.downsample(x)))

    class ResNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
            inputs = 64
            for stage, count in enumerate(blocks):
                width, units = 64 * 2**stage, []
                for block in range(count):
                    units.append(Block(inputs, width, 2 if stage and not block else 1))
                    inputs = width * expansion
                self.add_module(f"layer{stage + 1}", nn.Sequential(*units))
            self.fc = nn.Linear(inputs, CLASSES)

        def forward(self, x):
            x = nn.functional.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
            features = self.layer4(self.layer3(self.layer2(self.layer1(x))))
            return features, self.fc(features.mean((2, 3)))

    return ResNet().eval()


def torch_explain(torch, network, images):
    """Logits, and relu(sum of gradient times feature) of the predicted class; images `[B, H, W, 3]` in 0..255."""
    normalised = (images / 255 - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)
    features, logits = network(torch.from_numpy(normalised.transpose(0, 3, 1, 2).astype(np.float32)))
    gradients = torch.autograd.grad(logits.max(1).values.sum(), features)[0]
    return logits.detach().numpy(), torch.relu((features * gradients).sum(1)).detach().numpy()


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
    assert torch_weights.load_resnet(tensors, resnet18[2], source="x.pth") == [
        "weights: 100 tensors of x.pth loaded",
        "weights: left out: 20 of num_batches_tracked, which Keras does not count",
        "weights: left out: 4 of SwAV's heads",
        "weights: the classifier starts afresh",
    ]
    with pytest.raises(UserError, match=r"2 missing \(fc.weight \[5, 512\], fc.bias \[5\]\); --reset_classifier keeps"):
        load(tensors, resnet18)


def test_another_classifier(resnet18):
    """Refused, unless the network is read alone."""
    tensors = random_tensors("resnet18", classes=1000)
    with pytest.raises(UserError, match=r"fc.weight \[1000, 512\] instead of \[5, 512\].*--reset_classifier keeps"):
        load(tensors, resnet18)
    assert "weights: left out: 2 of fc, the old classifier" in torch_weights.load_resnet(tensors, resnet18[2])


def without(tensors, *names):
    return {key: array for key, array in tensors.items() if key not in names}


VGG = {f"features.{i}.weight": np.ones((64, 3, 3, 3), np.float32) for i in range(13)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: without(t, "bn1.bias"), r"1 missing \(bn1.bias \[64\]\)"),
        (lambda t: without(t, "fc.weight", "fc.bias"), r"2 missing \(fc.weight \[5, 512\].*reset_classifier keeps"),
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
    with pytest.raises(UserError, match=r"not KerasHub's form of torchvision's ResNet: it has a layer Conv1"):
        torch_weights.load_resnet(random_tensors("resnet18"), {layer.name: layer for layer in mobilenet.layers})
    _, head, layers = keras_resnet("resnet8")
    with pytest.raises(UserError, match="lacks the fourth"):
        torch_weights.to_torch(layers, head.layers[-1])


def test_exports_a_trained_run(small_config, workdir, tmp_path):
    """train -> export -> the tensors give the run's own model back; a network of ours alone is refused."""
    config = dataclasses.replace(small_config, backbone="resnet18", image_size=64, epochs=1)
    run = training.train(config, tmp_path / "run")
    output = tmp_path / "new" / "model.safetensors"
    count = torch_checkpoint.export(run, output)
    tensors = torch_files.read_tensors(output)
    assert count == len(tensors) and {k: v.shape for k, v in tensors.items()} == published_shapes("resnet18", 3)
    trunk, head, layers = keras_resnet("resnet18", classes=3)
    torch_weights.load_resnet(tensors, layers, head.layers[-1])
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.float32)
    np.testing.assert_allclose(head(trunk(images)), runs.trained_model(config, run)(images), rtol=1e-5, atol=1e-5)
    with pytest.raises(UserError, match=r"backbone resnet8\) cannot be written: the network lacks the fourth"):
        torch_checkpoint.export(workdir, output)


def test_a_run_starts_from_a_pytorch_file(small_config, tmp_path, capsys):
    """`--weights=FILE` gives network and classifier what the file holds, and --reset_classifier a new classifier."""
    tensors, path = random_tensors("resnet18"), tmp_path / "model.safetensors"
    torch_files.write_tensors(path, tensors)
    config = dataclasses.replace(small_config, backbone="resnet18", image_size=64, weights=str(path))
    model = runs.make_model(config, runs.make_backbone(config, config.weights), CLASSES)
    assert "tensors of" in capsys.readouterr().out
    for name, array in torch_checkpoint.state_dict(model).items():
        if not name.endswith("num_batches_tracked"):
            np.testing.assert_array_equal(array, tensors[name], err_msg=name)
    with pytest.raises(UserError, match=r"fc\.weight \[5, 512\] instead of \[3, 512\]"):
        runs.make_model(config, runs.make_backbone(config, config.weights), 3)
    fresh = dataclasses.replace(config, reset_classifier=True)
    model = runs.make_model(fresh, runs.make_backbone(fresh, fresh.weights), 3)
    assert model.head.output_shape == (None, 3)
    with pytest.raises(UserError, match="--hidden_units makes a head that no PyTorch file holds"):
        runs.make_model(
            dataclasses.replace(config, hidden_units=(8,)), runs.make_backbone(config, config.weights), CLASSES
        )
    torch_files.write_tensors(path, without(tensors, "layer2.0.bn1.bias"))
    with pytest.raises(UserError, match=r"1 missing \(layer2.0.bn1.bias \[128\]\)"):
        runs.make_backbone(config, config.weights)


POOL, LINEAR = keras.layers.GlobalAveragePooling2D, keras.layers.Dense


@pytest.mark.parametrize(
    ("network", "head", "message"),
    [
        ("resnet18", [keras.layers.GlobalMaxPooling2D(), LINEAR(3)], "its head is not average pooling and one linear"),
        ("resnet18", [POOL(), LINEAR(8, "relu"), LINEAR(3)], "its head is not average pooling and one linear layer"),
        (None, [keras.layers.Conv2D(4, 3), POOL(), LINEAR(3)], "not KerasHub's form .* a layer conv"),
        ("resnet18", [keras.layers.Rescaling(2.0), POOL(), LINEAR(3)], "normalises images by another mean"),
    ],
)
def test_export_refuses_other_heads_and_networks(network, head, message):
    trunk = [keras_resnet(network)[0]] if network else []
    with pytest.raises(UserError, match=message):
        torch_checkpoint.state_dict(keras.Sequential([keras.Input((64, 64, 3)), *trunk, *head]))
