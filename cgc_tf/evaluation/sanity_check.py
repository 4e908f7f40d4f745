"""Adebayo's sanity check: an explanation that outlives its network's weights does not explain the network."""

import numpy as np
from scipy import stats
from tqdm import tqdm


def check(model, explain, images, class_ids, seed=0):
    """Shuffles the kernels of a `CGCModel`, layer after layer from the logits down, and follows the heatmaps.

    Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018, section 3 (cascading randomization); the values
    of each kernel are shuffled, so that its distribution stays. The weights are put back afterwards.

    `explain` is an explainer of that model (see `explainers`), which takes the images and classes throughout.

    Returns:
        A list of dicts, one for each layer from the top: `layer`, its name, and `spearman`, the mean rank correlation
        of heatmaps before and after; None where no heatmap is left to compare, all being constant.
    """
    layers = [layer for part in (model.trunk, model.head) for layer in part._flatten_layers(include_self=False)]
    kernels = [(layer.name, w) for layer in layers for w in layer._trainable_variables if len(w.shape) > 1]
    stored = [kernel.numpy() for _, kernel in kernels]
    before = np.asarray(explain(images, class_ids))
    rng, found = np.random.default_rng(seed), []
    try:
        for name, kernel in tqdm(kernels[::-1], "shuffling weights", unit="layer", disable=None):
            kernel.assign(rng.permutation(kernel.numpy().ravel()).reshape(kernel.shape))
            after = np.asarray(explain(images, class_ids))
            pairs = [(a.ravel(), b.ravel()) for a, b in zip(before, after, strict=True) if np.ptp(a) and np.ptp(b)]
            values = [float(stats.spearmanr(a, b).statistic) for a, b in pairs]
            found.append({"layer": name, "spearman": float(np.mean(values)) if values else None})
    finally:
        for (_, kernel), values in zip(kernels, stored, strict=True):
            kernel.assign(values)
    return found
