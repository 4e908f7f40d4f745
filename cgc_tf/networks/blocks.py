"""Opens the blocks of which libraries build networks, so that a network is made of layers that can be set and kept."""

import keras
from keras.src.models.functional import Functional


def opened(network: keras.Model) -> keras.Model:
    """A functional model with batch normalization without the blocks around its layers, which compute the same.

    A block is a library's layer that is made of layers. Its configuration is how the library made it: what is set in a
    layer inside, as batch normalization is here, is lost when a run is read back, and some blocks cannot be read back.
    Other models are returned as they are.
    """
    if not any(isinstance(layer, keras.layers.BatchNormalization) for layer in network._flatten_layers()):
        return network
    return keras.Model(network.input, _run(network, network.input), name=network.name)


def _run(network, inputs):
    return network._run_through_graph(inputs, operation_fn=lambda operation: operation, call_fn=_call)


def _call(operation, *args, **kwargs):
    if isinstance(operation, keras.layers.Identity):  # of which HGNetV2's have no configuration
        return args[0]
    if not _is_block(operation):
        return operation(*args, **kwargs)
    for layer in operation._layers:  # whose names are unique within the block alone
        if not layer.name.startswith(operation.name):
            layer.name = f"{operation.name}_{layer.name}"
    inside = keras.Input(batch_shape=args[0].shape, dtype=args[0].dtype)
    return _run(Functional(inside, operation.call(inside)), args[0])


def _is_block(operation):
    is_library = isinstance(operation, keras.layers.Layer) and not type(operation).__module__.startswith("keras.")
    return is_library and not isinstance(operation, keras.Model) and bool(operation._layers)
