"""The registry of networks: "library:name" -> a Keras model, images -> features, that a classifier is put on.

It takes RGB images in 0..255 and holds its own preprocessing, so no caller can get that wrong.
"""

import functools
import sys

import keras

from cgc_tf import split
from cgc_tf import weights as weight_files
from cgc_tf.errors import UserError
from cgc_tf.preprocessing import imagenet_normalisation

BATCH_NORM_MOMENTUM = 0.9  # PyTorch's 0.1, as the reference has; Keras' 0.99 takes thousands of steps to settle.

# name: (block type, filters, blocks, strides). `resnet8` is ours: shallow, of total stride 16, for small pictures.
RESNETS = {
    "resnet8": ("basic_block", (64, 128, 256), (1, 1, 1), (1, 2, 2)),
    "resnet18": ("basic_block", (64, 128, 256, 512), (2, 2, 2, 2), (1, 2, 2, 2)),
    "resnet34": ("basic_block", (64, 128, 256, 512), (3, 4, 6, 3), (1, 2, 2, 2)),
    "resnet50": ("bottleneck_block", (64, 128, 256, 512), (3, 4, 6, 3), (1, 2, 2, 2)),
    "resnet101": ("bottleneck_block", (64, 128, 256, 512), (3, 4, 23, 3), (1, 2, 2, 2)),
    "resnet152": ("bottleneck_block", (64, 128, 256, 512), (3, 8, 36, 3), (1, 2, 2, 2)),
}
# The torchvision weights that the paper starts from, as timm publishes them.
TORCHVISION_PRESETS = {f"resnet{depth}": f"hf://timm/resnet{depth}.tv_in1k" for depth in (18, 34, 50, 101, 152)}
# KerasCV fetches even its architectures; these are the ones that can be built without a network, as their arguments.
_EFFICIENT = {
    "stackwise_kernel_sizes": [3] * 6,
    "stackwise_num_repeats": [1, 2, 2, 3, 5, 8],
    "stackwise_input_filters": [32, 16, 32, 48, 96, 112],
    "stackwise_output_filters": [16, 32, 48, 96, 112, 192],
    "stackwise_expansion_ratios": [1, 4, 4, 4, 6, 6],
    "stackwise_squeeze_and_excite_ratios": [0, 0, 0, 0.25, 0.25, 0.25],
    "stackwise_strides": [1, 2, 2, 2, 1, 2],
    "stackwise_conv_types": ["fused"] * 3 + ["unfused"] * 3,
    "width_coefficient": 1.0,
    "depth_coefficient": 1.0,
}
KERAS_CV = {
    "EfficientNetV2B0Backbone": ("EfficientNetV2Backbone", _EFFICIENT),
    **{
        f"ResNet{depth}Backbone": (
            "ResNetBackbone",
            {
                "stackwise_filters": [64, 128, 256, 512],
                "stackwise_blocks": blocks,
                "stackwise_strides": [1, 2, 2, 2],
                "block_type": block,
            },
        )
        for depth, block, blocks in [(18, "basic_block", [2, 2, 2, 2]), (50, "block", [3, 4, 6, 3])]
    },
}
POOLINGS = {"average": keras.layers.GlobalAveragePooling2D, "max": keras.layers.GlobalMaxPooling2D}
HOW = "none, imagenet, or the path of a .h5 or .weights.h5 file"


def build_backbone(backbone, weights, image_size, explain_layer=None):
    """Builds a network without its classifier, preprocessing included.

    Args:
        backbone: "library:name" of `keras_hub`, `applications` or `keras_cv`; a bare name is KerasHub's.
        weights: "none", "imagenet", or a local `.h5`. (A checkpoint of a run is read later, into the whole model.)
        image_size: side of the training images in pixels.
        explain_layer: name of the layer that is going to be explained; None for the network's last.

    Returns:
        A `keras.Model`, images `[B, H, W, 3]` in 0..255 -> features `[B, h, w, C]`, no model nested in it.

    Raises:
        UserError: for an unknown backbone, weights that cannot be had, a layer that cannot be explained, or an image
            size that is too small.
    """
    library, _, name = backbone.rpartition(":")
    library = library or "keras_hub"
    if library not in LIBRARIES:
        known = ", ".join(LIBRARIES)
        raise UserError(f"unknown library in --backbone={backbone}; known: {known}, as in applications:MobileNetV2")
    local = weights not in ("none", "imagenet")
    if local:
        weight_files.check(weights)
    network, preprocess = LIBRARIES[library](name, weights)
    for layer in network._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = BATCH_NORM_MOMENTUM
    if local and not weight_files.is_checkpoint(weights):
        weight_files.load_by_name(weights, network)
    images = keras.Input((None, None, 3), dtype="float32", name="images")
    features = split.inline(network, preprocess(images))
    try:
        explained = split.find(images, features, explain_layer)
    except ValueError as error:
        raise UserError(f"--{error} (backbone {backbone})") from error
    _check_image_size(keras.Model(images, explained), backbone, image_size)
    return keras.Model(images, features, name=network.name)


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
    """Makes batch normalisation use the statistics of every replica's examples together."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True


def known_backbones():
    """The names that the registry's own tables hold, for messages and help."""
    return [*RESNETS, "applications:<name in keras.applications>", "keras_cv:<name>Backbone"]


def _keras_hub(name, weights):
    if name not in RESNETS:
        raise UserError(f"unknown --backbone={name}; known: {', '.join(known_backbones())}")
    import keras_hub

    preprocess = imagenet_normalisation()
    if weights == "imagenet":
        if name not in TORCHVISION_PRESETS:
            raise UserError(f"--backbone={name} has no ImageNet weights; choose --weights={HOW}, or another backbone")
        preset = TORCHVISION_PRESETS[name]
        return _download(name, lambda: keras_hub.models.ResNetBackbone.from_preset(preset)), preprocess
    block, filters, blocks, strides = RESNETS[name]
    network = keras_hub.models.ResNetBackbone(
        input_conv_filters=[filters[0]],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=list(filters),
        stackwise_num_blocks=list(blocks),
        stackwise_num_strides=list(strides),
        block_type=block,
        use_pre_activation=False,
        name=name,
    )
    return network, preprocess


def _applications(name, weights):
    constructor = getattr(keras.applications, name, None)
    if not name[:1].isupper() or not callable(constructor):
        known = [n for n in dir(keras.applications) if n[0].isupper()]
        raise UserError(f"unknown --backbone=applications:{name}; known: {', '.join(known)}")
    preprocess = sys.modules[constructor.__module__].preprocess_input
    source = "imagenet" if weights == "imagenet" else None

    def make():
        return constructor(include_top=False, weights=source, input_shape=(None, None, 3))

    return _download(name, make), preprocess


def _keras_cv(name, weights):
    import keras_cv

    constructor = getattr(keras_cv.models, name, None)
    if not name.endswith("Backbone") or not callable(constructor):
        known = [n for n in dir(keras_cv.models) if n.endswith("Backbone") and n != "Backbone"]
        raise UserError(f"unknown --backbone=keras_cv:{name}; known: {', '.join(known)}")
    if weights == "imagenet":
        preset = f"{_snake_case(name.removesuffix('Backbone'))}_imagenet"
        if preset not in constructor.presets_with_weights:
            known = ", ".join(sorted(constructor.presets_with_weights)) or "none"
            raise UserError(f"keras_cv:{name} has no preset {preset} with weights; its presets: {known}")
        make = functools.partial(constructor.from_preset, preset)
    elif name in KERAS_CV:
        base, arguments = KERAS_CV[name]
        make = functools.partial(getattr(keras_cv.models, base), **arguments, include_rescaling=True)
    else:
        make = functools.partial(constructor, include_rescaling=True)
    return _download(name, make), lambda images: images


LIBRARIES = {"keras_hub": _keras_hub, "applications": _applications, "keras_cv": _keras_cv}


def _download(name, make):
    try:
        return make()
    except Exception as error:  # each library, and each library's downloader, fails in its own way
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"could not build {name}: {reason} (a download may have failed; --weights={HOW})") from error


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


def _snake_case(name):
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
