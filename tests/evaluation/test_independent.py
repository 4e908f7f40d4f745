"""The measures against independent implementations, where those are installed; they want an older TensorFlow.

pip install --no-deps --target=SITE quantus xplique, and what their import asks for; then PYTHONPATH=SITE.
"""

import numpy as np
import pytest
import tensorflow as tf

from cgc_tf.evaluation import curves
from cgc_tf.method import metrics

SIDE, CLASSES = 28, 3


@pytest.fixture(scope="module")
def case():
    """Images, heatmaps without equal values, class ids, and a small classifier's probabilities."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, SIDE, SIDE, 3)).astype(np.float32)
    weights = rng.normal(0, 1e-4, (SIDE * SIDE * 3, CLASSES)).astype(np.float32)
    heatmaps = rng.permuted(np.tile(np.arange(SIDE * SIDE, dtype=np.float32), (6, 1)), axis=1)

    def probabilities(pictures):
        return tf.nn.softmax(tf.reshape(pictures, [-1, len(weights)]) @ weights)

    return images, heatmaps.reshape(6, SIDE, SIDE), np.arange(6) % CLASSES, probabilities


def test_content_heatmap_is_relevance_mass_accuracy(case):
    quantus = pytest.importorskip("quantus")
    images, heatmaps, class_ids, _ = case
    region = np.zeros([6, SIDE, SIDE], np.float32)
    region[:, 3:15, 8:20] = 1
    mass = quantus.RelevanceMassAccuracy(disable_warnings=True)
    pictures = {"x_batch": images.transpose(0, 3, 1, 2), "a_batch": heatmaps[:, None], "s_batch": region[:, None] > 0}
    expected = mass(model=None, y_batch=class_ids, **pictures)
    np.testing.assert_allclose(metrics.content_heatmap(heatmaps, region)[0], expected, rtol=1e-5)


@pytest.mark.parametrize("kind", curves.SUBSTRATES)
@pytest.mark.parametrize("name", ["insertion", "deletion"])
def test_curves_are_causal_fidelity(case, name, kind):
    causal = pytest.importorskip("xplique.metrics")
    images, heatmaps, class_ids, probabilities = case
    method = {"insertion": causal.Insertion, "deletion": causal.Deletion}[name]
    end = "zero" if (name, kind) == ("deletion", "blur") else kind
    theirs = method(
        None,
        images,
        tf.one_hot(class_ids, CLASSES).numpy(),
        baseline_mode=lambda x: curves.substrate(end, x).numpy(),
        steps=curves.STEPS,
        operator=lambda _, x, targets: tf.reduce_sum(probabilities(x) * targets, -1),
    )
    found = getattr(curves, name)(probabilities, tf.constant(images), heatmaps, class_ids, kind)
    expected = list(theirs.detailed_evaluate(heatmaps).values())  # the mean over the images
    np.testing.assert_allclose(tf.reduce_mean(found, 0), expected, atol=1e-5)
    np.testing.assert_allclose(tf.reduce_mean(curves.area_under(found)), theirs.evaluate(heatmaps), atol=1e-5)
