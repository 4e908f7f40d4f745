"""Takes a functional classifier apart at the layer to explain: a trunk up to its features, a head from there on."""

from typing import Any

import keras
from keras.src.models.functional import Functional

from cgc_tf.method import logits, random_layers


def split(classifier: keras.Model, explain_layer: str | None = None) -> tuple[keras.Model, keras.Model]:
    """Splits a classifier into trunk and head, which share its layers.

    Args:
        classifier: a functional or sequential `keras.Model`, images `[B, H, W, 3]` -> logits or their softmax
            `[B, classes]`, or one logit or its sigmoid `[B, 1]`; models nested in it are opened up, so that their
            layers can be named too.
        explain_layer: name of the layer whose output is explained; None takes the last 4-D feature map.

    Returns:
        `(trunk, head)`: images -> features `[B, h, w, C]`, and features -> logits `[B, classes]`. Layers that move
        pictures at random while training are left out: see `random_layers`.

    Raises:
        ValueError: the classifier is of another kind, or cannot be split there; the layers that can are named.
    """
    _check_kind(classifier)
    shape, dtype = _input_shape(classifier), classifier.inputs[0].dtype
    # Declared as what it is of several inputs, too.
    images: keras.KerasTensor = keras.Input(shape, dtype=dtype, name="images")  # pyright: ignore[reportAssignmentType]
    outputs = logits.logits_of(inline(classifier, images))
    features = find(images, outputs, explain_layer)
    trunk, head = keras.Model(images, features, name="trunk"), keras.Model(features, outputs, name="head")
    logits.check(head)
    return trunk, head


def _input_shape(classifier):
    """The shape `(H, W, 3)` of a classifier's images, each side None where any will do."""
    if not getattr(classifier, "inputs", None):  # which an unbuilt one does not have
        raise ValueError(
            "the classifier is not built: begin it with keras.Input((224, 224, 3)), or call "
            "classifier.build((None, 224, 224, 3)) first"
        )
    if len(classifier.inputs) > 1 or len(classifier.outputs) > 1:
        counts = f"{len(classifier.inputs)} and {len(classifier.outputs)}"
        raise ValueError(f"a classifier has one input and one output. Received: {counts}")
    shape = classifier.inputs[0].shape[1:]
    if len(shape) != 3 or shape[-1] != 3:
        raise ValueError(f"a classifier takes color images [B, H, W, 3]. Received: inputs of shape (None, {shape})")
    return shape


def find(images: keras.KerasTensor, outputs: keras.KerasTensor, explain_layer: str | None = None) -> keras.KerasTensor:
    """The feature map of a layer's name, a symbolic tensor between `images` and `outputs`; see `split`."""
    maps = feature_maps(images, outputs)
    if not maps:
        raise ValueError("no 4-D feature map lies on every path from the images to the outputs")
    if explain_layer and explain_layer not in maps:
        raise ValueError(f"explain_layer={explain_layer} cannot be split off; these can: {', '.join(maps)}")
    return maps[explain_layer] if explain_layer else list(maps.values())[-1]


def feature_maps(images: keras.KerasTensor, outputs: keras.KerasTensor) -> dict[str, keras.KerasTensor]:
    """The 4-D feature maps through which everything passes from `images` to `outputs`: {layer name: tensor}, in order.

    In topological order such a tensor is one that no connection jumps over.
    """
    order, reach, found = _topological(outputs), 0, {}
    position = {id(tensor): index for index, tensor in enumerate(order)}
    last_use = {id(tensor): 0 for tensor in order}
    for tensor in order:
        for source in _sources(tensor):
            last_use[id(source)] = max(last_use[id(source)], position[id(tensor)])
    for index, tensor in enumerate(order):
        is_map = len(tensor.shape) == 4 and tuple(tensor.shape[1:3]) != (1, 1) and tensor is not images
        if is_map and reach <= index:
            found[tensor._keras_history.operation.name] = tensor
        reach = max(reach, last_use[id(tensor)])
    return found


def inline(model: keras.Model, inputs: keras.KerasTensor) -> keras.KerasTensor:
    """The output of a functional or sequential model on symbolic `inputs`, its nested models opened up."""
    if isinstance(model, keras.Sequential):
        for layer in model.layers:
            inputs = _call(layer, inputs)
        return inputs
    _check_kind(model)
    return model._run_through_graph(inputs, operation_fn=lambda operation: operation, call_fn=_call)


def _check_kind(model):
    if not isinstance(model, Functional | keras.Sequential):
        raise ValueError(f"a functional or sequential keras.Model is needed. Received: {type(model).__name__}")


def _call(operation, *args, **kwargs) -> Any:
    if random_layers.moves(operation):
        return args[0]
    plain = isinstance(operation, keras.Sequential) or (
        isinstance(operation, Functional) and type(operation).call is Functional.call
    )
    if plain and len(args) == 1 and isinstance(args[0], keras.KerasTensor) and not isinstance(operation.output, dict):
        return inline(operation, args[0])
    return operation(*args, **kwargs)


def _sources(tensor):
    history = tensor._keras_history
    return history.operation._inbound_nodes[history.node_index].input_tensors


def _topological(output):
    """Every tensor that `output` is made of, each after those it is made of."""
    order, seen, stack = [], set(), [(output, False)]
    while stack:
        tensor, is_ready = stack.pop()
        if is_ready:
            order.append(tensor)
        elif id(tensor) not in seen:
            seen.add(id(tensor))
            stack.append((tensor, True))
            stack.extend((source, False) for source in _sources(tensor))
    return order
