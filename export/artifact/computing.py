"""How an exported model computes: with the variables that are stored, on which sizes, heatmaps of peak 1."""

import bisect

import keras
import tensorflow as tf


def computing_with(model, variables):
    """A context in which a model computes with {path: `tf.Variable`} in place of its own, cast to what those are."""
    own = [variable for variable in model.weights if variable.path in variables]
    return keras.StatelessScope([(variable, tf.cast(variables[variable.path], variable.dtype)) for variable in own])


def of_peak_one(heatmaps):
    """Heatmaps `[B, h, w]`, each over its greatest value; one that is all zero stays so."""
    return tf.math.divide_no_nan(heatmaps, tf.reduce_max(heatmaps, [1, 2], keepdims=True))


def smallest_side(model, most):
    """The side in pixels, `most` at most, of the smallest image of which each of a `CGCModel`'s layers has a map."""
    # Its nodes rather than its layers, which may be called elsewhere, too.
    nodes = [node for nodes in model.head._nodes_by_depth.values() for node in nodes]
    tensors = [tensor for node in nodes for tensor in node.output_tensors]
    maps = keras.Model(model.head.inputs, [tensor for tensor in tensors if len(tensor.shape) == 4])

    def has_maps(side):
        try:
            shapes = maps.compute_output_shape(model.trunk.compute_output_shape((1, side, side, 3)))
        except ValueError:
            return False
        return all(min(shape[1:3]) >= 1 for shape in shapes)

    return bisect.bisect_left(range(1, most), True, key=has_maps) + 1
