"""ResNets for the tests: Keras' and their layers, torchvision's tensors by name, its network in plain PyTorch."""

import keras
import numpy as np

from cgc_tf.networks import keras_hub_networks
from cgc_tf.networks.preprocessing import IMAGENET_MEAN, IMAGENET_STD, imagenet_normalization

CLASSES = 5


def keras_resnet(name, classes=CLASSES):
    """A trunk in this project's form, a head, and all their layers by name."""
    network = keras_hub_networks.build(name)
    images = keras.Input((None, None, 3))
    trunk = keras.Model(images, network(imagenet_normalization()(images)))
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
    """A state_dict of `published_shapes` with random numbers, the statistics of batch normalization included."""
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
    normalized = (images / 255 - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)
    features, logits = network(torch.from_numpy(normalized.transpose(0, 3, 1, 2).astype(np.float32)))
    gradients = torch.autograd.grad(logits.max(1).values.sum(), features)[0]
    return logits.detach().numpy(), torch.relu((features * gradients).sum(1)).detach().numpy()
