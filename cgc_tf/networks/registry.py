"""The networks that three libraries offer, by name: built without their classifiers, and what their inputs need."""

import functools
import sys
from collections.abc import Callable

import keras

from cgc_tf.common.errors import UserError
from cgc_tf.networks import presets
from cgc_tf.networks.preprocessing import imagenet_normalization

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
# KerasHub's EfficientNets, as (width, depth); it knows their other arguments by presets alone, which are downloads.
EFFICIENTNETS = {
    f"efficientnet_b{index}": scale
    for index, scale in enumerate([(1.0, 1.0), (1.0, 1.1), (1.1, 1.2), (1.2, 1.4), (1.4, 1.8), (1.6, 2.2)])
}
_EFFICIENTNET = {
    "stackwise_kernel_sizes": [3, 3, 5, 3, 5, 5, 3],
    "stackwise_num_repeats": [1, 2, 2, 3, 3, 4, 1],
    "stackwise_input_filters": [32, 16, 24, 40, 80, 112, 192],
    "stackwise_output_filters": [16, 24, 40, 80, 112, 192, 320],
    "stackwise_expansion_ratios": [1, 6, 6, 6, 6, 6, 6],
    "stackwise_strides": [1, 2, 2, 2, 1, 2, 1],
    "stackwise_squeeze_and_excite_ratios": [0.25] * 7,
    "stackwise_block_types": ["v1"] * 7,
    "min_depth": None,
    "include_stem_padding": True,
    "use_depth_divisor_as_min_depth": True,
    "cap_round_filter_decrease": True,
    "stem_conv_padding": "valid",
    "batch_norm_momentum": BATCH_NORM_MOMENTUM,
    "batch_norm_epsilon": 1e-5,
    "dropout": 0,
    "projection_activation": None,
}
# KerasCV fetches even its architectures; these are the ones that can be built without a network, as their arguments.
_EFFICIENTNET_V2_B0 = {
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
_RESNET = {"stackwise_filters": [64, 128, 256, 512], "stackwise_strides": [1, 2, 2, 2]}
KERAS_CV = {
    "EfficientNetV2B0Backbone": ("EfficientNetV2Backbone", _EFFICIENTNET_V2_B0),
    "ResNet18Backbone": ("ResNetBackbone", {**_RESNET, "stackwise_blocks": [2, 2, 2, 2], "block_type": "basic_block"}),
    "ResNet50Backbone": ("ResNetBackbone", {**_RESNET, "stackwise_blocks": [3, 4, 6, 3], "block_type": "block"}),
}


def build(backbone: str, weights: str) -> tuple[keras.Model, Callable]:
    """`(network, preprocess)`: a functional model, and what makes its inputs of symbolic RGB images in 0..255.

    Args:
        backbone: "library:name" of `keras_hub`, `applications` or `keras_cv`; a bare name is KerasHub's.
        weights: "none"; "imagenet" for the library's own, which is a download; of KerasHub's networks also a preset.

    Raises:
        UserError: the library or the name is unknown, or the weights are not available or are another network's.
    """
    library, name = library_of(backbone)
    if library not in LIBRARIES:
        known = ", ".join(LIBRARIES)
        raise UserError(f"unknown library in --backbone={backbone}; known: {known}, as in applications:MobileNetV2")
    if library != "keras_hub" and weights not in ("none", "imagenet"):
        raise UserError(
            f"--weights={weights} is a preset of KerasHub, but --backbone={backbone} is not one of its networks"
        )
    return LIBRARIES[library](name, weights)


def library_of(backbone: str) -> tuple[str, str]:
    """The library and the name in "library:name"."""
    library, _, name = backbone.rpartition(":")
    return library or "keras_hub", name


def known_backbones() -> list[str]:
    """The names that the registry's own tables hold, for messages and help."""
    return [*RESNETS, *EFFICIENTNETS, "applications:<name in keras.applications>", "keras_cv:<name>Backbone"]


def _keras_hub(name, weights):
    if name not in RESNETS and name not in EFFICIENTNETS:
        raise UserError(f"unknown --backbone={name}; known: {', '.join(known_backbones())}")
    import keras_hub

    if name in EFFICIENTNETS:
        width, depth = EFFICIENTNETS[name]
        network = keras_hub.models.EfficientNetBackbone(
            stackwise_width_coefficients=[width] * 7,
            stackwise_depth_coefficients=[depth] * 7,
            **_EFFICIENTNET,
            name=name,
        )
    else:
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
    if weights == "none":
        return network, imagenet_normalization()
    if weights == "imagenet" and name not in presets.IMAGENET:
        raise UserError(f"--backbone={name} has no ImageNet weights here; choose --weights=none, or another backbone")
    return network, presets.load(presets.IMAGENET[name] if weights == "imagenet" else weights, network)


def _applications(name, weights):
    constructor = getattr(keras.applications, name, None)
    if not name[:1].isupper() or not callable(constructor):
        known = [n for n in dir(keras.applications) if n[0].isupper()]
        raise UserError(f"unknown --backbone=applications:{name}; known: {', '.join(known)}")
    preprocess = sys.modules[constructor.__module__].preprocess_input
    source = "imagenet" if weights == "imagenet" else None

    def make():
        return constructor(include_top=False, weights=source, input_shape=(None, None, 3))

    return presets.download(name, make), preprocess


def _keras_cv(name, weights):
    import keras_cv

    constructor = getattr(keras_cv.models, name, None)
    if not name.endswith("Backbone") or not callable(constructor):
        known = [n for n in dir(keras_cv.models) if n.endswith("Backbone") and n != "Backbone"]
        raise UserError(f"unknown --backbone=keras_cv:{name}; known: {', '.join(known)}")
    if weights == "imagenet":
        own = [preset for preset in constructor.presets_with_weights if preset.endswith("_imagenet")]
        if len(own) != 1:
            raise UserError(f"keras_cv:{name} has {len(own) or 'no'} presets of ImageNet; try --weights=none")
        make = functools.partial(constructor.from_preset, own[0], include_rescaling=True)
    elif name in KERAS_CV:
        base, arguments = KERAS_CV[name]
        make = functools.partial(getattr(keras_cv.models, base), **arguments, include_rescaling=True)
    else:
        make = functools.partial(constructor, include_rescaling=True)
    return presets.download(name, make), lambda images: images


LIBRARIES = {"keras_hub": _keras_hub, "applications": _applications, "keras_cv": _keras_cv}
