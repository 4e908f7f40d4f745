"""Weights under PyTorch's names: one table of tensors and Keras variables, used to read and to write."""

from collections.abc import Mapping

import keras
import numpy as np

from cgc_tf.common.errors import UserError, first_few
from cgc_tf.networks.torch_names import TORCHVISION_RESNET, Naming

# Of each kind of layer: {PyTorch's tensor: (Keras' variable, the variable's axes in PyTorch's order)}.
KINDS = {
    keras.layers.Conv2D: {"weight": ("kernel", (3, 2, 0, 1)), "bias": ("bias", (0,))},  # HWIO -> OIHW
    keras.layers.DepthwiseConv2D: {"weight": ("kernel", (2, 3, 0, 1)), "bias": ("bias", (0,))},  # HWC1 -> C1HW
    keras.layers.BatchNormalization: {
        "weight": ("gamma", (0,)),
        "bias": ("beta", (0,)),
        "running_mean": ("moving_mean", (0,)),
        "running_var": ("moving_variance", (0,)),
    },
    keras.layers.Dense: {"weight": ("kernel", (1, 0)), "bias": ("bias", (0,))},
}
COUNTER = "num_batches_tracked"


def load(
    tensors: Mapping[str, np.ndarray],
    layers: Mapping[str, keras.layers.Layer],
    naming: Naming,
    classifier: keras.layers.Dense | None = None,
    source: str = "the file",
) -> list[str]:
    """Puts a PyTorch network's tensors into the same network of Keras; all of them fit, or none is put in.

    Args:
        tensors: {PyTorch's name: array}, as `torch_files.read_tensors` gives them; a `module.` that every name
            begins with is passed over.
        layers: {name: layer}, at least the network's innermost layers; those without variables are passed over.
        naming: how PyTorch names them.
        classifier: the `Dense` layer, features `[B, C]` -> logits, that takes the file's; None leaves that out, of
            whatever size, or absent as from SwAV's files.
        source: what errors and the report call the tensors.

    Returns:
        The report, a list of lines: how many tensors were put in, and which were left out by which rule.

    Raises:
        UserError: tensors are missing, left over, of another shape, or not finite numbers; the first few are named.
    """
    if tensors and all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): array for name, array in tensors.items()}
    heads = [name for name in tensors if name.startswith(naming.heads)]
    counters = [name for name in tensors if name.endswith(f".{COUNTER}") and name not in heads]
    left_out = {
        f"{COUNTER}, which Keras does not count": counters,
        "SwAV's heads": heads,
        f"{naming.classifier}, the old classifier": [
            name for name in tensors if name.startswith(f"{naming.classifier}.") and classifier is None
        ],
    }
    passed_over = {name for names in left_out.values() for name in names}
    offered = {name: array for name, array in tensors.items() if name not in passed_over}
    table = _table(layers, naming, classifier)
    _check(offered, table, naming, source)
    for name, (variable, axes) in table.items():
        variable.assign(np.transpose(offered[name], np.argsort(axes)))
    report = [f"weights: {len(table)} tensors of {source} loaded"]
    report += [f"weights: left out: {len(names)} of {rule}" for rule, names in left_out.items() if names]
    if classifier is None:
        report.append("weights: the classifier is new")
    return report


def to_torch(layers: Mapping[str, keras.layers.Layer], classifier: keras.layers.Dense) -> dict[str, np.ndarray]:
    """The tensors of a Keras ResNet, its layers as for `load`, for `torch_files.write_tensors`.

    Returns:
        {torchvision's name: array} in torchvision's order, what `load_state_dict` takes: float32, and an int64 zero for
        each `num_batches_tracked`.

    Raises:
        UserError: the layers are not those of a ResNet with torchvision's four stages.
    """
    table = _table(layers, TORCHVISION_RESNET, classifier)
    if not any(name.startswith("layer4.") for name in table):
        raise UserError("the network lacks the fourth of the stages that each of torchvision's ResNets has")
    tensors = {}
    for name, (variable, axes) in table.items():
        tensors[name] = np.array(np.transpose(variable.numpy(), axes), np.float32, order="C")
        if name.endswith("running_var"):
            tensors[name.replace("running_var", COUNTER)] = np.zeros((), np.int64)
    return tensors


def _table(layers, naming, classifier):
    """{PyTorch's name of a tensor: (variable, axes)}, in PyTorch's order."""
    modules = []
    for name, layer in layers.items():
        if layer is classifier or not layer.weights or any(part.weights for part in _parts(layer)):
            continue
        found = naming.place(name)
        if not found:
            raise UserError(f"the network is not {naming.of}: it has a layer {name}")
        modules.append((*found, layer))
    modules.sort(key=lambda module: module[0])
    if classifier is not None:
        modules.append(((), naming.classifier, classifier))
    blocks = list(dict.fromkeys(place[:2] for place, module, _ in modules if "{}" in module))
    table = {}
    for place, module, layer in modules:
        kinds = next(kinds for kind, kinds in KINDS.items() if isinstance(layer, kind))
        if not getattr(layer, "use_bias", True):
            kinds = {"weight": kinds["weight"]}
        if len(layer.weights) != len(kinds):
            raise UserError(f"layer {layer.name} has {len(layer.weights)} variables, PyTorch's has {len(kinds)}")
        module = module.format(blocks.index(place[:2])) if "{}" in module else module
        table |= {f"{module}.{name}": (getattr(layer, variable), axes) for name, (variable, axes) in kinds.items()}
    return table


def _parts(layer):
    return layer._flatten_layers(include_self=False)


def _check(offered, table, naming, source):
    shapes = {name: tuple(variable.shape[axis] for axis in axes) for name, (variable, axes) in table.items()}
    common = [name for name in shapes if name in offered]
    if not common:
        raise UserError(
            f"{source} is not {naming.of}: of {next(iter(shapes))} and its other "
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
        is_classifier = all(name.startswith(f"{naming.classifier}.") for names in problems.values() for name in names)
        advice = "; add --reset_classifier to use the rest of the file" if is_classifier else ""
        raise UserError(f"{source} does not fit the network: {', '.join(found)}{advice}")


def _described(name, array):
    return f"{name} {'' if array.dtype.kind == 'f' else array.dtype}{list(array.shape)}"
