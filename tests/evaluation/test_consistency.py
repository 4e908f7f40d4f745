"""Consistency on groups of a fixed size, whatever the batches."""

import numpy as np
import pytest
import tensorflow as tf

from cgc_tf.evaluation import consistency
from cgc_tf.method import geometry, losses


def heatmaps(count):
    rng = np.random.default_rng(0)
    transform = np.stack([geometry.draw_transform([0, i], 32) for i in range(count)])
    return rng.random((2, count, 3, 3), np.float32), transform


def scored(batch_size, count=70):
    (original, augmented), transform = heatmaps(count)
    values, found = consistency.Consistency(32), {}
    for start in range(0, count, batch_size):
        part = slice(start, start + batch_size)
        for rows, columns in values.add(np.arange(count)[part], original[part], augmented[part], transform[part]):
            found |= {row: (columns["consistency"][i], columns["retrieval_rank"][i]) for i, row in enumerate(rows)}
        assert len(values._waiting[0]) < consistency.GROUP  # what is held does not grow
    for rows, columns in values.finish():
        assert len(rows) == count % consistency.GROUP
        found |= {row: (columns["consistency"][i], columns["retrieval_rank"][i]) for i, row in enumerate(rows)}
    return np.array([found[row] for row in range(count)])


@pytest.mark.parametrize("batch_size", [5, 32, 64])
def test_batch_size_does_not_matter(batch_size):
    np.testing.assert_allclose(scored(batch_size), scored(70), rtol=1e-5)


def test_against_the_loss():
    """A rank is where the contrastive loss' positive stands among its negatives; the last group is a full one."""
    (original, augmented), transform = heatmaps(70)
    found = scored(10)
    for start in (0, 32, 38):
        group = slice(start, start + 32)
        parts = original[group], augmented[group], transform[group]
        positive, pairs = (part.numpy() for part in losses.similarities(*parts, (32, 32)))
        above = np.array([sum(pairs[i, j] > positive[i] for j in range(32) if j != i) for i in range(32)])
        new = slice(26, 32) if start == 38 else slice(0, 32)
        np.testing.assert_allclose(found[group][new, 0], positive[new], rtol=1e-5)
        np.testing.assert_allclose(found[group][new, 1], 1 + above[new])


def test_a_perfectly_consistent_pair():
    """T the identity and the same heatmap twice: cosine 1, and no other is closer."""
    maps = tf.eye(9, batch_shape=[1])[0]
    maps = tf.reshape(maps, [9, 3, 3])
    whole = np.tile([0, 0, 32, 32, 0], [9, 1])
    values = consistency.Consistency(32)
    assert not list(values.add(np.arange(9), maps, maps, whole))
    ((_, columns),) = values.finish()
    np.testing.assert_allclose(columns["consistency"], 1, atol=1e-5)
    np.testing.assert_array_equal(columns["retrieval_rank"], 1)


def test_a_heatmap_that_shows_nothing_is_not_consistent():
    """Nor does it rank first: every other is as far from it."""
    (original, augmented), transform = heatmaps(32)
    original[0] = augmented[0] = 0
    ((_, columns),) = consistency.Consistency(32).add(np.arange(32), original, augmented, transform)
    assert columns["consistency"][0] == 0 and np.all(columns["consistency"][1:] > 0)
    assert columns["retrieval_rank"][0] == 1 + 31 / 2
