"""Runs that keep part of the weights they start from: what stays, what is trained, and going on in the middle."""

import dataclasses
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf

from cgc_tf.common.errors import Stopped, UserError
from cgc_tf.data import batches, load
from cgc_tf.training import checkpoints, optimizers, run_folder, train
from cgc_tf.training.new_model import NewModel
from cgc_tf.training.state import TRAINED


@pytest.fixture(scope="module")
def settings(small_config, workdir):
    """Three steps of everything that may have to do with frozen weights."""
    used = {"ema_momentum": 0.5, "head_learning_rate": 0.02, "weight_decay": 0.01, "epochs": 1}
    return dataclasses.replace(small_config, weights=str(workdir), freeze="stages", **used)


@pytest.fixture(scope="module")
def trained(settings, tmp_path_factory):
    return train.train(settings, tmp_path_factory.mktemp("frozen") / "run")


def differences(ours, theirs):
    """{(whether it belongs to the last stage or the head, its name): whether any changed}, of two models."""
    found = {}
    for one, other in zip(ours.weights, theirs.weights, strict=True):
        key = ("stack2" in one.path or "classifier" in one.path, one.name)
        found.setdefault(key, []).append(bool(np.any(np.array(one) != np.array(other))))
    return found


@pytest.mark.slow
def test_frozen_weights_and_statistics_stay_and_all_others_are_trained(settings, trained, small_config, workdir):
    before = run_folder.trained_model(small_config, workdir)
    after = run_folder.trained_model(settings, trained)
    names = {"kernel", "gamma", "beta", "moving_mean", "moving_variance"}
    found = differences(before, after)
    assert {name for is_last, name in found if not is_last} == names
    assert {name for is_last, name in found if is_last} == names | {"bias"}
    for (is_last, name), changed in found.items():
        assert all(changed) if is_last else not any(changed), (is_last, name)


@pytest.mark.slow
def test_goes_on_in_the_middle_to_the_same_bits(settings, trained, tmp_path):
    def stop(batch, logs):
        if batch == 0:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Stopped):
        train.train(settings, tmp_path / "run", own_callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=stop)])
    assert checkpoints.find(tmp_path / "run").position.step in (1, 2)
    train.train(settings, tmp_path / "run")
    whole, resumed = (checkpoints.find(folder).state for folder in (trained, tmp_path / "run"))
    assert whole.keys() == resumed.keys() and {name.split("/")[0] for name in whole} > set(TRAINED)
    for name, array in whole.items():
        np.testing.assert_array_equal(array, resumed[name], err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("freeze", ["none", "backbone"])
def test_a_frozen_runs_averages_are_what_another_run_starts_from(freeze, settings, trained):
    """Whatever that one freezes itself."""
    expected = run_folder.trained_model(settings, trained)
    started = NewModel(dataclasses.replace(settings, weights=str(trained), freeze=freeze)).with_classes(3)
    for ours, theirs in zip(started.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.sampled
@pytest.mark.parametrize("freeze", ["stages", "backbone"])
@pytest.mark.parametrize("explain_layer", ["", "stack1_block0_out"])
def test_the_consistency_terms_gradient_reaches_what_is_trained(freeze, explain_layer, settings):
    model = NewModel(dataclasses.replace(settings, freeze=freeze, explain_layer=explain_layer)).with_classes(3)
    source = load.load_dataset("folder", settings.data_dir)
    (batch,) = batches.training_batches(source, 48, 8, 0, 1)
    with tf.GradientTape() as tape:
        _, consistency, _ = model._terms(batch)
        loss = tf.reduce_mean(consistency)
    variables = [v for v in model.trainable_variables if v.name == "kernel"]
    assert len(variables) == {"stages": 4, "backbone": 1}[freeze]
    gradients = tape.gradient(loss, variables)
    for variable, gradient in zip(variables, gradients, strict=True):
        assert np.abs(gradient).max() > 1e-6, variable.path
    optimizers.compile_model(model, settings, 3)  # the backbone's own may have nothing to do
    before = np.array(variables[-1])
    model.optimizer.apply([tf.ones_like(weight) for weight in model.trainable_variables], model.trainable_variables)
    assert np.all(before != variables[-1])


def test_random_weights_are_not_frozen(small_config):
    with pytest.raises(UserError, match=r"^--freeze=stages would keep what --weights=none draws at random: start from"):
        NewModel(dataclasses.replace(small_config, freeze="stages"))
