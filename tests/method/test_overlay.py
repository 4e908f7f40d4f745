"""A heatmap drawn over its image: where it is hot, and nowhere else."""

import numpy as np

from cgc_tf.method.overlay import overlay


def test_overlay():
    """Hot where the heatmap is, untouched where it is zero or does not reach."""
    image = np.full([40, 60, 3], 100, np.uint8)
    heatmap = np.zeros([4, 4])
    heatmap[0, 0] = 2
    drawn = overlay(image, heatmap, (0, 0, 1, 0.5))
    assert drawn.shape == image.shape and drawn.dtype == np.uint8
    assert (drawn[:5, :3] != 100).any() and (drawn[:, 30:] == 100).all() and (drawn[30:] == 100).all()
    np.testing.assert_array_equal(overlay(image, np.zeros([4, 4])), image)
