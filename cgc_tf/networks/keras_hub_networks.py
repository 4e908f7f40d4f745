"""KerasHub's convolutional networks by name: which there are, their architectures, their weights of ImageNet."""

import ast
import contextlib
import difflib
import functools
import importlib
import inspect
import pkgutil
import re
from typing import Any

import keras

from cgc_tf.common.errors import UserError
from cgc_tf.networks import presets

# Ours, the only architecture that is written down here: shallow, of total stride 16, for small pictures.
RESNET8 = {
    "input_conv_filters": [64],
    "input_conv_kernel_sizes": [7],
    "stackwise_num_filters": [64, 128, 256],
    "stackwise_num_blocks": [1, 1, 1],
    "stackwise_num_strides": [1, 2, 2],
    "block_type": "basic_block",
    "use_pre_activation": False,
}
# How EfficientNet's authors pad, and EfficientNet-PyTorch after them: as TensorFlow does. timm pads as PyTorch does.
AS_TENSORFLOW = {
    "stackwise_block_types": ["v1"] + ["unfused"] * 6,  # KerasHub's two kinds of blocks pad in these two ways
    "include_stem_padding": False,
    "stem_conv_padding": "same",
    "batch_norm_epsilon": 1e-3,
}


@functools.cache
def architectures() -> dict[str, tuple[type, dict[str, Any]]]:
    """What can be built without a download: {name: (class of KerasHub's, its arguments)}.

    KerasHub holds the architectures of some of timm's networks, by timm's names, in what reads their weights.
    """
    import keras_hub
    from keras_hub.src.utils import timm

    found = {"resnet8": (keras_hub.models.ResNetBackbone, RESNET8)}
    for module in pkgutil.iter_modules(timm.__path__):
        family = module.name.removeprefix("convert_")
        if family != module.name:
            found |= _read_by(importlib.import_module(f"{timm.__name__}.{module.name}"), family)
    for name in [name for name in found if re.fullmatch(r"efficientnet_(b\d|lite0)", name)]:
        network, arguments = found[name]
        found[name if name == "efficientnet_lite0" else f"tf_{name}"] = network, arguments | AS_TENSORFLOW
    return found


def pads_as_tensorflow(name: str) -> bool:
    """Whether an architecture is an EfficientNet as its authors pad it."""
    return name in architectures() and AS_TENSORFLOW.items() <= architectures()[name][1].items()


@functools.cache
def presets_alone() -> dict[str, type]:
    """KerasHub's presets of networks that it has no other name for: {preset: class}. Their architecture is a download.

    Transformers, which take a picture as patches, are left out.
    """
    import keras_hub

    classes = [classifier.backbone_cls for classifier in keras_hub.models.ImageClassifier.__subclasses__()]
    named = {preset for name, (network, _) in architectures().items() for preset in presets_of(name, network)}
    return {
        preset: network
        for network in classes
        if not any("patch" in argument for argument in inspect.signature(network).parameters)
        for preset in network.presets
        if preset not in named and _is_whole(preset, network)
    }


def presets_of(name: str, network: type) -> dict[str, str]:
    """KerasHub's presets of a class whose names begin with an architecture's: {preset: what KerasHub says of it}.

    Those of `efficientnet_lite0` are timm's, which pads it in another way: they are networks of their own.
    """
    if name == "efficientnet_lite0":
        return {}
    return {
        preset: about["metadata"]["description"]
        for preset, about in network.presets.items()
        if _plain(preset).startswith(_plain(name)) and _is_whole(preset, network)
    }


def build(name: str) -> keras.Model:
    """A network of KerasHub's with new weights.

    Raises:
        UserError: there is none of this name, or its architecture could not be downloaded.
    """
    network = _class_of(name)
    if name in architectures():
        return network(**architectures()[name][1], name=name)
    make = functools.partial(network.from_preset, name, load_weights=False, image_shape=(None, None, 3))
    return presets.download(f"--backbone={name}", make, "its architecture is a download; try another --backbone")


def imagenet_presets(name: str) -> list[str]:
    """The presets of a network whose training ended on ImageNet-1k; one where `presets.IMAGENET` says which to take.

    Raises:
        UserError: there is no network of this name.
    """
    if name in presets.IMAGENET:
        return [presets.IMAGENET[name]]
    said = presets_of(name, _class_of(name))
    return [preset for preset, description in said.items() if re.search("imagenet.1k", description, re.IGNORECASE)]


def imagenet(name: str) -> str:
    """The preset that `--weights=imagenet` means for a network; raises `UserError` unless it is one."""
    found = imagenet_presets(name)
    if len(found) > 1:
        raise UserError(f"--backbone={name} has several ImageNet weights: --weights={' or --weights='.join(found)}")
    if not found:
        raise UserError(
            f"--backbone={name} has no ImageNet weights; python -m cgc_tf.networks lists what has some; a preset, a "
            "file or --weights=none may do"
        )
    return found[0]


def with_one_output(network: keras.Model) -> keras.Model:
    """A network whose output is its last feature map: HGNetV2's are those of all its stages, by name."""
    if not hasattr(network, "stage_names"):
        return network
    return keras.Model(network.input, network._outputs_struct[network.stage_names[-1]], name=network.name)


def _class_of(name):
    if name in architectures():
        return architectures()[name][0]
    if name in presets_alone():
        return presets_alone()[name]
    near = difflib.get_close_matches(name, [*architectures(), *presets_alone()], cutoff=0)
    raise UserError(f"unknown --backbone={name}; near it are {', '.join(near)}; `python -m cgc_tf.networks` lists all")


def _read_by(converter, family) -> dict[str, tuple[type, dict[str, Any]]]:
    """As `architectures`, of one of KerasHub's converters: the texts in its code that it takes for an architecture."""
    found, texts = {}, [node.value for node in ast.walk(ast.parse(inspect.getsource(converter))) if _is_text(node)]
    for text in dict.fromkeys(texts):
        prefix = f"{family}v2" if text.startswith("rw_") else family  # as timm has it; KerasHub passes over that word
        for name in (text, f"{prefix}_{text}"):
            tag = next(iter(presets_of(name, converter.backbone_cls)), "")
            asked = {"architecture": name, "pretrained_cfg": {"tag": _plain(tag).removeprefix(_plain(name))}}
            with contextlib.suppress(ValueError, KeyError):  # by which converters say that they do not know a name
                found[name] = converter.backbone_cls, converter.convert_backbone_config(asked)
    return found


def _is_text(node):
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier()


def _plain(name):
    """A name as timm and KerasHub both write it: resnetv2_50 is resnet_v2_50 there."""
    return re.sub(r"_|v(?=\d)", "", name)


def _is_whole(preset, network):
    """Whether a preset is where KerasHub says; in 0.32 three of EfficientNet's lead to another one's weights."""
    return f"/{preset}/" in network.presets[preset]["kaggle_handle"]
