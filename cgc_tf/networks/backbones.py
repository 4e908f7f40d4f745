"""Networks ready to be trained: "library:name" and weights -> a Keras model, images -> features; and a head on it.

The model takes RGB images in 0..255 and holds its own preprocessing, so no caller can get that wrong.
"""

import importlib
import pathlib

import keras

from cgc_tf.common.errors import UserError
from cgc_tf.method import trunk_and_head
from cgc_tf.networks import batch_norm, presets, registry, torch_files
from cgc_tf.networks import keras_weights as weight_files
from cgc_tf.training import checkpoints

POOLINGS = {"average": keras.layers.GlobalAveragePooling2D, "max": keras.layers.GlobalMaxPooling2D}
HOW = (
    "none, imagenet, a KerasHub preset (a name, a handle such as hf://timm/resnet50.a1_in1k, or a folder), a run of "
    "this project (its folder, or one of its checkpoints), or a local .h5, .keras, .weights.h5, .safetensors, .pth, "
    ".pth.tar or .pt file"
)


def build_backbone(backbone, weights, image_size, explain_layer=None):
    """Builds a network without its classifier, preprocessing included.

    Args:
        backbone: "library:name" of `keras_hub`, `applications` or `keras_cv`; a bare name is KerasHub's.
        weights: as `HOW` says. What holds a classifier too, a run's checkpoint or a PyTorch file, is only checked
            here, and read later into the whole model.
        image_size: side of the training images in pixels.
        explain_layer: name of the layer that is going to be explained; None for the network's last.

    Returns:
        A `keras.Model`, images `[B, H, W, 3]` in 0..255 -> features `[B, h, w, C]`, no model nested in it.

    Raises:
        UserError: for an unknown backbone, weights that are not available, a layer that cannot be explained, or an
            image size that is too small.
    """
    kind = weight_kind(weights)
    if kind == "torch" and registry.library_of(backbone)[1] not in registry.RESNETS:
        raise UserError(f"--weights={weights} is for KerasHub's ResNets alone. Received: --backbone={backbone}")
    network, preprocess = registry.build(backbone, weights if kind in ("imagenet", "preset") else "none")
    for layer in network._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = registry.BATCH_NORM_MOMENTUM
    if kind == "keras":
        weight_files.load_by_name(weights, network)
    images = keras.Input((None, None, 3), dtype="float32", name="images")
    features = trunk_and_head.inline(network, preprocess(images))
    try:
        explained = trunk_and_head.find(images, features, explain_layer)
    except ValueError as error:
        raise UserError(f"--{error} (backbone {backbone})") from error
    trunk = keras.Model(images, explained)
    _check_image_size(trunk, backbone, image_size)
    batch_norm.fuse(trunk)  # and no more: a heatmap is made of the head's gradient, which must have one too
    return keras.Model(images, features, name=network.name)


def weight_kind(weights):
    """What `--weights` names: "none", "imagenet", "preset", "checkpoint", "torch" or "keras"; checks a file's presence.

    Raises:
        UserError: a file is missing, is not what its name says, or needs a package that is not installed.
    """
    if weights in ("none", "imagenet"):
        return weights
    if checkpoints.is_checkpoint(weights):
        return "checkpoint"
    if "://" in weights or (pathlib.Path(weights) / "config.json").exists():
        return "preset"
    if torch_files.is_torch_file(weights):
        torch_files.check(weights)
        return "torch"
    if weights.endswith((".h5", ".keras")):
        weight_files.check(weights)
        return "keras"
    if presets.is_name(weights):
        return "preset"
    raise UserError(f"--weights={weights} is none of: {HOW}")


def import_library(backbone):
    """Imports the library of a backbone, so that layers of its own can be read back from a file."""
    library, _ = registry.library_of(backbone)
    if library in ("keras_hub", "keras_cv"):
        importlib.import_module(library)


def add_classifier(backbone, classes, pooling="average", hidden_units=()):
    """Puts a new head on a backbone.

    Args:
        backbone: a `keras.Model`, images -> features `[B, h, w, C]`.
        classes: how many.
        pooling: a key of `POOLINGS`, over all positions.
        hidden_units: widths of hidden ReLU layers after the pooling, none by default.

    Returns:
        A `keras.Model`, images -> float32 logits `[B, classes]`.
    """
    hidden = POOLINGS[pooling](name="pool")(backbone.output)
    for index, units in enumerate(hidden_units):
        hidden = keras.layers.Dense(units, activation="relu", name=f"hidden_{index}")(hidden)
    logits = keras.layers.Dense(classes, dtype="float32", name="classifier")(hidden)
    return keras.Model(backbone.input, logits)


def synchronize_batch_norm(model):
    """Makes batch normalization use the statistics of every replica's examples together."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True


def _check_image_size(explained, backbone, image_size):
    try:
        height, width = explained.compute_output_shape((1, image_size, image_size, 3))[1:3]
    except ValueError as error:
        raise UserError(f"--image_size={image_size} does not fit {backbone}; try a larger one") from error
    if min(height, width) < 2:
        raise UserError(
            f"--image_size={image_size} is too small for {backbone}: its feature map would be {height}x{width}, "
            "and a heatmap needs 2x2 or more; use a larger --image_size"
        )
