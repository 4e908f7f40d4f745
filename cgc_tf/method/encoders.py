"""KerasHub's transformers, which hold their blocks inside one layer: opened up into a graph, and read from files."""

import importlib
import inspect
from typing import Any

import keras

LIBRARY = "keras_hub."


def is_encoder(operation: keras.layers.Layer, *args: Any) -> bool:
    """Whether an operation on symbolic tokens `[B, n, C]` is a layer of KerasHub that only calls layers of its own."""
    if not type(operation).__module__.startswith(LIBRARY) or len(args) != 1:
        return False
    is_chain = not operation._trainable_variables and not operation._non_trainable_variables
    (tokens,) = args
    is_symbolic = isinstance(tokens, keras.KerasTensor) and len(tokens.shape) == 3
    return bool(is_symbolic and is_chain and _parts(operation) and tokens.dtype == operation.compute_dtype)


def opened(operation: keras.layers.Layer, tokens: keras.KerasTensor, **kwargs) -> keras.KerasTensor:
    """What an encoder makes of tokens, as a graph of the layers that it calls, down to Keras' own; they are shared.

    A layer's name then begins with that of the one that called it: `vit_encoder_transformer_block_2_ln_1`. What does
    more than to call layers and to add, as Swin's blocks do, or gives more than tensors, as DeiT's, stays whole.
    """
    for part in _parts(operation):
        if not part.name.startswith(f"{operation.name}_"):
            part.name = f"{operation.name}_{part.name}"  # since names are unique in a graph
    inside = keras.Input(tokens.shape[1:], dtype=tokens.dtype)
    try:
        outputs = operation.call(inside, **kwargs)
    except (TypeError, ValueError):
        return operation(tokens, **kwargs)
    graph = keras.Model(inside, keras.tree.flatten(outputs)[0])
    if not all(isinstance(part, keras.layers.Layer) or type(part).__name__ == "Add" for part in graph.operations):
        return operation(tokens, **kwargs)
    return graph._run_through_graph(tokens, operation_fn=lambda part: part, call_fn=_call)


def readable(config: Any) -> Any:
    """A layer's or model's config, less what KerasHub writes into some of them and does not take back."""
    if isinstance(config, list):
        return [readable(value) for value in config]
    if not isinstance(config, dict):
        return config
    config = {key: readable(value) for key, value in config.items()}
    if str(config.get("module")).startswith(LIBRARY) and isinstance(config.get("config"), dict):
        made = getattr(importlib.import_module(config["module"]), config["class_name"])
        taken = {"name", "trainable", "dtype", *inspect.signature(made.__init__).parameters}
        config["config"] = {key: value for key, value in config["config"].items() if key in taken}
    return config


def _call(operation, *args, **kwargs):
    if is_encoder(operation, *args):
        return opened(operation, *args, **kwargs)
    # An identity of KerasHub's cannot be written to a file.
    return args[0] if isinstance(operation, keras.layers.Identity) else operation(*args, **kwargs)


def _parts(operation):
    return operation._flatten_layers(include_self=False, recursive=False)
