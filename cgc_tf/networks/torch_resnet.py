"""ResNets under torchvision's names: one table of tensors and Keras variables, used to read and to write.

KerasHub's `ResNetBackbone(use_pre_activation=False)` computes what torchvision's ResNet does, so the weights of
torchvision, of timm's plain ResNets, of the CGC release and of SwAV fit it as they are.
"""

import re
from collections.abc import Mapping

import keras
import numpy as np

from cgc_tf.common.errors import UserError, first_few

# Of each kind of layer: {torch's tensor: (Keras' variable, the variable's axes in torch's order)}.
CONVOLUTION = {"weight": ("kernel", (3, 2, 0, 1))}  # HWIO -> OIHW
BATCH_NORM = {
    "weight": ("gamma", (0,)),
    "bias": ("beta", (0,)),
    "running_mean": ("moving_mean", (0,)),
    "running_var": ("moving_variance", (0,)),
}
CLASSIFIER = {"weight": ("kernel", (1, 0)), "bias": ("bias", (0,))}

COUNTER = "num_batches_tracked"
SWAV_HEADS = ("projection_head.", "prototypes.")

_LAYER = re.compile(r"(?:conv1|stack(\d+)_block(\d+)_([0-3]))_(conv|bn)")


def load_resnet(
    tensors: Mapping[str, np.ndarray],
    layers: Mapping[str, keras.layers.Layer],
    classifier: keras.layers.Dense | None = None,
    source: str = "the file",
) -> list[str]:
    """Puts a PyTorch ResNet's tensors into a Keras ResNet; all of them fit, or none is put in.

    Args:
        tensors: {torchvision's name: array}, as `torch_files.read_tensors` gives them; a `module.` that every name
            begins with is passed over.
        layers: {name: layer}, at least the layers of KerasHub's ResNet; those without variables are passed over.
        classifier: the `Dense` layer, features `[B, C]` -> logits, that takes `fc`; None leaves `fc` out, of whatever
            size, or absent as from SwAV's files.
        source: what errors and the report call the tensors.

    Returns:
        The report, a list of lines: how many tensors were put in, and which were left out by which rule.

    Raises:
        UserError: tensors are missing, left over, of another shape, or not finite numbers; the first few are named.
    """
    if tensors and all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): array for name, array in tensors.items()}
    heads = [name for name in tensors if name.startswith(SWAV_HEADS)]
    counters = [name for name in tensors if name.endswith(f".{COUNTER}") and name not in heads]
    left_out = {
        f"{COUNTER}, which Keras does not count": counters,
        "SwAV's heads": heads,
        "fc, the old classifier": [name for name in tensors if name.startswith("fc.") and classifier is None],
    }
    passed_over = {name for names in left_out.values() for name in names}
    offered = {name: array for name, array in tensors.items() if name not in passed_over}
    table = _table(layers, classifier)
    _check(offered, table, source)
    for name, (variable, axes) in table.items():
        variable.assign(np.transpose(offered[name], np.argsort(axes)))
    report = [f"weights: {len(table)} tensors of {source} loaded"]
    report += [f"weights: left out: {len(names)} of {rule}" for rule, names in left_out.items() if names]
    if classifier is None:
        report.append("weights: the classifier is new")
    return report


def to_torch(layers: Mapping[str, keras.layers.Layer], classifier: keras.layers.Dense) -> dict[str, np.ndarray]:
    """The tensors of a Keras ResNet, its layers as for `load_resnet`, for `torch_files.write_tensors`.

    Returns:
        {torchvision's name: array} in torchvision's order, what `load_state_dict` takes: float32, and an int64 zero for
        each `num_batches_tracked`.

    Raises:
        UserError: the layers are not those of a ResNet with torchvision's four stages.
    """
    table = _table(layers, classifier)
    if not any(name.startswith("layer4.") for name in table):
        raise UserError("the network lacks the fourth of the stages that each of torchvision's ResNets has")
    tensors = {}
    for name, (variable, axes) in table.items():
        tensors[name] = np.array(np.transpose(variable.numpy(), axes), np.float32, order="C")
        if name.endswith("running_var"):
            tensors[name.replace("running_var", COUNTER)] = np.zeros((), np.int64)
    return tensors


def _table(layers, classifier):
    """{torchvision's name of a tensor: (variable, axes)}, in torchvision's order."""
    modules = []
    for name, layer in layers.items():
        if layer is classifier or isinstance(layer, keras.Model) or not layer.weights:
            continue
        match = _LAYER.fullmatch(name)
        if not match:
            raise UserError(f"the network is not KerasHub's form of torchvision's ResNet: it has a layer {name}")
        kinds = CONVOLUTION if match[4] == "conv" else BATCH_NORM
        modules.append((*_place(*match.groups()), layer, kinds))
    modules.sort(key=lambda module: module[0])
    if classifier is not None:
        modules.append((None, "fc", classifier, CLASSIFIER))
    table = {}
    for _, module, layer, kinds in modules:
        if len(layer.weights) != len(kinds):
            raise UserError(f"layer {layer.name} has {len(layer.weights)} variables, torchvision's has {len(kinds)}")
        table |= {f"{module}.{name}": (getattr(layer, variable), axes) for name, (variable, axes) in kinds.items()}
    return table


def _place(stack, block, index, kind):
    """Where a layer stands in torchvision's order, and its name there: stack0_block1_2_conv is layer1.1.conv2."""
    is_norm = kind == "bn"
    if stack is None:
        return (-1, 0, 0, is_norm), f"{kind}1"
    unit, is_shortcut = f"layer{int(stack) + 1}.{block}", index == "0"
    name = f"{unit}.downsample.{int(is_norm)}" if is_shortcut else f"{unit}.{kind}{index}"
    return (int(stack), int(block), 9 if is_shortcut else int(index), is_norm), name


def _check(offered, table, source):
    shapes = {name: tuple(variable.shape[axis] for axis in axes) for name, (variable, axes) in table.items()}
    common = [name for name in shapes if name in offered]
    if not common:
        raise UserError(
            f"{source} is not a ResNet in torchvision's naming: of {next(iter(shapes))} and its other "
            f"{len(shapes) - 1} tensors it has none; it has {first_few([_described(n, a) for n, a in offered.items()])}"
        )
    problems = {
        "missing": [f"{name} {list(shape)}" for name, shape in shapes.items() if name not in offered],
        "of another shape": [
            f"{_described(name, offered[name])} instead of {list(shapes[name])}"
            for name in common
            if offered[name].shape != shapes[name]
        ],
        "not finite numbers": [
            _described(name, offered[name])
            for name in common
            if offered[name].dtype.kind != "f" or not np.isfinite(offered[name]).all()
        ],
        "unknown": [_described(name, array) for name, array in offered.items() if name not in shapes],
    }
    found = [f"{len(names)} {kind} ({first_few(names)})" for kind, names in problems.items() if names]
    if found:
        is_classifier = all(name.startswith("fc.") for names in problems.values() for name in names)
        advice = "; add --reset_classifier to use the rest of the file" if is_classifier else ""
        raise UserError(f"{source} does not fit the network: {', '.join(found)}{advice}")


def _described(name, array):
    return f"{name} {'' if array.dtype.kind == 'f' else array.dtype}{list(array.shape)}"
