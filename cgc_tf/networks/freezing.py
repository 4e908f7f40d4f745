"""Layers that stay as the weights to start from have them, while those after them are trained."""

import math

import keras

from cgc_tf.common.errors import UserError
from cgc_tf.method import trunk_and_head

FREEZE = ("none", "stages", "backbone")
SIDE = 2**14  # pixels of the picture on which stages are told apart: many, so that borders count for nothing


def freeze(backbone: keras.Model, which: str) -> None:
    """Keeps layers of a functional backbone from training; batch normalization among them takes its moving statistics.

    A stage is what lies between two halvings of the feature map. The last one begins behind the last feature map of
    twice its size through which everything passes; so it is trained as a whole, skip connections and all. Stages
    without weights do not count: VGG's last one is a pooling.

    Args:
        backbone: a functional `keras.Model`, images -> features.
        which: "none"; "stages" for all stages but the last; "backbone" for every layer.

    Raises:
        UserError: no stage comes before the last one, or it is a transformer, which has no stages.
    """
    if which == "none":
        return
    if which == "stages" and len(backbone.output.shape) == 3:
        raise UserError(f"--freeze={which}: {backbone.name} is a transformer; use --freeze=backbone")
    frozen = _before_last_stage(backbone) if which == "stages" else backbone.layers
    if not any(layer.weights for layer in frozen):
        raise UserError(f"--freeze={which}: {backbone.name} has no stage with weights before its last one")
    for layer in frozen:
        layer.trainable = False


def _before_last_stage(backbone):
    maps = [cut.explained for cut in trunk_and_head.feature_maps(backbone.input, backbone.output).values()]
    shapes = keras.Model(backbone.input, maps).compute_output_shape((1, SIDE, SIDE, 3))
    halvings = [round(math.log2(SIDE / shape[1])) for shape in shapes]
    for last in sorted(set(halvings), reverse=True):
        earlier = [each for each, halved in zip(maps, halvings, strict=True) if halved < last]
        frozen = keras.Model(backbone.input, earlier[-1]).layers if earlier else []
        if any(layer.weights for layer in backbone.layers if layer not in frozen):
            return frozen
    return []
