"""What networks with weights of ImageNet want of RGB in 0..255."""

import keras

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def imagenet_normalization() -> keras.layers.Rescaling:
    """A layer: `[..., 3]` in 0..255 -> float, each channel less ImageNet's mean, over its deviation; torchvision's."""
    scale = [1 / (255 * std) for std in IMAGENET_STD]
    offset = [-mean / std for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)]
    # Keras declares one offset, and takes one for each channel.
    return keras.layers.Rescaling(
        scale,
        offset,  # pyright: ignore[reportArgumentType]
        dtype="float32",
        name="imagenet_normalization",
    )


def efficientnet_lite_normalization() -> keras.layers.Rescaling:
    """A layer: `[..., 3]` in 0..255 -> about -1..1, (x - 127) / 128 as EfficientNet-Lite's authors have it."""
    return keras.layers.Rescaling(1 / 128, -127 / 128, dtype="float32", name="efficientnet_lite_normalization")
