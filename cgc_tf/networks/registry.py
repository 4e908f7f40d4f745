"""The networks that three libraries offer, by name: built without their classifiers, and what their inputs need."""

import functools
import re
import sys
from collections.abc import Callable, Iterator

import keras

from cgc_tf.common.errors import UserError
from cgc_tf.networks import keras_hub_networks, packages, presets, transformers
from cgc_tf.networks.preprocessing import efficientnet_lite_normalization, imagenet_normalization
from cgc_tf.networks.torch_names import EFFICIENTNET_PYTORCH, TORCHVISION_RESNET, Naming

BATCH_NORM_MOMENTUM = 0.9  # PyTorch's 0.1, as the reference has; Keras' 0.99 takes thousands of steps to settle.

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


def build(backbone: str, weights: str, image_size: int = 224) -> tuple[keras.Model, Callable]:
    """`(network, preprocess)`: a functional model, and what makes its inputs of symbolic RGB images in 0..255.

    Args:
        backbone: "library:name" of `keras_hub`, `applications` or `keras_cv`; a bare name is KerasHub's.
        weights: "none"; "imagenet" for the library's own, which is a download; of KerasHub's networks also a preset.
        image_size: side of the images in pixels, for which transformers are built; the others take any.

    Raises:
        UserError: the library or the name is unknown, a transformer does not take such images, or the weights are not
            available or are another network's.
    """
    library, name = library_of(backbone)
    if library not in LIBRARIES:
        known = ", ".join(LIBRARIES)
        raise UserError(f"unknown library in --backbone={backbone}; known: {known}, as in applications:MobileNetV2")
    if library != "keras_hub" and weights not in ("none", "imagenet"):
        raise UserError(
            f"--weights={weights} is a preset of KerasHub, but --backbone={backbone} is not one of its networks"
        )
    if library == "keras_hub":
        return _keras_hub(name, weights, image_size)
    return LIBRARIES[library](name, weights)


def known() -> Iterator[tuple[str, bool, list[str]]]:
    """`(backbone, whether it is built without a download, its weights of ImageNet)` of every network by name.

    KerasCV's are those alone that can be built so. Weights are presets; of the other libraries, "imagenet".
    """
    for name in keras_hub_networks.architectures():
        yield name, True, ["imagenet"] if name in packages.PACKAGES else keras_hub_networks.imagenet_presets(name)
    for name in keras_hub_networks.presets_alone():
        yield name, False, keras_hub_networks.imagenet_presets(name)
    for name in transformers.NAMES:
        yield name, True, [transformers.IMAGENET[name]] if name in transformers.IMAGENET else []
    for name in _names_in(keras.applications):
        yield f"applications:{name}", True, ["imagenet"]
    import keras_cv

    for name in KERAS_CV:
        has_weights = _keras_cv_presets(getattr(keras_cv.models, name))
        yield f"keras_cv:{name}", True, ["imagenet"] if has_weights else []


def torch_naming(backbone: str) -> Naming:
    """How PyTorch's files for a backbone name its layers.

    Raises:
        UserError: no such files are read for it.
    """
    library, name = library_of(backbone)
    if library == "keras_hub" and re.fullmatch(r"resnet\d+", name):
        return TORCHVISION_RESNET
    if library == "keras_hub" and keras_hub_networks.pads_as_tensorflow(name):
        return EFFICIENTNET_PYTORCH
    raise UserError(
        f"--backbone={backbone}: files of PyTorch are read for resnet18 and the like, tf_efficientnet_b0 and the like, "
        "and efficientnet_lite0 alone"
    )


def library_of(backbone: str) -> tuple[str, str]:
    """The library and the name in "library:name"."""
    library, _, name = backbone.rpartition(":")
    return library or "keras_hub", name


def is_transformer(backbone: str) -> bool:
    """Whether it is one of KerasHub's vision transformers, which are built for one image size."""
    library, name = library_of(backbone)
    return library == "keras_hub" and name in transformers.NAMES


def _keras_hub(name, weights, image_size):
    if name in transformers.NAMES:
        preset = transformers.imagenet(name) if weights == "imagenet" else weights
        network = transformers.build(name, image_size)
    else:
        preset = keras_hub_networks.imagenet(name) if weights == "imagenet" else weights
        network = keras_hub_networks.build(name)
    if preset == "none":
        preprocess = efficientnet_lite_normalization() if name in packages.PACKAGES else imagenet_normalization()
    else:
        preprocess = presets.load(preset, network)
    return keras_hub_networks.with_one_output(network), preprocess


def _applications(name, weights):
    known = _names_in(keras.applications)
    if name not in known:
        raise UserError(f"unknown --backbone=applications:{name}; known: {', '.join(known)}")
    constructor = getattr(keras.applications, name)
    preprocess = sys.modules[constructor.__module__].preprocess_input
    source = "imagenet" if weights == "imagenet" else None

    def make():
        return constructor(include_top=False, weights=source, input_shape=(None, None, 3))

    return presets.download(f"--backbone=applications:{name} --weights={weights}", make), preprocess


def _keras_cv(name, weights):
    import keras_cv

    known = _names_in(keras_cv.models, "Backbone")
    if name not in known:
        raise UserError(f"unknown --backbone=keras_cv:{name}; known: {', '.join(known)}")
    constructor = getattr(keras_cv.models, name)
    if weights == "imagenet":
        own = _keras_cv_presets(constructor)
        if len(own) != 1:
            some = f"keras_cv:{name} has {len(own) or 'no'} presets of ImageNet"
            raise UserError(f"{some}; python -m cgc_tf.networks lists what has one")
        make = functools.partial(constructor.from_preset, own[0], include_rescaling=True)
    elif name in KERAS_CV:
        base, arguments = KERAS_CV[name]
        make = functools.partial(getattr(keras_cv.models, base), **arguments, include_rescaling=True)
    else:
        make = functools.partial(constructor, include_rescaling=True)
    return presets.download(f"--backbone=keras_cv:{name} --weights={weights}", make), lambda images: images


def _keras_cv_presets(constructor):
    return [preset for preset in constructor.presets_with_weights if preset.endswith("_imagenet")]


def _names_in(module, ending=""):
    return [name for name in dir(module) if name[0].isupper() and name.endswith(ending) and name != ending]


LIBRARIES = {"keras_hub": _keras_hub, "applications": _applications, "keras_cv": _keras_cv}
