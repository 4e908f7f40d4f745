"""Opens the blocks of which libraries build networks, so that a network is made of layers that can be set and kept."""

import keras
from keras.src.models.functional import Functional


def opened(network: keras.Model) -> keras.Model:
    """A functional model with batch normalization in blocks, or depthwise convolutions that Keras compiles, made anew.

    It is made without blocks, of TensorFlow's own convolutions; other models come back as they are.

    A block is a library's layer that is made of layers. Its configuration is how the library made it: what is set in a
    layer inside, as batch normalization is here, is lost when a run is read back, and some blocks cannot be read back.
    So these layers are called one after the other, and the model is read back before anything is trained.
    """
    layers = network._flatten_layers()
    inside = [layer for layer in layers if layer not in network.layers]
    if not any(isinstance(layer, keras.layers.BatchNormalization) for layer in inside) and not any(
        map(_is_depthwise, layers)
    ):
        return network
    bare = keras.Model(network.input, _run(network, network.input), name=network.name)
    made = keras.Model.from_config(bare.get_config())
    for ours, theirs in zip(made.variables, bare.variables, strict=True):
        ours.assign(theirs)
    return made


def _run(network, inputs):
    return network._run_through_graph(inputs, operation_fn=lambda operation: operation, call_fn=_call)


def _call(operation, *args, **kwargs):
    if isinstance(operation, keras.layers.Identity):  # of which HGNetV2's have no configuration
        return args[0]
    if _is_depthwise(operation):
        return _depthwise(operation, args[0])
    if not _is_block(operation):
        return operation(*args, **kwargs)
    for layer in operation._layers:  # whose names are unique within the block alone
        if not layer.name.startswith(operation.name):
            layer.name = f"{operation.name}_{layer.name}"
    inside = keras.Input(batch_shape=args[0].shape, dtype=args[0].dtype)
    return _run(Functional(inside, operation.call(inside)), args[0])


def _is_depthwise(operation):
    """Whether a built layer is a convolution of one channel a group, made of Keras' general one."""
    is_plain = type(operation) is keras.layers.Conv2D
    return is_plain and operation.groups == operation.filters > 1 and operation.kernel.shape[2] == 1


def _is_block(operation):
    is_library = isinstance(operation, keras.layers.Layer) and not type(operation).__module__.startswith("keras.")
    return is_library and not isinstance(operation, keras.Model) and bool(operation._layers)


def _depthwise(convolution, inputs):
    """A convolution of one channel a group by TensorFlow's own kernel; Keras compiles it with XLA, which ONNX lacks."""
    config = convolution.get_config()
    kept = ("name", "trainable", "dtype", "kernel_size", "strides", "padding", "data_format", "dilation_rate")
    layer = keras.layers.DepthwiseConv2D(
        **{key: config[key] for key in (*kept, "activation", "use_bias")}  # pyright: ignore[reportArgumentType]
    )
    outputs = layer(inputs)
    for ours, theirs in zip(layer.weights, convolution.weights, strict=True):
        ours.assign(keras.ops.reshape(theirs, ours.shape))
    return outputs
