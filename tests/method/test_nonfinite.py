"""Steps that are not finite: they change nothing, are counted by their term, and stop a run that has no others."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from cgc_tf.common.errors import UserError
from cgc_tf.method import geometry, nonfinite
from cgc_tf.training import checkpoints, optimizers, train
from cgc_tf.training.new_model import NewModel
from cgc_tf.training.state import state_of

SIZE = 48


@pytest.fixture(scope="module")
def model(small_config):
    model = NewModel(small_config).with_classes(3)
    optimizers.compile_model(model, small_config, 5)
    return model


def fit(model, broken="", value=np.nan):
    """One step on a batch, a value of one of its views broken; returns the steps left out for each term, and in all."""
    rng = np.random.default_rng(0)
    views = {
        view: rng.integers(0, 256, (4, SIZE, SIZE, 3)).astype(np.float32) for view in ("ce", "original", "augmented")
    }
    if broken:
        views[broken][1, 2, 3] = value
    transform = np.stack([geometry.draw_transform([2, index], SIZE) for index in range(4)])
    batch = {**views, "transform": transform, "label": np.array([0, 1, 2, 0], np.int32)}
    history = model.fit(tf.data.Dataset.from_tensors(batch), shuffle=False, verbose=0).history
    assert all(np.isfinite(values).all() for values in history.values())
    return model.faults.counts.numpy().tolist()


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["ce", "augmented"])
def test_a_step_that_is_not_finite_changes_nothing(broken, model):
    """Neither weights nor statistics of batch normalization, nor momenta, nor the number of iterations."""
    assert fit(model) == [0, 0, 0, 0]
    before = state_of(model)
    assert fit(model, broken)[2:] == [1, 1]  # a ReLU may hide NaN from the losses, never from the gradient
    for name, array in state_of(model).items():
        if not name.startswith("metrics/"):
            np.testing.assert_array_equal(array, before[name], err_msg=name)
    assert fit(model) == [0, 0, 0, 0]
    assert any(not np.array_equal(array, before[name]) for name, array in state_of(model).items())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_each_term_is_told_apart(value):
    good, bad = tf.ones([2]), tf.constant([1.0, value])
    assert nonfinite.all_finite(bad, good, [good, good]).numpy().tolist() == [False, True, True]
    assert nonfinite.all_finite(good, bad, [good, good]).numpy().tolist() == [True, False, True]
    assert nonfinite.all_finite(good, good, [good, bad]).numpy().tolist() == [True, True, False]


def test_loss_scaling_is_told_on_every_replica_of_what_one_has_seen():
    """Keras' asks the first replica alone; so gradients that were finite here must not look so."""
    gradients, finite = nonfinite.left_to_loss_scaling([tf.ones([2])], tf.constant([True, True, False]))
    assert np.isnan(gradients[0]).all() and finite.numpy().all()
    gradients, _ = nonfinite.left_to_loss_scaling([tf.ones([2])], tf.constant([True, True, True]))
    np.testing.assert_array_equal(gradients[0], 1)


@pytest.mark.slow
def test_a_run_of_nothing_else_stops_and_says_what_to_try(small_config, tmp_path):
    settings = dataclasses.replace(small_config, learning_rate=1e30, schedule="constant", nan_steps=1)
    message = (
        r"the cross-entropy was not finite in the last 1 steps, up to epoch 1, step \d, at learning rate 1e\+30; they "
        r"changed nothing, and the state of before is saved\. Try a lower --learning_rate"
    )
    with pytest.raises(UserError, match=message):
        train.train(settings, tmp_path / "run")
    assert checkpoints.find(tmp_path / "run").position.step > 1
    state = checkpoints.find(tmp_path / "run").state
    assert all(np.isfinite(array).all() for array in state.values())


@pytest.mark.slow
def test_a_run_that_skips_them_goes_on_and_says_so(small_config, tmp_path, capsys):
    settings = dataclasses.replace(
        small_config, learning_rate=1e30, schedule="constant", nan_steps=1, on_nan="skip", epochs=1
    )
    train.train(settings, tmp_path / "run")
    assert "steps were left out, since they were not finite: cross-entropy in" in capsys.readouterr().out
