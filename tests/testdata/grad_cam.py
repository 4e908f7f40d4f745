"""Made grad_cam.npz with PyTorch's grad-cam 1.5.7 and torch 2.14: python tests/testdata/grad_cam.py.

The two are installed nowhere else: python -m venv ENV; ENV/bin/pip install grad-cam torch.
"""

import pathlib

import numpy as np
import torch
from pytorch_grad_cam import EigenCAM, FinerCAM, ScoreCAM
from pytorch_grad_cam.metrics.perturbation_confidence import (
    PerturbationConfidenceMetric,
    RemoveLeastRelevantFirst,
    RemoveMostRelevantFirst,
)
from pytorch_grad_cam.metrics.road import NoisyLinearImputer
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget, SoftmaxOutputTarget
from torch import nn

HERE = pathlib.Path(__file__).parent
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


class Head(nn.Module):
    """Largest values of the features, a hidden layer, logits."""

    def __init__(self):
        super().__init__()
        self.hidden, self.classifier = nn.Linear(9, 7), nn.Linear(7, 6)

    def forward(self, features):
        return self.classifier(torch.relu(self.hidden(features.amax((2, 3)))))


class Mirrored(nn.Module):
    """Features beside their negative: their mean is zero, so that EigenCAM's centering changes nothing."""

    def forward(self, features):
        return torch.cat([features, -features], -1)


def upsampling(size):
    """Half-pixel centers, as the code of Score-CAM's authors has it; the library's has aligned corners."""
    return nn.Upsample(size=size, mode="bilinear", align_corners=False)


def heatmap(cam, images, layer, targets):
    """What a CAM makes before it is scaled to 0..1 and to the image."""
    stored = cam.activations_and_grads
    both = stored.activations, stored.gradients
    features, gradients = (parts[0].detach().numpy() if parts else None for parts in both)
    found = cam.get_cam_image(images, layer, targets, features, gradients, False)[0]
    stored.release()
    return found


class Probability(SoftmaxOutputTarget):
    """Of one class."""

    def __init__(self, class_id):
        self.class_id = class_id

    def __call__(self, logits):
        return super().__call__(logits)[..., self.class_id]


def road(network, images, class_ids):
    """Saliency without ties, and the class's probabilities with 10, 20, 30, 40, 50, 70 and 90 percent imputed."""
    count, _, height, width = images.shape
    ranks = np.random.default_rng(1).permuted(np.tile(np.arange(height * width), (count, 1)), axis=1)
    saliency = (ranks.reshape(count, height, width) / (height * width)).astype(np.float32)
    found, targets = {"road_saliency": saliency}, [Probability(class_id) for class_id in class_ids.tolist()]
    for name, remove in ("most", RemoveMostRelevantFirst), ("least", RemoveLeastRelevantFirst):
        kept = (100 - removed for removed in (10, 20, 30, 40, 50, 70, 90))
        metrics = [PerturbationConfidenceMetric(remove(percentile, NoisyLinearImputer(noise=0))) for percentile in kept]
        scores = [metric(images, saliency, targets, network, return_diff=False) for metric in metrics]
        found[f"road_{name}_first"] = np.stack(scores, 1)
    return found


def values():
    """Images, a tiny network's weights in the layout of Keras, three heatmaps of each image, and ROAD."""
    torch.manual_seed(0)
    torch.nn.UpsamplingBilinear2d = upsampling
    blocks = np.random.default_rng(0).integers(0, 256, (3, 5, 6, 3))
    images = blocks.repeat(4, 1).repeat(4, 2)[:, :19, :23].astype(np.uint8)
    trunk = [nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(), nn.Conv2d(6, 9, 3), nn.ReLU()]
    network = nn.Sequential(*trunk, Head())
    mirrored = nn.Sequential(*trunk, Mirrored(), network[-1])
    weights = list(network.parameters())
    with torch.no_grad():
        for weight in weights:
            weight.mul_(2)
    normalized = torch.tensor((images / 255 - MEAN) / STD, dtype=torch.float32).permute(0, 3, 1, 2).contiguous()
    logits = network(normalized).detach().numpy()
    class_ids = logits.argmax(1) + np.array([0, 2, 0])  # one that is not predicted
    found = {"finercam": [], "scorecam": [], "eigencam": []}
    for image, class_id in zip(normalized[:, None], class_ids.tolist(), strict=True):
        target, layer = [ClassifierOutputTarget(class_id)], network[3]
        cam = FinerCAM(network, [layer])
        cam(image, target_idx=class_id)
        found["finercam"].append(np.maximum(heatmap(cam.base_cam, image, layer, target), 0))
        cam = ScoreCAM(network, [layer])
        cam(image, targets=target)
        found["scorecam"].append(np.maximum(heatmap(cam, image, layer, target), 0))
        cam = EigenCAM(mirrored, [mirrored[4]])
        cam(image, targets=target)
        found["eigencam"].append(heatmap(cam, image, mirrored[4], target)[:, :9])  # the features' own half; any sign
    weights = [weight.detach().numpy() for weight in weights]
    weights = [weight.transpose(2, 3, 1, 0) if weight.ndim > 2 else weight.T for weight in weights]
    named = {f"weight{place}": weight for place, weight in enumerate(weights)}
    found |= road(network, normalized[:, :, :18, :20], class_ids)  # of which each tenth is whole pixels
    return {"images": images, "class_ids": class_ids, "logits": logits, **named, **found}


if __name__ == "__main__":
    np.savez_compressed(HERE / "grad_cam.npz", **values())
