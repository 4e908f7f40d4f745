"""Whether a model is as often right as it is sure."""

import numpy as np
from numpy.typing import ArrayLike

BINS = 15  # as Guo et al.


def calibration(confidence: ArrayLike, right: ArrayLike) -> dict:
    """The expected calibration error and its reliability curve (Guo et al., "On Calibration of Modern Neural Networks",
    ICML 2017): examples go by confidence into `BINS` bins of equal width, (0, 1/15] to (14/15, 1].

    >>> print(calibration([0.9, 0.9, 0.9, 0.6], [1, 1, 0, 0])["ece"])
    0.325

    Args:
        confidence: float `[N]` in (0, 1], the probabilities of the predicted classes.
        right: `[N]`, whether the predictions are.

    Returns:
        A dict: `confidence`, the mean; `ece`, the mean over examples of |accuracy - confidence| of their bin, in [0,
        1]; and `bins`, those that hold any, dicts of `examples`, mean `confidence` and `accuracy`. ECE is above 0 by
        chance even for a calibrated model, the more the fewer examples there are.
    """
    confidence, right = np.asarray(confidence, np.float64), np.asarray(right, np.float64)
    places = np.clip(np.ceil(confidence * BINS), 1, BINS)
    bins = [_bin(confidence[places == place], right[places == place]) for place in np.unique(places)]
    apart = sum(one["examples"] * abs(one["accuracy"] - one["confidence"]) for one in bins)
    return {"confidence": float(np.mean(confidence)), "ece": float(round(apart / len(right), 12)), "bins": bins}


def _bin(confidence, right):
    return {"examples": len(right), "confidence": float(np.mean(confidence)), "accuracy": float(np.mean(right))}
