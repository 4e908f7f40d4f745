"""How consistent heatmaps are on unseen examples: what CGC trains, measured in groups of a fixed size."""

import numpy as np

from cgc_tf.method import losses, metrics

GROUP = 32  # examples that are each other's negatives, whatever the batch size


class Consistency:
    """Collects heatmaps in the order they come, and scores them group by group; holds two groups at most.

    The last group is filled up with examples of the one before, which are not scored again, so that ranks compare.

    Args:
        size: the side of the views in pixels.
    """

    def __init__(self, size):
        self._size = (size, size)
        self._before, self._waiting = None, None

    def add(self, positions, original, augmented, transform):
        """Takes g(x) and g(T x) `[B, h, w]`, T `[B, 5]` and the examples' positions.

        Yields `(positions, {"consistency": ..., "retrieval_rank": ...})` of each group that is complete. The
        consistency of a heatmap that is all zero, or of which T leaves nothing, is 0 (see `losses.agreement`).
        """
        batch = [np.asarray(part) for part in (positions, original, augmented, transform)]
        self._waiting = batch if self._waiting is None else _join(self._waiting, batch)
        while len(self._waiting[0]) >= GROUP:
            self._before = [part[:GROUP] for part in self._waiting]
            self._waiting = [part[GROUP:] for part in self._waiting]
            yield self._score(self._before, GROUP)

    def finish(self):
        """Yields the score of the examples that no group has yet."""
        if self._waiting is not None and (new := len(self._waiting[0])):
            group = self._waiting if self._before is None else _join(self._before, self._waiting)
            yield self._score([part[-GROUP:] for part in group], new)

    def _score(self, group, new):
        positions, original, augmented, transform = group
        positive, pairs = losses.agreement(original, augmented, transform, self._size)
        rank = metrics.retrieval_rank(positive, pairs)
        return positions[-new:], {"consistency": positive.numpy()[-new:], "retrieval_rank": rank.numpy()[-new:]}


def _join(first, second):
    return [np.concatenate(parts) for parts in zip(first, second, strict=True)]
