"""Training runs: what they write, that a seed decides them, and that an interrupted one goes on as if nothing was."""

import csv
import dataclasses
import random

import h5py
import numpy as np
import pytest
import tensorflow as tf

from cgc_tf import callbacks, config, data, optimizers, runs, sources, training
from cgc_tf.errors import UserError


def stored(workdir):
    """Every array of a workdir's checkpoint, weights and optimizer, by name."""
    arrays = {}
    with h5py.File(workdir / runs.CHECKPOINT) as file:
        file.visititems(lambda name, item: arrays.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return arrays


def test_workdir_holds_what_it_should(workdir, small_config):
    assert config.Config.load(workdir) == small_config
    assert runs.class_names(workdir) == ("blue_wings", "green_fuselage", "red_wings")
    rows = list(csv.DictReader((workdir / "metrics.csv").open()))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert {"cross_entropy", "consistency", "accuracy", "val_accuracy", "val_content_heatmap"} <= set(rows[0])
    assert all(0 < float(row["val_content_heatmap"]) < 1 for row in rows)
    np.testing.assert_allclose(
        float(rows[0]["loss"]), float(rows[0]["cross_entropy"]) + 0.5 * float(rows[0]["consistency"]), rtol=1e-4
    )
    tags = set()
    for path in (workdir / "tensorboard").rglob("events*"):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            tags.update(value.tag for value in event.summary.value)
    assert {"epoch_cross_entropy", "epoch_consistency", "epoch_content_heatmap"} <= tags
    assert "heatmaps" in tags


def test_last_validation_is_that_of_the_checkpoint(workdir, small_config):
    """Every validation example counts, and the weights that are kept are those that were validated."""
    source = sources.load("folder", small_config.data_dir)
    model = runs.trained_model(small_config, workdir)
    right = []
    for batch in data.validation_batches(source, "test", 48, 4, small_config.validation_examples):
        right.extend(np.argmax(model(batch["image"], training=False), -1) == batch["label"].numpy())
    assert len(right) == small_config.validation_examples
    last = list(csv.DictReader((workdir / "metrics.csv").open()))[-1]
    np.testing.assert_allclose(float(last["val_accuracy"]), np.mean(right), atol=1e-6)


def test_same_seed_same_weights_and_resume_changes_nothing(workdir, small_config, tmp_path):
    """Interrupted after an epoch and started again, a run ends with the very bits of the undisturbed one."""

    class Killed(Exception):
        pass

    def killed(*_):
        raise Killed

    load = sources.load

    def load_drawing_numbers(*arguments):  # as TFDS does when it prepares a dataset for the first time
        random.random()
        return load(*arguments)

    path = tmp_path / "resumed"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "load", load_drawing_numbers)
        patch.setattr(callbacks.Overlays, "on_epoch_begin", lambda self, epoch, logs=None: epoch and killed())
        with pytest.raises(Killed):
            training.train(small_config, path)
    assert len(list(csv.DictReader((path / "metrics.csv").open()))) == 1
    training.train(small_config, path)
    first, second = stored(workdir), stored(path)
    assert set(first) == set(second)
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)


def test_finished_run_is_left_alone(workdir, small_config, capsys):
    before = stored(workdir)
    training.train(small_config, workdir)
    assert "already trained" in capsys.readouterr().out
    assert all(np.array_equal(array, stored(workdir)[name]) for name, array in before.items())


def test_other_configuration_is_refused_by_name(workdir, small_config):
    other = dataclasses.replace(small_config, lambda_cgc=1.0, seed=3)
    with pytest.raises(UserError, match=r"lambda_cgc 0\.5 there, 1\.0 here; seed 0 there, 3 here"):
        training.train(other, workdir)


def test_batch_larger_than_the_data(small_config, tmp_path):
    with pytest.raises(UserError, match="--batch_size=25 is more than the 24 training examples"):
        training.train(dataclasses.replace(small_config, batch_size=25), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("schedule", "warmup", "expected"),
    [
        ("constant", 0, {0: 0.1, 99: 0.1}),
        ("step", 0, {0: 0.1, 33: 0.1, 34: 0.01, 67: 0.001, 99: 0.001}),
        ("cosine", 0, {0: 0.1, 50: 0.05, 100: 0.0}),
        ("cosine", 2, {0: 0.0, 10: 0.05, 20: 0.1, 60: 0.05, 100: 0.0}),
    ],
)
def test_schedules(schedule, warmup, expected):
    settings = config.Config(epochs=10, learning_rate=0.1, schedule=schedule, warmup_epochs=warmup)
    rate = optimizers.learning_rate(settings, 10)
    for step, value in expected.items():
        np.testing.assert_allclose(rate(step) if callable(rate) else rate, value, atol=1e-6, err_msg=f"step {step}")


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
