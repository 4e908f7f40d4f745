"""Checkpoint files: whole or named as damaged, whatever befalls them."""

import dataclasses

import keras
import numpy as np
import pytest

from cgc_tf.common.errors import UserError
from cgc_tf.method.model import CGCModel
from cgc_tf.training import checkpoints, device, optimizers
from cgc_tf.training.checkpoints import Checkpoint, Position
from cgc_tf.training.new_model import NewModel
from cgc_tf.training.state import averaged, restore, restore_trained, state_of


class Scale(keras.layers.Layer):
    """A layer with a variable that has no name, as ConvNeXt's have."""

    def build(self, _):
        self.scale = self.add_weight()

    def call(self, inputs):
        return inputs * self.scale


@pytest.fixture
def state():
    rng = np.random.default_rng(0)
    return {
        "model/0000/kernel": rng.normal(size=(3, 3, 8, 16)).astype(np.float32),
        "model/0001/seed_generator_state": np.array([7, 2**31], np.uint32),
        "optimizer/0000/iterations": np.array(12, np.int64),
        "metrics/0000/total": np.array(0.1, np.float32),
    }


def write(folder, state, epoch, score=None):
    return checkpoints.write(folder, Checkpoint(state, Position(epoch, 0, 5), score))


def test_what_is_read_is_what_was_written(state, tmp_path):
    path = checkpoints.write(tmp_path, Checkpoint(state, Position(3, 2, 5), 0.25))
    assert path.name.startswith("epoch0003-step000002-") and list(tmp_path.iterdir()) == [path]
    found = checkpoints.read(path)
    assert (found.position, found.score) == (Position(3, 2, 5), 0.25)
    assert found.state.keys() == state.keys()
    for name, array in state.items():
        np.testing.assert_array_equal(found.state[name], array)
        assert found.state[name].dtype == array.dtype


def test_the_same_state_has_the_same_name(state, tmp_path):
    assert write(tmp_path, state, 1) == write(tmp_path, dict(state), 1)
    assert write(tmp_path, {**state, "metrics/0000/total": np.array(0.2, np.float32)}, 1) != write(tmp_path, state, 1)


@pytest.mark.parametrize("fault", ["bytes", "lengths", "longer", "empty", "renamed"])
def test_damage_is_named_and_the_one_before_is_used(fault, state, tmp_path, capsys):
    write(tmp_path, state, 1)
    path = write(tmp_path, state, 2)
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    if fault == "bytes":  # one bit of each
        damaged = []
        for place in rng.choice(len(whole), 50, replace=False):
            changed = bytearray(whole)
            changed[place] ^= 1 << rng.integers(8)
            damaged.append(bytes(changed))
    elif fault == "lengths":
        damaged = [whole[:length] for length in (1, *rng.choice(len(whole), 18, replace=False), len(whole) - 1)]
    else:
        damaged = {"longer": [whole + b"\0"], "empty": [b""], "renamed": [whole]}[fault]
    if fault == "renamed":
        path = path.rename(
            path.with_name(path.name.replace("epoch0002-step000000-", "epoch0002-step000000-0")[:-13] + ".safetensors")
        )
    for contents in damaged:
        path.write_bytes(contents)
        with pytest.raises(UserError, match=f"{path.name} is damaged"):
            checkpoints.read(path)
        assert checkpoints.last(tmp_path).position.epoch == 1
        assert f"{path.name} is damaged" in capsys.readouterr().out
    path.write_bytes(whole)


def test_none_is_whole(state, tmp_path):
    with pytest.raises(UserError, match="has no checkpoint"):
        checkpoints.last(tmp_path)
    write(tmp_path, state, 1).write_bytes(b"")
    with pytest.raises(UserError, match=r"none of the 1 checkpoints in .* is whole"):
        checkpoints.last(tmp_path)


def test_the_last_and_the_best_are_kept(state, tmp_path):
    (tmp_path / "epoch0009-step000000-0.safetensors.partial").touch()
    writer = checkpoints.Writer(tmp_path, keep=2)
    for epoch, score in enumerate((0.5, 0.75, 0.75, None, 0.25, 0.5), 1):
        writer.write(Checkpoint(state, Position(epoch, 0, 5), score))
    writer.wait()
    assert [checkpoints.read(path).position.epoch for path in sorted(tmp_path.iterdir())] == [2, 5, 6]
    assert checkpoints.read(checkpoints.by_score(checkpoints.files(tmp_path))[0]).position.epoch == 2


def test_what_was_damaged_takes_no_place_of_what_is_whole(state, tmp_path):
    """A run that went on from before a damaged checkpoint keeps as many whole ones as any, and that one no more."""
    write(tmp_path, state, 1)
    write(tmp_path, state, 3).write_bytes(b"damaged")
    writer = checkpoints.Writer(tmp_path, keep=2)
    writer.write(Checkpoint(state, Position(2, 0, 5)))
    writer.wait()
    assert [checkpoints.read(path).position.epoch for path in sorted(tmp_path.iterdir())] == [1, 2]


def test_a_damaged_best_gives_way_to_the_next(state, tmp_path, capsys):
    paths = [write(tmp_path, state, epoch, score) for epoch, score in ((1, 0.5), (2, 0.75), (3, 0.25))]
    contents = bytearray(paths[1].read_bytes())
    contents[-1] ^= 1
    paths[1].write_bytes(contents)
    ranked = checkpoints.by_score(checkpoints.files(tmp_path))
    assert ranked == [paths[1], paths[0], paths[2]]
    assert checkpoints.first_whole(ranked).position.epoch == 1
    assert f"{paths[1]} is damaged" in capsys.readouterr().out


def test_a_failed_write_is_told_at_the_next_turn(state, tmp_path):
    writer = checkpoints.Writer(tmp_path / "folder", keep=2)
    writer.folder.rmdir()
    writer.write(Checkpoint(state, Position(1, 0, 5)))
    with pytest.raises(FileNotFoundError):
        writer.write(Checkpoint(state, Position(2, 0, 5)))


def test_a_folder_that_is_moved_away_behind_a_write_is_told_at_the_next(state, tmp_path, monkeypatch):
    def write_and_move(folder, checkpoint, write=checkpoints.write):
        path = write(folder, checkpoint)
        folder.rename(tmp_path / "elsewhere")
        return path

    monkeypatch.setattr(checkpoints, "write", write_and_move)
    writer = checkpoints.Writer(tmp_path / "folder", keep=2)
    writer.write(Checkpoint(state, Position(1, 0, 5)))
    writer.write(Checkpoint(state, Position(2, 0, 5)))
    with pytest.raises(FileNotFoundError):
        writer.wait()
    assert checkpoints.last(tmp_path / "elsewhere").position.epoch == 1


def test_another_models_state_is_refused_before_anything_is_put_in(workdir, small_config):
    found = checkpoints.find(workdir)
    model = NewModel(small_config).with_classes(4)
    before = [np.array(weight) for weight in model.weights]
    with pytest.raises(UserError, match=r"does not fit this model .*: 2 of its variables differ, first model/"):
        restore(found.state, model, ("model",))
    for weight, array in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, array)


def test_state_holds_all_that_training_changes(small_config):
    """The seeds of random layers too, which `save_weights` leaves out; by names that do not depend on the process."""

    settings = dataclasses.replace(small_config, ema_momentum=0.9, head_learning_rate=0.1)

    def make():
        with device.precision("mixed_float16"):
            backbone = NewModel(settings).backbone
            hidden = keras.layers.Dropout(0.5)(keras.layers.GlobalAveragePooling2D()(backbone.output))
            logits = keras.layers.Dense(3, name="classifier")(Scale(name="scale")(hidden))
            model = CGCModel.from_classifier(keras.Model(backbone.input, logits))
            optimizers.compile_model(model, settings, 5)
        return model

    first, second = make(), make()
    state = state_of(first)
    names = {name.split("/")[-1] for name in state}
    assert {"kernel", "moving_mean", "seed_generator_state", "iteration", "dynamic_scale", "total"} <= names
    assert state.keys() == state_of(second).keys()
    restore(state, second, ("model", "optimizer", "metrics"))
    for name, array in state_of(second).items():
        np.testing.assert_array_equal(array, state[name])


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
@pytest.mark.parametrize("head_learning_rate", [0.0, 0.1])
def test_averages_are_the_model_wherever_it_is_read(policy, head_learning_rate, small_config):
    """Under one optimizer, two, or one that scales the loss; looking at them leaves the raw weights bit for bit."""
    settings = dataclasses.replace(small_config, ema_momentum=0.9, head_learning_rate=head_learning_rate)

    def make():
        images = keras.Input((8, 8, 3))
        features = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(images))
        logits = keras.layers.Dense(3, name="classifier")(keras.layers.GlobalAveragePooling2D()(features))
        return CGCModel.from_classifier(keras.Model(images, logits))

    with device.precision(policy):
        model = make()
        optimizers.compile_model(model, settings, 5)
    weights = model.trainable_variables
    expected = np.array(weights[0])
    for step in range(3):
        model.optimizer.apply([keras.ops.ones_like(weight) for weight in weights], weights)
        expected = np.array(weights[0]) if step == 0 else 0.9 * expected + 0.1 * np.array(weights[0])
    state, raw = state_of(model), [np.array(weight) for weight in weights]
    with averaged(model):
        np.testing.assert_allclose(weights[0], expected, rtol=1e-5)
        seen = [np.array(weight) for weight in weights]
    for weight, array in zip(weights, raw, strict=True):
        np.testing.assert_array_equal(weight, array)
    read = make()
    restore_trained(state, read)
    for weight, array in zip(read.trainable_variables, seen, strict=True):
        np.testing.assert_array_equal(weight, array)
