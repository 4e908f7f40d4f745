"""KerasHub's vision transformers by name, built for one image size, since they know places by their number."""

import math

import keras
import numpy as np

from cgc_tf.common.errors import UserError

# size: (blocks, width, heads). `mini` is ours: for small pictures, and in patches of 8 pixels.
VIT = {"mini": (4, 64, 4), "tiny": (12, 192, 3), "small": (12, 384, 6), "base": (12, 768, 12), "large": (24, 1024, 16)}
# size: (width, blocks, heads, window)
SWIN = {
    "tiny": (96, (2, 2, 6, 2), (3, 6, 12, 24), 7),
    "small": (96, (2, 2, 18, 2), (3, 6, 12, 24), 7),
    "base": (128, (2, 2, 18, 2), (4, 8, 16, 32), 7),
    "large": (192, (2, 2, 18, 2), (6, 12, 24, 48), 7),
}
CLASSES = {
    "vit": "ViTBackbone",
    "deit": "DeiTBackbone",
    "dinov2": "DINOV2Backbone",
    "swin": "SwinTransformerBackbone",
}
NAMES = (
    *(f"vit_{size}" for size in VIT),
    *(f"deit_{size}" for size in ("tiny", "small", "base")),
    *(f"dinov2_{size}" for size in ("small", "base", "large")),
    *(f"swin_{size}" for size in SWIN),
)
# What KerasHub has of ImageNet in patches of 16 pixels, or of 4 and windows of 7, at 224.
IMAGENET = {
    **{f"vit_{size}": f"vit_{size}_patch16_224_imagenet" for size in ("base", "large")},
    **{f"deit_{size}": f"deit_{size}_distilled_patch16_224_imagenet" for size in ("tiny", "small", "base")},
    **{f"swin_{size}": f"swin_{size}_patch4_window7_224" for size in SWIN},
}


def build(name: str, image_size: int) -> keras.Model:
    """A transformer of `NAMES` with new weights: images `[B, S, S, 3]` -> tokens `[B, n, C]`, normalized.

    They are KerasHub's own layers. Where its backbone cannot be written to a file, they are put together here.

    Raises:
        UserError: the images cannot be divided into its patches.
    """
    family, size = name.split("_")
    stride = {"dinov2": 14, "swin": 32}.get(family, 8 if size == "mini" else 16)
    window = SWIN[size][3] if family == "swin" else 1
    if image_size % stride or image_size < window * stride:
        least = f" and {window * stride} or more" if window > 1 else ""
        raise UserError(f"--image_size={image_size} does not fit {name}: it should be a multiple of {stride}{least}")
    images = keras.Input((image_size, image_size, 3), name="pixels")
    if family == "swin":
        return keras.Model(images, _swin(images, *SWIN[size]), name=name)
    return keras.Model(images, _vit(images, family, stride, *VIT[size]), name=name)


def _vit(images, family, patch, blocks, width, heads):
    from keras_hub.src.models.deit.deit_layers import DeiTEmbeddings
    from keras_hub.src.models.dinov2.dinov2_layers import DINOV2Encoder
    from keras_hub.src.models.vit.vit_layers import ViTEncoder, ViTPatchingAndEmbedding

    embedding = DeiTEmbeddings if family == "deit" else ViTPatchingAndEmbedding
    tokens = embedding(tuple(images.shape[1:3]), (patch, patch), width, name="embedding")(images)
    if family != "dinov2":
        return ViTEncoder(blocks, heads, width, 4 * width, name="encoder")(tokens)
    tokens, _ = DINOV2Encoder(blocks, width, heads, 4 * width, name="encoder")(tokens)
    return keras.layers.LayerNormalization(epsilon=1e-6, name="norm")(tokens)


def _swin(images, width, blocks, heads, window):
    from keras_hub.src.models.swin_transformer.swin_transformer_layers import PatchMerging, SwinTransformerStage

    patches = keras.layers.Conv2D(width, 4, strides=4, name="patches")(images)
    tokens = keras.layers.Reshape((-1, width), name="tokens")(patches)
    tokens = keras.layers.LayerNormalization(epsilon=1e-5, name="patch_norm")(tokens)
    for index, (depth, count) in enumerate(zip(blocks, heads, strict=True)):
        tokens = SwinTransformerStage(
            dim=width * 2**index,
            depth=depth,
            num_heads=count,
            window_size=window,
            downsample=PatchMerging if index < len(blocks) - 1 else None,
            input_resolution=tuple(side // 2**index for side in patches.shape[1:3]),
            name=f"stage_{index}",
        )(tokens)
    return keras.layers.LayerNormalization(epsilon=1e-5, name="norm")(tokens)


def imagenet(name: str) -> str:
    """The preset that `--weights=imagenet` means for a transformer; raises `UserError` if there is none."""
    if name not in IMAGENET:
        raise UserError(f"--backbone={name} has no ImageNet weights here; choose --weights=none, a preset or a run")
    return IMAGENET[name]


def is_twin(backbone: keras.Model, network: keras.Model) -> bool:
    """Whether `build` has made a network after the class that a backbone of KerasHub's is of."""
    return network.name in NAMES and type(backbone).__name__ == CLASSES[network.name.split("_")[0]]


def weights_of(backbone: keras.Model, network: keras.Model) -> list[np.ndarray]:
    """The weights of a backbone of KerasHub's in the order of the same network here, positions at its image size."""
    weights = list(backbone.weights)
    if type(backbone).__name__ == CLASSES["dinov2"]:
        embedding = backbone.embeddings
        weights = [embedding.cls_token, *embedding.patch_embeddings.weights, embedding.position_embeddings]
        weights += [*backbone.encoder.weights, *backbone.layernorm.weights]
    arrays = [weight.numpy() for weight in weights]
    for index, (weight, own) in enumerate(zip(weights, network.weights, strict=False)):
        if "position_embedding" in weight.path:
            resized = resized_positions(arrays[index], own.shape[-2])
            arrays[index] = resized.reshape(*own.shape[:-2], *resized.shape[-2:])
    return arrays


def resized_positions(positions: np.ndarray, count: int) -> np.ndarray:
    """Position embeddings `[..., n, C]` of a square grid for one of `count` tokens, bicubic, as DINOv2 has it.

    Those of class and distillation tokens, which come first, stay as they are.
    """
    old, channels = positions.shape[-2:]
    if old == count:
        return positions
    others, side = old - math.isqrt(old) ** 2, math.isqrt(old)
    new = math.isqrt(count - others)
    tokens = positions.reshape(old, channels)
    grid = tokens[others:].reshape(side, side, channels)
    grid = keras.ops.convert_to_numpy(keras.ops.image.resize(grid, (new, new), interpolation="bicubic"))
    return np.concatenate([tokens[:others], grid.reshape(new * new, channels)])
