"""Made `heatmaps.npz` beside it, with torch 2.14.1, timm 1.0.31 and grad-cam 1.5.7: pip install torch timm grad-cam.

A vision transformer of random weights and its heatmaps as pytorch-grad-cam makes them: of the last block's first
normalization, its class token left out. The images are oblong: 4 x 6 patches of 8 pixels. Weights are stored in the
order of KerasHub's `ViTBackbone`.
"""

import pathlib

import numpy as np
import timm
import torch
from pytorch_grad_cam import GradCAM, HiResCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

ROWS, COLUMNS, WIDTH, HEADS = 4, 6, 16, 2


def places(tokens):
    """pytorch-grad-cam's `reshape_transform`: `[B, n, C]` -> `[B, C, h, w]`."""
    return tokens[:, 1:].reshape(len(tokens), ROWS, COLUMNS, WIDTH).permute(0, 3, 1, 2)


def of_attention(name, state):
    """Query's, key's and value's kernels and biases, and the output's, as Keras has them."""
    kernels, biases = state[f"{name}.qkv.weight"].reshape(3, HEADS, -1, WIDTH), state[f"{name}.qkv.bias"]
    for kernel, bias in zip(kernels, biases.reshape(3, HEADS, -1), strict=True):
        yield from (kernel.permute(2, 0, 1), bias)
    yield from (state[f"{name}.proj.weight"].T.reshape(HEADS, -1, WIDTH), state[f"{name}.proj.bias"])


def in_order(state):
    """All weights, the classifier's last."""
    yield from (
        state["cls_token"],
        state["patch_embed.proj.weight"].permute(2, 3, 1, 0),
        state["patch_embed.proj.bias"],
    )
    yield state["pos_embed"][0]
    for block in ("blocks.0", "blocks.1"):
        yield from (state[f"{block}.norm1.weight"], state[f"{block}.norm1.bias"], *of_attention(f"{block}.attn", state))
        yield from (state[f"{block}.norm2.weight"], state[f"{block}.norm2.bias"])
        for layer in ("fc1", "fc2"):
            yield from (state[f"{block}.mlp.{layer}.weight"].T, state[f"{block}.mlp.{layer}.bias"])
    yield from (state["norm.weight"], state["norm.bias"], state["head.weight"].T, state["head.bias"])


torch.manual_seed(0)
model = timm.models.VisionTransformer(
    img_size=(8 * ROWS, 8 * COLUMNS), patch_size=8, embed_dim=WIDTH, depth=2, num_heads=HEADS, num_classes=3
).eval()
for parameter in model.parameters():
    parameter.data = torch.randn_like(parameter) * (0.5 if parameter.ndim > 1 else 1.0)
model.head.weight.data *= 10
images = np.random.default_rng(0).integers(0, 256, (3, 8 * ROWS, 8 * COLUMNS, 3), np.uint8)
inputs = torch.tensor(images / 255, dtype=torch.float32).permute(0, 3, 1, 2)
found = {"images": images, "class_ids": np.array([0, 1, 1]), "logits": model(inputs).detach().numpy()}
for kind in (HiResCAM, GradCAM):
    with kind(model, [model.blocks[-1].norm1], reshape_transform=places) as cam:
        targets = [ClassifierOutputTarget(int(index)) for index in found["class_ids"]]
        cam(inputs, targets)  # scaled to the images' size and range; what is kept is before that
        maps = [cam.activations_and_grads.activations[0].numpy(), cam.activations_and_grads.gradients[0].numpy()]
        found[kind.__name__.lower()] = np.maximum(
            cam.get_cam_image(inputs, cam.target_layers[0], targets, *maps, False), 0
        )
weights = {f"weight_{index:02d}": weight.numpy() for index, weight in enumerate(in_order(model.state_dict()))}
np.savez_compressed(pathlib.Path(__file__).with_name("heatmaps.npz"), **found, **weights)
