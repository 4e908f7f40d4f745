"""What becomes of a run whose settings are changed on the way: refused, seen in what is trained, or harmless."""

import dataclasses
import functools
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from cgc_tf.common.errors import UserError
from cgc_tf.common.settings import EFFECT, HARMLESS, NEVER, WHILE_USED
from cgc_tf.data import batches, load
from cgc_tf.report import tables
from cgc_tf.training import checkpoints, journal, metrics_file, optimizers, run_folder, train
from cgc_tf.training.config import Config
from export.artifact import card

# Another value of every setting than BEFORE has.
CHANGED = {
    "dataset": "toy_aircraft",
    "data_dir": "elsewhere",
    "on_bad_image": "skip",
    "objects": "elsewhere.json",
    "test_fraction": 0.5,
    "validation_fraction": 0.2,
    "split_groups": "a+",
    "split_seed": 1,
    "cache": "memory",
    "unlabeled_dataset": "toy_aircraft",
    "unlabeled_data_dir": "elsewhere",
    "labeled_fraction": 0.5,
    "backbone": "resnet18",
    "weights": "imagenet",
    "reset_classifier": True,
    "freeze": "stages",
    "pooling": "max",
    "hidden_units": (8,),
    "explain_layer": "stack1_block0_out",
    "objective": "cgc_no_negatives",
    "lambda_cgc": 1.0,
    "temperature": 0.1,
    "ce_views": ("ce",),
    "negatives": "global",
    "explain_class": "label",
    "cam": "layercam",
    "label_smoothing": 0.1,
    "lambda_warmup_steps": 100,
    "similarity": "correlation",
    "epochs": 4,
    "batch_size": 4,
    "image_size": 32,
    "color_jitter": 0.4,
    "rand_augment": 2,
    "rand_augment_magnitude": 20.0,
    "random_erasing": 0.9,
    "optimizer": "adamw",
    "learning_rate": 0.1,
    "head_learning_rate": 0.5,
    "schedule": "constant",
    "step_epochs": (2.0,),
    "step_factor": 0.5,
    "warmup_epochs": 1.0,
    "momentum": 0.5,
    "nesterov": True,
    "weight_decay": 0.1,
    "decay_exempt": "norm_and_bias",
    "clip_norm": 0.1,
    "accumulate_steps": 2,
    "ema_momentum": 0.9,
    "early_stopping": 1,
    "precision": "mixed_bfloat16",
    "xla": True,
    "deterministic": False,
    "sync_batch_norm": True,
    "seed": 1,
    "strategy": "single",
    "validation_examples": 5,
    "checkpoint_every": "1",
    "keep_checkpoints": 1,
    "on_nan": "skip",
    "nan_steps": 1,
}
KINDS = {field.name: field.metadata["on_change"] for field in dataclasses.fields(Config)}


@pytest.fixture(scope="module")
def before(small_config):
    used = {"head_learning_rate": 0.02, "ema_momentum": 0.5, "schedule": "step", "step_epochs": (1.0,)}
    return dataclasses.replace(small_config, **used, weight_decay=0.01, epochs=3, test_fraction=0.3, rand_augment=1)


@pytest.fixture
def recorded(before, tmp_path):
    before.save(tmp_path)
    return tmp_path


def change(before, name):
    """The configuration with another value, and whatever else that wants."""
    also = {"schedule": {"step_epochs": ()}, "dataset": {"test_fraction": 0.0}}.get(name, {})
    return dataclasses.replace(before, **also, **{name: CHANGED[name]})


def of_kind(*kinds):
    return [name for name, kind in KINDS.items() if kind in kinds]


def test_every_setting_is_of_some_kind():
    assert CHANGED.keys() == KINDS.keys()
    assert set(KINDS.values()) == {NEVER, WHILE_USED, EFFECT, HARMLESS}


@pytest.mark.parametrize("name", of_kind(NEVER))
def test_refused(name, before, recorded):
    with pytest.raises(UserError, match=f"^--{name} cannot change within a run; choose another --workdir"):
        change(before, name).changes(recorded, are_allowed=True)


@pytest.mark.parametrize("name", of_kind(WHILE_USED))
def test_neither_taken_up_nor_given_up(name, before, recorded):
    with pytest.raises(UserError, match=f"^--{name} cannot change from or to 0 within a run"):
        dataclasses.replace(before, **{name: 0.0}).changes(recorded, are_allowed=True)
    assert list(change(before, name).changes(recorded, are_allowed=True)) == [name]


@pytest.mark.parametrize("name", of_kind(EFFECT, WHILE_USED))
def test_seen_in_what_is_trained(name, before, recorded):
    after = change(before, name)
    assert name in after.changes(recorded, are_allowed=True)
    assert effects(after) != effects(before)


@pytest.mark.parametrize("name", of_kind(HARMLESS))
def test_harmless(name, before, recorded):
    after = change(before, name)
    assert name in after.changes(recorded, are_allowed=True)
    assert effects(dataclasses.replace(after, data_dir=before.data_dir)) == effects(before)


def effects(config):
    """All that decides what weights come of a run, and which are kept: objective, updates, views, validation."""
    return {
        "objective": config.make_objective(),
        "weights": updated(config),
        "views": views(config.data_dir, config.image_size, config.seed, config.make_augmentation()),
        "validated": validated(config.data_dir, config.image_size, config.validation_examples),
        "length": (config.epochs, config.early_stopping),
        "replicas": config.strategy,
    }


@functools.cache
def views(folder, size, seed, augmentation):
    source = load.load_dataset("folder", folder)
    (batch,) = batches.training_batches(source, size, 2, seed, 1, 0, ("ce",), augmentation)
    return batch["ce"].numpy().tobytes()


@functools.cache
def validated(folder, size, examples):
    """How many pictures."""
    source = load.load_dataset("folder", folder)
    return sum(len(batch["label"]) for batch in batches.validation_batches(source, "test", size, 4, examples))


@functools.cache
def updated(config, steps=3):
    """The weights, and their averages, of a small layer after some steps with gradients of several sizes."""
    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Dense(2, name="hidden"),
        keras.layers.BatchNormalization(),
        keras.layers.Dense(2, name="last"),
    ]
    model = keras.Sequential([keras.Input((2,)), *layers])
    weights = model.trainable_variables
    optimizer = optimizers.make_optimizer(config, 1, layers[-1].trainable_variables)
    optimizer.build(weights)
    for step in range(steps):
        optimizer.apply([(step + 1) * tf.ones_like(weight) for weight in weights], weights)
    own = [weight.numpy().tobytes() for weight in weights]
    optimizer.finalize_variable_values(weights)
    return own, [weight.numpy().tobytes() for weight in weights]


@pytest.mark.slow
def test_another_number_of_examples_is_refused(workdir, small_config, draw_folder, tmp_path):
    shutil.copytree(workdir, tmp_path / "run")
    folder = draw_folder(tmp_path / "pictures", {"train": 9, "test": 4})
    settings = dataclasses.replace(small_config, data_dir=str(folder), epochs=3)
    with pytest.raises(UserError, match="run was trained on 24 train examples, of which there are 27 now") as caught:
        train.train(settings, tmp_path / "run", allow_changes=True)
    assert "\n" not in str(caught.value)
    shutil.copytree(small_config.data_dir, tmp_path / "moved")
    settings = dataclasses.replace(settings, data_dir=str(tmp_path / "moved"), epochs=2)
    train.train(settings, tmp_path / "run", allow_changes=True)


@pytest.mark.slow
def test_a_run_says_what_it_was_over_which_epochs(small_config, tmp_path):
    """Its record, its table's label and its model card; and its metrics stand under their names all the time."""
    workdir = tmp_path / "run"
    train.train(dataclasses.replace(small_config, objective="baseline", epochs=1), workdir)
    assert journal.history(workdir) == []
    settings = dataclasses.replace(small_config, lambda_cgc=1.0, checkpoint_every="1")
    train.train(settings, workdir, allow_changes=True)
    changes = (
        "objective baseline to the end of epoch 1, then cgc; lambda_cgc 0.5 to the end of epoch 1, then 1.0; "
        "epochs 1 to the end of epoch 1, then 2"
    )
    history = journal.history(workdir)
    assert tables.changes(history) == changes
    report = {"config": {"objective": "cgc"}, "name": "run", "history": history}
    assert tables.label(report) == f"cgc (run): {changes}"
    described = card.of_run(settings, workdir, checkpoints.find(workdir), run_folder.class_names(workdir))
    assert changes in described["name"] and described["history"] == history
    first, second = metrics_file.rows(workdir)
    assert first["consistency_loss"] == "" and float(second["consistency_loss"]) > 0
    assert all(0 <= float(row["val_accuracy"]) <= 1 for row in (first, second))
    np.testing.assert_allclose(
        float(second["loss"]), float(second["cross_entropy"]) + float(second["consistency_loss"]), rtol=1e-4
    )
