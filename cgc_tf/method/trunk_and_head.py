"""Takes a functional classifier apart at the layer to explain: a trunk up to its features, a head from there on."""

import dataclasses
import functools
from typing import Any

import keras
from keras.src.models.functional import Functional

from cgc_tf.method import encoders, exact_norms, logits, random_layers, tokens


@dataclasses.dataclass(frozen=True)
class Cut:
    """Where a classifier can be cut: symbolic tensors.

    Attributes:
        explained: a feature map `[B, h, w, C]`, or tokens `[B, n, C]`.
        others: what jumps over it, residual connections say; none of a feature map.
        grid: rows and columns of the tokens that are places; None of a feature map.
    """

    explained: keras.KerasTensor
    others: tuple[keras.KerasTensor, ...] = ()
    grid: tuple[int, int] | None = None

    def outputs(self) -> list[keras.KerasTensor]:
        """What the trunk gives: features `[B, h, w, C]`, tokens that are no places, and what jumps over."""
        places = [self.explained] if self.grid is None else tokens.apart(self.explained, self.grid)
        return [*places, *self.others]

    def parts(self, images: keras.KerasTensor, outputs: keras.KerasTensor) -> tuple[keras.Model, keras.Model]:
        """`(trunk, head)`, see `split`."""
        crossing: Any = self.outputs()
        behind = keras.Model([self.explained, *self.others], outputs)
        inputs: Any = [keras.Input(x.shape[1:], dtype=x.dtype) for x in crossing]
        count = len(crossing) - len(self.others)
        explained = inputs[0] if self.grid is None else tokens.together(inputs[0], inputs[1:count])
        # The head's gradient is differentiated, too.
        given = [explained, *inputs[count:]]
        logits = behind._run_through_graph(given, operation_fn=functools.cache(exact_norms.exact), call_fn=_call)
        if len(crossing) == 1:
            crossing, inputs = crossing[0], inputs[0]
        return keras.Model(images, crossing, name="trunk"), keras.Model(inputs, logits, name="head")


def split(classifier: keras.Model, explain_layer: str | None = None) -> tuple[keras.Model, keras.Model]:
    """Splits a classifier into trunk and head, which share its layers.

    Args:
        classifier: a functional or sequential `keras.Model`, images `[B, H, W, 3]` -> logits or their softmax
            `[B, classes]`, or one logit or its sigmoid `[B, 1]`; models nested in it are opened up, so that their
            layers can be named too, and so are KerasHub's transformers.
        explain_layer: name of the layer whose output is explained; None takes the last feature map, 4-D or tokens,
            that says where.

    Returns:
        `(trunk, head)`: images -> features `[B, h, w, C]`, and features -> logits `[B, classes]`. Where the head needs
        more, tokens that are no places or what jumps over the layer, both have lists, features first. Layers that move
        pictures at random while training are left out: see `random_layers`.

    Raises:
        ValueError: the classifier is of another kind, or cannot be split there; the layers that can are named.
    """
    _check_kind(classifier)
    shape, dtype = _input_shape(classifier), classifier.inputs[0].dtype
    # Declared as what it is of several inputs, too.
    images: keras.KerasTensor = keras.Input(shape, dtype=dtype, name="images")  # pyright: ignore[reportAssignmentType]
    outputs = logits.logits_of(inline(classifier, images))
    for cut in find(images, outputs, explain_layer):
        trunk, head = cut.parts(images, outputs)
        if cut.grid is None or tokens.says_where(head):
            logits.check(head)
            return trunk, head
    layer = f"explain_layer={explain_layer}" if explain_layer else "any layer"
    raise ValueError(
        f"no heatmap can be made of {layer}: the logits depend on no place of it by itself; name a layer before the "
        "last attention, behind a normalization"
    )


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


def find(images: Any, outputs: Any, explain_layer: str | None = None) -> list[Cut]:
    """Where to cut between `images` and `outputs`, symbolic tensors: at the layer that is named, or the last is first.

    Raises:
        ValueError: there is no such layer; those that there are are named.
    """
    maps = feature_maps(images, outputs)
    if not maps:
        raise ValueError(
            "no 4-D feature map lies on every path from the images to the outputs, nor are there tokens of known number"
        )
    if explain_layer and explain_layer not in maps:
        raise ValueError(f"explain_layer={explain_layer} cannot be split off; these can: {', '.join(maps)}")
    return [maps[explain_layer]] if explain_layer else list(maps.values())[::-1]


def feature_maps(images: keras.KerasTensor, outputs: keras.KerasTensor) -> dict[str, Cut]:
    """The feature maps from `images` to `outputs`: {layer name: where to cut}, in order.

    Everything passes through a 4-D map: in topological order it is one that no connection jumps over. Tokens may be
    jumped over, since transformers normalize them beside the residual connection.
    """
    order, found = _topological(outputs), {}
    position = {id(tensor): index for index, tensor in enumerate(order)}
    last_use = {id(tensor): 0 for tensor in order}
    for tensor in order:
        for source in _sources(tensor):
            last_use[id(source)] = max(last_use[id(source)], position[id(tensor)])
    patches = _patches(order, images)
    for index, tensor in enumerate(order):
        others = tuple(x for x in order[:index] if last_use[id(x)] > index)
        if len(tensor.shape) == 2 and not others:
            break  # all places are pooled
        if tensor is images or any(x is images for x in others):
            continue
        grid = tokens.grid(tensor.shape[1], patches) if len(tensor.shape) == 3 else None
        is_map = len(tensor.shape) == 4 and tuple(tensor.shape[1:3]) != (1, 1) and not others
        if is_map or grid:
            found[tensor._keras_history.operation.name] = Cut(tensor, others, grid)
    return found


def _patches(order, images) -> Any:
    """Rows and columns of what the first convolution gives, by itself or inside a layer; else of the images."""
    size = images.shape[1:3]
    for operation in (tensor._keras_history.operation for tensor in order):
        for layer in operation._flatten_layers() if isinstance(operation, keras.layers.Layer) else ():
            if isinstance(layer, keras.layers.Conv2D) and None not in size:
                return layer.compute_output_shape((1, *size, layer.kernel.shape[2]))[1:3]
    return size


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
    if encoders.is_encoder(operation, *args):
        return encoders.opened(operation, *args, **kwargs)
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
