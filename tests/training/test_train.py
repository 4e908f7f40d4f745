"""Training runs: what they write, that a seed decides them, and that an interrupted one goes on as if nothing was."""

import csv
import dataclasses
import random

import numpy as np
import pytest
import tensorflow as tf

from cgc_tf.common.errors import UserError
from cgc_tf.data import batches, load
from cgc_tf.method.overlay import overlay
from cgc_tf.training import callbacks, checkpoints, config, metrics_file, run_folder, train
from cgc_tf.training.new_model import NewModel
from cgc_tf.training.state import restore


def stored(workdir):
    """Every array of a workdir's last checkpoint, weights and optimizer, by name."""
    return {name: x for name, x in checkpoints.find(workdir).state.items() if not name.startswith("metrics/")}


def test_workdir_holds_what_it_should(workdir, small_config):
    assert config.Config.load(workdir) == small_config
    assert run_folder.class_names(workdir) == ("blue_wings", "green_fuselage", "red_wings")
    rows = list(csv.DictReader((workdir / "metrics.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    measured = {"cross_entropy", "consistency_loss", "accuracy", "val_accuracy", "val_center_content_heatmap"}
    assert measured <= set(rows[0])
    assert all(0 < float(row["val_center_content_heatmap"]) < 1 for row in rows)
    np.testing.assert_allclose(
        float(rows[0]["loss"]), float(rows[0]["cross_entropy"]) + 0.5 * float(rows[0]["consistency_loss"]), rtol=1e-4
    )
    logged = list(summaries(workdir))
    tags = {value.tag for _, value in logged}
    assert {"epoch_cross_entropy", "epoch_consistency_loss", "epoch_center_content_heatmap"} <= tags
    # A TensorBoard step is an epoch; Keras' own evaluation_*_vs_iterations counts steps of training.
    assert {step for step, value in logged if "iterations" not in value.tag and value.HasField("tensor")} == {1, 2}


def summaries(workdir):
    """`(step, value)` of every summary in a workdir's TensorBoard logs."""
    for path in (workdir / "tensorboard").rglob("events*"):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            yield from ((event.step, value) for value in event.summary.value)


def test_tensorboard_shows_heatmaps_over_pictures_of_every_class(workdir, small_config):
    """Each picture that is shown is a validation picture with something over it; together they are of all classes."""
    source = load.load_dataset("folder", small_config.data_dir)
    (batch,) = batches.validation_batches(source, source.validation, 48, source.sizes["test"])
    pictures, labels = batch["image"].numpy().astype(float), batch["label"].numpy()
    shown = [value for _, value in summaries(workdir) if value.tag == "heatmaps"]
    assert len(shown) == 2
    for value in shown:
        width, height, *drawn = value.tensor.string_val
        assert (width, height, len(drawn)) == (b"48", b"48", 6)
        drawn = np.stack([tf.io.decode_png(png) for png in drawn]).astype(float)
        distances = np.abs(drawn[:, None] - pictures[None]).mean((2, 3, 4))
        assert set(labels[distances.argmin(1)]) == {0, 1, 2}
        assert (distances.min(1) > 1).all() and (distances.min(1) < 80).all()
        assert drawn.std((1, 2, 3)).min() > 15 and drawn.max((1, 2, 3)).min() > 120


def test_last_validation_is_that_of_the_checkpoint(workdir, small_config):
    """Every validation example counts, and the weights that are kept are those that were validated."""
    source = load.load_dataset("folder", small_config.data_dir)
    model = run_folder.trained_model(small_config, workdir)
    right = []
    for batch in batches.validation_batches(source, "test", 48, 4, small_config.validation_examples):
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

    real = load.load_dataset

    def load_drawing_numbers(*arguments):  # as TFDS does when it prepares a dataset for the first time
        random.random()
        return real(*arguments)

    path = tmp_path / "resumed"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(load, "load_dataset", load_drawing_numbers)
        patch.setattr(callbacks.Overlays, "on_epoch_begin", lambda self, epoch, logs=None: epoch and killed())
        with pytest.raises(Killed):
            train.train(small_config, path)
    assert len(list(csv.DictReader((path / "metrics.csv").open()))) == 1
    train.train(small_config, path)
    first, second = stored(workdir), stored(path)
    assert set(first) == set(second)
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)


def test_finished_run_is_left_alone(workdir, small_config, capsys):
    before = stored(workdir)
    train.train(small_config, workdir)
    assert "already trained" in capsys.readouterr().out
    assert all(np.array_equal(array, stored(workdir)[name]) for name, array in before.items())


def test_other_configuration_is_refused_by_name(workdir, small_config):
    other = dataclasses.replace(small_config, lambda_cgc=1.0, seed=3)
    with pytest.raises(UserError, match=r"lambda_cgc 0\.5 there, 1\.0 here; seed 0 there, 3 here"):
        train.train(other, workdir)
    with pytest.raises(UserError, match="--seed cannot change within a run"):
        train.train(other, workdir, allow_changes=True)


def test_batch_larger_than_the_data(small_config, tmp_path):
    with pytest.raises(UserError, match="--batch_size=25 is more than the 24 training examples"):
        train.train(dataclasses.replace(small_config, batch_size=25), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_resume_restores_averages_and_the_heads_own_rate(small_config, tmp_path):
    """Two epochs at once and one after the other end alike, moving averages and both optimizers included."""
    settings = dataclasses.replace(small_config, ema_momentum=0.5, head_learning_rate=0.02, schedule="constant")
    train.train(settings, tmp_path / "whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callbacks.Overlays, "on_epoch_begin", lambda self, epoch, logs=None: epoch and 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train.train(settings, tmp_path / "resumed")
    train.train(settings, tmp_path / "resumed")
    whole, resumed = stored(tmp_path / "whole"), stored(tmp_path / "resumed")
    for name, array in whole.items():
        np.testing.assert_array_equal(array, resumed[name], err_msg=name)
    averaged, raw = (run_folder.trained_model(settings, tmp_path / "whole") for _ in range(2))
    restore(whole, raw, ("model",))
    kernels = [model.head.get_layer("classifier").kernel.numpy() for model in (averaged, raw)]
    assert 0 < np.abs(kernels[0] - kernels[1]).max() < 0.1
    assert_validated_and_drawn(averaged, settings, tmp_path / "whole")
    from_run = dataclasses.replace(settings, weights=str(tmp_path / "whole"))
    started = NewModel(from_run).with_classes(3)
    for ours, theirs in zip(started.weights, averaged.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def assert_validated_and_drawn(model, settings, workdir):
    """The last validation and TensorBoard's last heatmaps are of this model."""
    source = load.load_dataset("folder", settings.data_dir)
    model.compile()
    measured = model.evaluate(batches.validation_batches(source, "test", 48, 4, 12), verbose=0, return_dict=True)
    last = metrics_file.rows(workdir)[-1]
    np.testing.assert_allclose(float(last["val_cross_entropy"]), measured["cross_entropy"], rtol=1e-4)
    images = callbacks._examples_to_watch(source, 48)
    drawn = [overlay(x, g) for x, g in zip(images, model.explain(images)["heatmap"].numpy(), strict=True)]
    value = max((step, value.tensor.string_val) for step, value in summaries(workdir) if value.tag == "heatmaps")[1]
    shown = [tf.io.decode_png(png).numpy() for png in value[2:]]
    assert max(np.abs(x.astype(int) - y).max() for x, y in zip(shown, drawn, strict=True)) <= 2


@pytest.mark.parametrize("name", ["", "file"])
def test_starts_from_another_run(name, workdir, small_config):
    path = checkpoints.files(workdir / "checkpoints")[-1] if name else workdir
    settings = dataclasses.replace(small_config, weights=str(path))
    started = NewModel(settings)
    trained = run_folder.trained_model(small_config, workdir)
    for ours, theirs in zip(started.with_classes(3).weights, trained.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(UserError, match="does not fit this model"):
        started.with_classes(4)


@pytest.mark.slow
def test_early_stopping_keeps_the_best_epoch(small_config, draw_folder, tmp_path):
    with pytest.raises(UserError, match="--early_stopping needs a split named validation, which folder does not have"):
        train.train(dataclasses.replace(small_config, early_stopping=1), tmp_path / "run")
    folder = draw_folder(tmp_path / "pictures", {"train": 8, "validation": 4, "test": 4})
    settings = dataclasses.replace(small_config, data_dir=str(folder), early_stopping=2, epochs=12, learning_rate=0.5)
    train.train(settings, tmp_path / "run")
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").open()))
    scores = [float(row["val_accuracy"]) for row in rows]
    assert len(rows) < 12 and len(rows) - np.argmax(scores) - 1 == 2
    model, right = run_folder.trained_model(settings, tmp_path / "run"), []
    source = load.load_dataset("folder", settings.data_dir)
    for batch in batches.validation_batches(source, "validation", 48, 4):
        right.extend(np.argmax(model(batch["image"], training=False), -1) == batch["label"].numpy())
    np.testing.assert_allclose(np.mean(right), max(scores), atol=1e-6)
    train.train(settings, tmp_path / "run")
    assert len(list(csv.DictReader((tmp_path / "run" / "metrics.csv").open()))) == len(rows)
