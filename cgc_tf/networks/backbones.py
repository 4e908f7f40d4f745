"""Networks ready to be trained: "library:name" and weights -> a Keras model, images -> features; and a head on it.

The model takes RGB images in 0..255 and holds its own preprocessing, so no caller can get that wrong.
"""

import importlib

import keras

from cgc_tf.common.errors import UserError
from cgc_tf.method import trunk_and_head
from cgc_tf.networks import batch_norm, blocks, keras_weights, pretrained, registry

POOLINGS = {"average": keras.layers.GlobalAveragePooling2D, "max": keras.layers.GlobalMaxPooling2D}


def build_backbone(
    backbone: str, weights: str | pretrained.Pretrained, image_size: int, explain_layer: str | None = None
) -> keras.Model:
    """A network without its classifier, a `keras.Model`: images `[B, H, W, 3]` in 0..255 -> features `[B, h, w, C]`.

    Args:
        backbone: as for `registry.build`.
        weights: as `pretrained.HOW` says but for a run, or what `pretrained.parse` makes of it. A classifier that
            they hold, too, is left out.
        image_size: side of the training images in pixels.
        explain_layer: name of the layer that is going to be explained; None for the network's last.

    Raises:
        UserError: for an unknown backbone, weights that are not available, a layer that cannot be explained, or an
            image size that is too small.
    """
    if isinstance(weights, str):
        weights = pretrained.parse(weights, backbone)
    naming = registry.torch_naming(backbone) if weights.kind == "torch" else None
    is_downloaded = weights.kind in ("imagenet", "preset")
    network, preprocess = registry.build(backbone, weights.name if is_downloaded else "none")
    if weights.kind == "keras":
        keras_weights.load_by_name(weights.path, network)
    network = blocks.opened(network)
    for layer in network._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = registry.BATCH_NORM_MOMENTUM
    # Declared as what it is of several inputs, too.
    images: keras.KerasTensor = keras.Input(  # pyright: ignore[reportAssignmentType]
        (None, None, 3), dtype="float32", name="images"
    )
    features = trunk_and_head.inline(network, preprocess(images))
    try:
        explained = trunk_and_head.find(images, features, explain_layer)
    except ValueError as error:
        raise UserError(f"--{error} (backbone {backbone})") from error
    trunk = keras.Model(images, explained)
    _check_image_size(trunk, backbone, image_size)
    batch_norm.fuse(trunk)  # and no more: a heatmap is made of the head's gradient, which must have one too
    model = keras.Model(images, features, name=network.name)
    if naming:
        weights.load_torch(model, naming)
    return model


def import_library(backbone: str) -> None:
    """Imports the library of a backbone, so that layers of its own can be read back from a file."""
    library, _ = registry.library_of(backbone)
    if library in ("keras_hub", "keras_cv"):
        importlib.import_module(library)


def add_classifier(
    backbone: keras.Model, classes: int, pooling: str = "average", hidden_units: tuple[int, ...] = ()
) -> keras.Model:
    """Puts a new head on a backbone, images -> features `[B, h, w, C]`: a `keras.Model`, images -> float32 logits.

    The head pools over all positions, as a key of `POOLINGS` says, and may have hidden ReLU layers of these widths.
    """
    hidden = POOLINGS[pooling](name="pool")(backbone.output)
    for index, units in enumerate(hidden_units):
        hidden = keras.layers.Dense(units, activation="relu", name=f"hidden_{index}")(hidden)
    logits = keras.layers.Dense(classes, dtype="float32", name="classifier")(hidden)
    return keras.Model(backbone.input, logits)


def _check_image_size(explained, backbone, image_size):
    try:
        _, height, width, _ = explained.compute_output_shape((1, image_size, image_size, 3))
    except ValueError as error:
        raise UserError(f"--image_size={image_size} does not fit {backbone}; try a larger one") from error
    if min(height, width) < 2:
        raise UserError(
            f"--image_size={image_size} is too small for {backbone}: its feature map would be {height}x{width}, "
            "and a heatmap needs 2x2 or more; use a larger --image_size"
        )
