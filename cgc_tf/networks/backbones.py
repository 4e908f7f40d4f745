"""Networks ready to be trained: "library:name" and weights -> a Keras model, images -> features; and a head on it.

The model takes RGB images in 0..255 and holds its own preprocessing, so no caller can get that wrong.
"""

import importlib

import keras

from cgc_tf.common.errors import UserError
from cgc_tf.method import trunk_and_head
from cgc_tf.networks import batch_norm, blocks, keras_weights, pretrained, registry

CLASS_TOKEN = "token"
POOLINGS = {
    "average": keras.layers.GlobalAveragePooling2D,
    "max": keras.layers.GlobalMaxPooling2D,
    CLASS_TOKEN: None,  # which a transformer may have
}


def build_backbone(
    backbone: str, weights: str | pretrained.Pretrained, image_size: int, explain_layer: str | None = None
) -> keras.Model:
    """A network without its classifier, a `keras.Model`: images `[B, H, W, 3]` in 0..255 -> features `[B, h, w, C]`.

    A transformer gives tokens `[B, n, C]`, and takes images of `image_size` alone.

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
    if weights.kind == "keras" and registry.is_transformer(backbone):
        raise UserError(
            f"--weights={weights.name}: in a file of Keras layers of a transformer have no names of their own; use a "
            "preset, or a run of this project"
        )
    is_downloaded = weights.kind in ("imagenet", "preset")
    network, preprocess = registry.build(backbone, weights.name if is_downloaded else "none", image_size)
    if weights.kind == "keras":
        keras_weights.load_by_name(weights.path, network)
    network = blocks.opened(network)
    for layer in network._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = registry.BATCH_NORM_MOMENTUM
    # Declared as what it is of several inputs, too.
    images: keras.KerasTensor = keras.Input(  # pyright: ignore[reportAssignmentType]
        network.inputs[0].shape[1:], dtype="float32", name="images"
    )
    features = trunk_and_head.inline(network, preprocess(images))
    try:
        cut, *_ = trunk_and_head.find(images, features, explain_layer)
    except ValueError as error:
        raise UserError(f"--{error} (backbone {backbone})") from error
    trunk = keras.Model(images, cut.outputs())
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
    """Puts a new head on a backbone, images -> features or tokens: a `keras.Model`, images -> float32 logits.

    The head pools over all positions, or reads the class token, as a key of `POOLINGS` says, and may have hidden ReLU
    layers of these widths.

    Raises:
        UserError: there is no class token to read.
    """
    features, others = backbone.output, []
    if len(features.shape) == 3:
        features, *others = trunk_and_head.find(backbone.input, features)[0].outputs()
    if pooling == CLASS_TOKEN and not others:
        raise UserError(f"--pooling={CLASS_TOKEN}: --backbone={backbone.name} has no class token; use average or max")
    hidden = others[0][:, 0] if pooling == CLASS_TOKEN else POOLINGS[pooling](name="pool")(features)
    for index, units in enumerate(hidden_units):
        hidden = keras.layers.Dense(units, activation="relu", name=f"hidden_{index}")(hidden)
    logits = keras.layers.Dense(classes, dtype="float32", name="classifier")(hidden)
    return keras.Model(backbone.input, logits)


def map_shape(backbone: keras.Model, image_size: int) -> tuple[int, int, int]:
    """Height, width and channels of a backbone's last feature map, or of its tokens, for images of a size in pixels."""
    places = trunk_and_head.find(backbone.input, backbone.output)[0].outputs()[0]
    return keras.Model(backbone.input, places).compute_output_shape((1, image_size, image_size, 3))[1:]


def _check_image_size(explained, backbone, image_size):
    try:
        (_, height, width, _), *_ = explained.compute_output_shape((1, image_size, image_size, 3))
    except ValueError as error:
        raise UserError(f"--image_size={image_size} does not fit {backbone}; try a larger one") from error
    if min(height, width) < 2:
        raise UserError(
            f"--image_size={image_size} is too small for {backbone}: its feature map would be {height}x{width}, "
            "and a heatmap needs 2x2 or more; use a larger --image_size"
        )
