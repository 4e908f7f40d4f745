"""Schedules by hand, and what a configuration makes of Keras' optimizers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from cgc_tf.common.errors import UserError
from cgc_tf.training import config, optimizers


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"schedule": "constant"}, {0: 0.1, 99: 0.1}),
        ({"schedule": "step"}, {0: 0.1, 33: 0.1, 34: 0.01, 67: 0.001, 99: 0.001}),
        ({"schedule": "step", "step_epochs": (2.0, 5.0), "step_factor": 0.2}, {0: 0.1, 20: 0.1, 21: 0.02, 51: 0.004}),
        ({"schedule": "constant", "warmup_epochs": 2.0}, {0: 0.0, 10: 0.05, 20: 0.1, 99: 0.1}),
        ({"schedule": "step", "warmup_epochs": 2.0}, {0: 0.0, 10: 0.05, 20: 0.1, 33: 0.1, 34: 0.01, 99: 0.001}),
        ({"schedule": "cosine"}, {0: 0.1, 50: 0.05, 100: 0.0}),
        ({"schedule": "cosine", "warmup_epochs": 2.0}, {0: 0.0, 10: 0.05, 20: 0.1, 60: 0.05, 100: 0.0}),
    ],
)
def test_schedules(settings, expected):
    rate = optimizers.learning_rate(config.Config(epochs=10, **settings), 10, peak=0.1)
    for step, value in expected.items():
        np.testing.assert_allclose(rate(step), value, atol=1e-6, err_msg=f"step {step}")


def test_a_run_that_is_all_warm_up_has_a_schedule():
    rate = optimizers.learning_rate(config.Config(epochs=1, warmup_epochs=0.9), 2, peak=0.1)
    np.testing.assert_allclose([rate(0), rate(1)], [0, 0.1], atol=1e-6)


def test_optimizers_are_saved_whole():
    """Schedule, clipping and both rates, for `model.save`."""
    settings = config.Config(epochs=9, schedule="step", warmup_epochs=1, clip_norm=2.0, head_learning_rate=0.5)
    made = optimizers.make_optimizer(settings, 10, head=[layers()["bias"]])
    again = keras.optimizers.deserialize(keras.optimizers.serialize(made))
    assert again.global_clipnorm == 2.0 and [x.global_clipnorm for x in again.optimizers] == [None, None]
    for ours, theirs in zip(again.optimizers, made.optimizers, strict=True):
        np.testing.assert_allclose(
            [ours._learning_rate(s) for s in (5, 50)], [theirs._learning_rate(s) for s in (5, 50)]
        )


def test_weight_decay_is_pytorchs():
    """Without other gradients a weight shrinks as under PyTorch's SGD, whose decay goes through the momentum."""
    settings = config.Config(epochs=1, learning_rate=0.01, schedule="constant", weight_decay=0.01)
    ours, pytorch, velocity = tf.Variable(1.0), 1.0, 0.0
    optimizer = optimizers.make_optimizer(settings, 300)
    for _ in range(300):
        optimizer.apply([tf.zeros([])], [ours])
        velocity = 0.9 * velocity + 0.01 * pytorch
        pytorch -= 0.01 * velocity
    np.testing.assert_allclose(ours.numpy(), pytorch, rtol=0.02)


def layers():
    """A normalized dense layer whose every weight is one, and its trainable variables by name."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2), keras.layers.BatchNormalization()])
    for variable in model.trainable_variables:
        variable.assign(tf.ones_like(variable))
    return {variable.path.split("/")[-1]: variable for variable in model.trainable_variables}


def one_update(variables, gradient, **settings):
    """How far one plain step moves each variable."""
    settings = {"momentum": 0.0, "weight_decay": 0.0, "schedule": "constant", "learning_rate": 0.1, **settings}
    head = [variables["bias"]]
    optimizer = optimizers.make_optimizer(config.Config(**settings), 10, head=head)
    optimizer.build(list(variables.values()))
    for _ in range(settings.get("accumulate_steps", 1)):
        optimizer.apply([gradient * tf.ones_like(v) for v in variables.values()], list(variables.values()))
    return {name: 1 - variable.numpy().ravel()[0] for name, variable in variables.items()}


def test_weight_decay_leaves_out_norm_and_biases_by_choice():
    assert all(moved > 0 for moved in one_update(layers(), 0.0, weight_decay=0.1).values())
    moved = one_update(layers(), 0.0, weight_decay=0.1, decay_exempt="norm_and_bias")
    np.testing.assert_allclose(moved.pop("kernel"), 0.1 * 0.1, rtol=1e-4)
    assert set(moved) == {"bias", "gamma", "beta"} and not any(moved.values())


def test_head_has_its_own_learning_rate():
    moved = one_update(layers(), 1.0, head_learning_rate=0.5)
    np.testing.assert_allclose(moved.pop("bias"), 0.5, rtol=1e-6)
    np.testing.assert_allclose(list(moved.values()), 0.1, rtol=1e-6)


@pytest.mark.parametrize("head_learning_rate", [0.0, 0.1])
def test_clipping_is_of_all_gradients_together(head_learning_rate):
    """Ten ones have the norm sqrt(10), whether or not two optimizers share them."""
    moved = one_update(layers(), 1.0, clip_norm=0.5, head_learning_rate=head_learning_rate)
    np.testing.assert_allclose(list(moved.values()), 0.1 * 0.5 / np.sqrt(10), rtol=1e-5)


def test_accumulated_steps_make_one_update_of_their_mean():
    moved = one_update(layers(), 1.0, accumulate_steps=4)
    np.testing.assert_allclose(list(moved.values()), 0.1, rtol=1e-5)


def test_nesterov_looks_ahead():
    """The first step of Nesterov's momentum is 1 + momentum times as long as that of the plain one."""
    moved = one_update(layers(), 1.0, momentum=0.9, nesterov=True)
    np.testing.assert_allclose(list(moved.values()), 0.1 * 1.9, rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"step_epochs": (5.0, 2.0), "schedule": "step"}, "--step_epochs should rise"),
        ({"step_epochs": (2.0,)}, "--step_epochs goes with --schedule=step"),
        ({"warmup_epochs": 10.0}, "--warmup_epochs should be below --epochs=10"),
        ({"momentum": 1.0}, "--momentum should be below 1"),
        ({"labeled_fraction": 0.0}, "--labeled_fraction should be above 0"),
        ({"labeled_fraction": 1.5}, "--labeled_fraction should be at most 1"),
        ({"hidden_units": (0,)}, "--hidden_units should be above 0"),
        ({"ce_views": ("other",)}, "--ce_views should be one or more of"),
        ({"unlabeled_dataset": "toy_aircraft"}, "of which --labeled_fraction=1 leaves nothing"),
        ({"unlabeled_dataset": "nothing", "labeled_fraction": 0.5}, "unknown --unlabeled_dataset=nothing"),
        (
            {"unlabeled_dataset": "toy_aircraft", "labeled_fraction": 0.5, "objective": "baseline"},
            "needs a consistency term",
        ),
    ],
)
def test_refused_by_name(settings, message):
    with pytest.raises(UserError) as caught:
        config.Config(**settings)
    assert message in str(caught.value) and "\n" not in str(caught.value)
