"""What a sample says of its mean: standard error, bootstrap interval, and differences of pairs."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

RESAMPLES = 2000
AT_ONCE = 2_000_000  # resampled values in memory


def summary(values: ArrayLike, resamples: int = RESAMPLES, seed: int = 0) -> dict | None:
    """Mean of float `[N]` and its uncertainty; values that are NaN do not count.

    Returns:
        None where nothing counts; else a dict: `count`, `mean`, `standard_error` (None of a single value) and
        `interval`, the 2.5th and 97.5th percentile of the means of so many resamples of N, drawn with replacement
        (Efron & Tibshirani, 1993, section 13.3).
    """
    values = np.asarray(values, np.float64)
    values = values[~np.isnan(values)]
    if not len(values):
        return None
    error = float(stats.sem(values)) if len(values) > 1 else None
    interval = _interval(values, resamples, seed)
    return {"count": len(values), "mean": float(np.mean(values)), "standard_error": error, "interval": interval}


def _interval(values, resamples, seed):
    if np.ptp(values) == 0:  # a resample is the sample
        return [float(values[0]), float(values[0])]
    batch = max(1, AT_ONCE // len(values))
    found = stats.bootstrap([values], np.mean, n_resamples=resamples, batch=batch, method="percentile", rng=seed)
    return [float(end) for end in found.confidence_interval]


def balanced_accuracy(labels: ArrayLike, right: ArrayLike, resamples: int = RESAMPLES, seed: int = 0) -> dict:
    """The mean over classes of how often their examples are right, and its uncertainty.

    Args:
        labels: int `[N]`, >= 0.
        right: `[N]`, whether the predictions are.
        resamples: of examples, whatever their class; one without an example of a class leaves it out.
        seed: of the resamples.

    Returns:
        A dict as `summary` gives it.
    """
    labels, right = np.asarray(labels), np.asarray(right, np.float64)

    def mean(chosen):
        counts = np.bincount(labels[chosen])
        sums = np.bincount(labels[chosen], right[chosen])
        return np.mean(sums[counts > 0] / counts[counts > 0])

    places = np.arange(len(labels))
    found = {"count": len(labels), "mean": float(mean(places))}
    if len(labels) < 2:
        return {**found, "standard_error": None, "interval": 2 * [found["mean"]]}
    how = {"vectorized": False, "method": "percentile", "batch": max(1, AT_ONCE // len(labels))}
    drawn = stats.bootstrap([places], mean, n_resamples=resamples, rng=seed, **how)
    interval = [float(end) for end in drawn.confidence_interval]
    return {**found, "standard_error": float(drawn.standard_error), "interval": interval}


def paired(first: ArrayLike, second: ArrayLike, resamples: int = RESAMPLES, seed: int = 0) -> dict | None:
    """The difference second - first of values measured on the same examples; pairs with a NaN do not count.

    Returns:
        None where no pair counts; else `summary` of the differences, with `higher` and `lower`, how many examples
        have the greater and the smaller value in `second`.
    """
    difference = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    found = summary(difference, resamples, seed)
    if found:
        found |= {"higher": int(np.sum(difference > 0)), "lower": int(np.sum(difference < 0))}
    return found
