"""Every explainer behind the one interface, on models whose explanation is known."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from cgc_tf.evaluation import explainers
from cgc_tf.method import gradcam, metrics
from cgc_tf.method.model import CGCModel

BOX = (slice(8, 24), slice(4, 16))


@pytest.fixture(scope="module")
def oracle():
    """A classifier that looks only inside BOX of 32 x 40 images: its logits are red and green there."""
    images = keras.Input([32, 40, 3])
    window = np.zeros([1, 32, 40, 1], np.float32)
    window[:, *BOX] = 1 / (255 * 16 * 12)
    features = keras.layers.Lambda(lambda x: x * window, name="features")(images)
    pooled = keras.layers.Lambda(lambda x: keras.ops.sum(x, [1, 2])[:, :2])(features)
    trunk = keras.Model(images, features)
    head = keras.Model(features, pooled)
    model = CGCModel(trunk, head)
    model.build([None, 32, 40, 3])
    return model


@pytest.fixture(scope="module")
def scenes():
    return np.random.default_rng(0).integers(60, 200, (3, 32, 40, 3)).astype(np.uint8)


@pytest.mark.parametrize("name", explainers.NAMES)
def test_oracle_is_explained_by_its_box(oracle, scenes, name):
    """A model that looks only inside the box has all of its explanation there: CH 1."""
    heatmaps = explainers.make(name, oracle)(scenes, tf.constant([0, 1, 0]))
    assert heatmaps.dtype == tf.float32 and len(heatmaps.shape) == 3 and heatmaps.shape[0] == 3
    assert np.isfinite(heatmaps).all() and (heatmaps.numpy() >= 0).all()
    region = np.zeros([3, 32, 40], np.float32)
    region[:, *BOX] = 1
    share, valid = metrics.content_heatmap(heatmaps, region)
    assert valid.numpy().all()
    np.testing.assert_allclose(share, 1, atol=1e-5)


@pytest.mark.parametrize("name", explainers.NAMES)
def test_examples_are_not_mixed(oracle, scenes, name):
    """A batch of several classes is what each image gives alone."""
    explain, class_ids = explainers.make(name, oracle), [0, 1, 1]
    together = explain(scenes, tf.constant(class_ids))
    alone = [explain(scenes[i : i + 1], tf.constant(class_ids[i : i + 1]))[0] for i in range(3)]
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("name", explainers.NAMES)
def test_size_after_size(workdir_model, name):
    """An evaluation explains center views and whole images of any size, in any order."""
    explain, rng = explainers.make(name, workdir_model), np.random.default_rng(0)
    scenes = [rng.integers(0, 256, (1, *shape, 3)).astype(np.uint8) for shape in ((48, 48), (48, 64), (80, 48))]
    found = [explain(tf.constant(scene), tf.constant([1])).numpy() for scene in scenes]
    again = explainers.make(name, workdir_model)(tf.constant(scenes[1]), tf.constant([1]))
    np.testing.assert_allclose(found[1], again, rtol=1e-4, atol=1e-6)
    assert len({heatmap.shape for heatmap in found}) == 3


def test_integrated_gradients_add_up(oracle, scenes):
    """Completeness (Sundararajan et al., 2017, proposition 1): attributions sum to the probability's change."""
    red = np.zeros_like(scenes)
    red[..., 0] = scenes[..., 0]  # only one sign of attribution, so that magnitudes sum as well
    heatmaps = explainers.make("integrated_gradients", oracle)(red, tf.zeros([3], tf.int32))
    change = tf.nn.softmax(oracle(red))[:, 0] - tf.nn.softmax(oracle(np.zeros_like(red)))[:, 0]
    np.testing.assert_allclose(tf.reduce_sum(heatmaps, [1, 2]), change, rtol=1e-2)


def test_vanilla_gradients_by_hand(workdir_model, images):
    images, class_ids = tf.constant(images, tf.float32), tf.constant([2, 0])
    gradients = gradients_of(workdir_model, images, class_ids)
    heatmaps = explainers.make("vanilla_gradients", workdir_model)(images, class_ids)
    np.testing.assert_allclose(heatmaps, tf.reduce_sum(tf.abs(gradients), -1), rtol=1e-3, atol=1e-6)
    products = explainers.make("gradients_inputs", workdir_model)(images, class_ids)
    np.testing.assert_allclose(products, tf.reduce_sum(tf.abs(images * gradients), -1), rtol=1e-3, atol=1e-4)


def gradients_of(model, images, class_ids):
    with tf.GradientTape() as tape:
        tape.watch(images)
        chosen = tf.gather(model(images), class_ids, axis=1, batch_dims=1)
    return tape.gradient(chosen, images)


def test_smoothgrad_has_a_seed(workdir_model, images):
    one, again, other = (
        explainers.make("smoothgrad", workdir_model, seed)(images, tf.constant([0, 1])) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other)


def test_unknown_explainer(oracle):
    with pytest.raises(ValueError, match=r"an explainer is one of hirescam, .* Received: lime"):
        explainers.make("lime", oracle)


def test_names_cover_every_cam():
    assert set(gradcam.CAMS) < set(explainers.NAMES)


@pytest.fixture(scope="module")
def workdir_model(workdir, small_config):
    from cgc_tf.training import run_folder

    return run_folder.trained_model(small_config, workdir)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).integers(0, 256, (2, 48, 48, 3)).astype(np.uint8)
