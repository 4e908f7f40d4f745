"""A classifier's logits, in whatever it ends: softmax and sigmoid are taken off, and one logit becomes two."""

import keras
import numpy as np
import tensorflow as tf

from cgc_tf.method.twins import twin

SOFTMAX = ("softmax", "softmax_v2", "logsoftmax", "log_softmax", "log_softmax_v2")  # Keras' and TensorFlow's names
ACTIVATIONS = (*SOFTMAX, "sigmoid")


@keras.saving.register_keras_serializable("cgc_tf")
class TwoLogits(keras.layers.Layer):
    """One logit z `[B, 1]` -> those of classes 0 and 1, -z/2 and z/2, whose softmax gives sigmoid(z) to class 1."""

    def call(self, logit: tf.Tensor) -> tf.Tensor:
        """-z/2 and z/2, side by side."""
        return tf.concat([-logit / 2, logit / 2], -1)


def logits_of(outputs: keras.KerasTensor) -> keras.KerasTensor:
    """The logits `[B, classes]` that a classifier's symbolic outputs are made of; layers are shared.

    Raises:
        ValueError: the outputs are not `[B, classes]`, or end in another activation than softmax, or sigmoid of one.
    """
    if len(outputs.shape) != 2:
        raise ValueError(f"a classifier gives logits [B, classes]. Received: outputs of shape {outputs.shape}")
    operation, count = outputs._keras_history.operation, outputs.shape[-1]
    name, (inputs,) = _activation(operation), operation._inbound_nodes[outputs._keras_history.node_index].input_tensors
    if name == "sigmoid" and count > 1:
        raise ValueError(
            f"a classifier tells classes apart of which one is right; sigmoid of {count} outputs is of several labels "
            "at once"
        )
    is_alone = not getattr(operation, "weights", ())
    if name in ACTIVATIONS or (isinstance(operation, keras.layers.Activation) and name == "linear"):
        return logits_of(inputs if is_alone else twin(operation, type(operation), activation="linear")(inputs))
    if name != "linear":
        raise ValueError(
            f"a classifier ends in logits, softmax, or sigmoid of one output. Received: activation {name} at the end"
        )
    return TwoLogits(name="two_logits")(outputs) if count == 1 else outputs


def check(head: keras.Model) -> None:
    """Raises `ValueError` where a head's last layer is no usual one, and what it gives are probabilities."""
    last = head.operations[-1]
    if hasattr(last, "activation") or isinstance(last, TwoLogits):
        return
    shapes = [[4, *(size or 8 for size in x.shape[1:])] for x in head.inputs]
    inputs = [np.random.default_rng(0).normal(0, 10, shape).astype("float32") for shape in shapes]
    answer = head(inputs if len(inputs) > 1 else inputs[0], training=False)
    answer = keras.ops.convert_to_numpy(keras.ops.cast(answer, "float32"))
    if (answer >= 0).all() and np.allclose(answer.sum(-1), 1, atol=1e-2):
        raise ValueError(
            "a classifier ends in logits, or in a softmax that can be taken off. Received: probabilities of the layer "
            f"{last.name}"
        )


def _activation(operation):
    """The name of what an operation applies to its outputs; "linear" where that is nothing that it says."""
    function = getattr(operation, "activation", None)
    if isinstance(operation, keras.layers.Softmax) or function is None:
        name = type(operation).__name__.lower()
        return name if name in ACTIVATIONS else "linear"
    return getattr(function, "__name__", type(function).__name__).lower()
