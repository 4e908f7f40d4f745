"""What a sample says of its mean: standard error, bootstrap interval, and differences of pairs."""

import numpy as np

RESAMPLES = 2000


def summary(values, resamples=RESAMPLES, seed=0):
    """Mean and its uncertainty; values that are NaN do not count.

    Args:
        values: float `[N]`.
        resamples: how many samples of N, with replacement, the interval is read from.
        seed: of the resampling.

    Returns:
        None where nothing counts; else a dict: `count`, `mean`, `standard_error` (None of a single value) and
        `interval`, the 2.5th and 97.5th percentile of the resampled means (Efron & Tibshirani, 1993, section 13.3).
    """
    values = np.asarray(values, np.float64)
    values = values[~np.isnan(values)]
    if not len(values):
        return None
    error = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    rng = np.random.default_rng(seed)
    means = [np.mean(values[rng.integers(0, len(values), len(values))]) for _ in range(resamples)]
    return {
        "count": len(values),
        "mean": float(np.mean(values)),
        "standard_error": error,
        "interval": [float(end) for end in np.percentile(means, [2.5, 97.5])],
    }


def paired(first, second, resamples=RESAMPLES, seed=0):
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
