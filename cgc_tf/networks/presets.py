"""KerasHub's presets: weights for its networks, and the normalization that these want of their images."""

import warnings
from collections.abc import Callable
from typing import Any

import keras

from cgc_tf.common.errors import UserError, first_line
from cgc_tf.networks import transformers
from cgc_tf.networks.preprocessing import imagenet_normalization

# What "imagenet" means: of the ResNets torchvision's own weights, from which the paper starts, as timm publishes them
# (tv_in1k is torchvision's IMAGENET1K_V1).
IMAGENET = {
    **{f"resnet{depth}": f"hf://timm/resnet{depth}.tv_in1k" for depth in (18, 34, 50, 101, 152)},
    **{
        f"efficientnet_b{index}": f"hf://timm/efficientnet_b{index}.{tag}"
        for index, tag in enumerate(("ra_in1k", "ft_in1k", "ra_in1k", "ra2_in1k", "ra2_in1k", "sw_in12k_ft_in1k"))
    },
}
# What to try where there is no network, or no such weights.
WITHOUT_DOWNLOAD = (
    "without a download there are --weights=none, a run, a preset's folder, a file (.h5, .keras, .safetensors, .pth) "
    "and --backbone=efficientnet_lite0 --weights=imagenet, which a package holds"
)


def names() -> list[str]:
    """The names of KerasHub's own presets, such as resnet_50_imagenet."""
    import keras_hub

    return list(keras_hub.models.Backbone.presets.keys())


def load(preset: str, network: keras.Model) -> keras.layers.Rescaling:
    """Gives a network of KerasHub's the weights of a preset: a name, a handle or a folder, as its `from_preset` takes.

    Returns:
        A layer that normalizes RGB in 0..255 as the preset says; with ImageNet's mean and deviation if it does not.

    Raises:
        UserError: the preset is not available, or is of another network.
    """
    import keras_hub

    found = download(f"--weights={preset}", lambda: keras_hub.models.Backbone.from_preset(preset))
    is_other = not transformers.is_twin(found, network) and type(found) is not type(network)
    arrays = [] if is_other else transformers.weights_of(found, network)
    if [array.shape for array in arrays] != [w.shape for w in network.weights]:
        raise UserError(f"--weights={preset} is a {found.name} of other shapes than --backbone={network.name}")
    if getattr(found, "stem_conv_padding", None) != getattr(network, "stem_conv_padding", None):
        raise UserError(f"--weights={preset} is a {found.name} that pads in another way than --backbone={network.name}")
    network.set_weights(arrays)
    converter = download(f"--weights={preset}", lambda: _image_converter(preset))
    if converter is None:
        print(f"weights: {preset} does not say how images are normalized; ImageNet's mean and deviation are taken")
        return imagenet_normalization()
    scale = 1.0 if converter.scale is None else converter.scale
    return keras.layers.Rescaling(scale, converter.offset or 0.0, dtype="float32", name="normalization")


def download(flags: str, make: Callable[[], Any], advice: str = WITHOUT_DOWNLOAD) -> Any:
    """What `make()` builds as flags say, which may need a download; a `UserError` with this advice where that fails."""
    try:
        with warnings.catch_warnings(action="ignore"):
            return make()
    except Exception as error:  # each library, and each library's downloader, fails in its own way
        raise UserError(
            f"{flags} could not be downloaded, perhaps because there is no network: {first_line(error)}; {advice}"
        ) from error


def _image_converter(preset):
    import keras_hub

    try:
        return keras_hub.layers.ImageConverter.from_preset(preset)
    except FileNotFoundError:  # a backbone alone
        return None
