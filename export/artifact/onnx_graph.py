"""A TensorFlow function as an ONNX graph: what tf2onnx leaves to do. Needs `requirements-onnx.txt`."""

from collections.abc import Callable

import numpy as np
import onnx
import tensorflow as tf
import tf2onnx

from cgc_tf.common import graphs


def converted(function: Callable[[tf.Tensor], dict[str, tf.Tensor]], spec: tf.TensorSpec) -> bytes:
    """A function of one tensor as an ONNX file's contents; operations that ONNX lacks are left in it."""
    function, handlers = graphs.function(function), {"Erfc": (_without_erfc, [])}
    model, _ = tf2onnx.convert.from_function(function, [spec], opset=17, custom_op_handlers=handlers)
    # Of constants that were tensors before tracing tf2onnx makes inputs.
    constants = {inner.name: outer for outer, inner in function.get_concrete_function(spec).graph.captures}
    used = {name for node in model.graph.node for name in node.input}
    for surplus in [given for given in model.graph.input if given.name != spec.name]:
        model.graph.input.remove(surplus)
        if surplus.name in used:
            model.graph.initializer.append(onnx.numpy_helper.from_array(constants[surplus.name].numpy(), surplus.name))
    return model.SerializeToString()


def _without_erfc(graph, node, name, _):
    """Erfc, of which TensorFlow makes GELU and which ONNX lacks, as 1 - Erf."""
    node.type = "Erf"
    one = graph.make_const(f"{name}/one", np.ones([], np.float32)).output[0]
    minus = graph.insert_new_node_on_output("Neg", node.output[0], name=f"{name}/minus").output[0]
    graph.insert_new_node_on_output("Add", minus, inputs=[minus, one], name=f"{name}/plus")
