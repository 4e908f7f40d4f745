"""A training run, from a `Config` to a workdir: strategy, optimizer, callbacks, resume, fit."""

import os
import pathlib
import sys

import keras
import tensorflow as tf

from cgc_tf import backbones, data, figures, memory, optimizers, sources, weights
from cgc_tf.errors import UserError
from cgc_tf.model import CGCModel

CHECKPOINT = "checkpoints/last.weights.h5"
CLASSES = "classes.txt"
OVERLAYS = 6


def trained_model(config, workdir):
    """The model of a trained workdir, as its last checkpoint left it."""
    checkpoint = trained_checkpoint(workdir)
    trunk = backbones.build_trunk(config.backbone, "none", config.image_size)
    model = make_model(config, trunk, len(class_names(workdir)))
    weights.load_checkpoint(checkpoint, model)
    return model


def make_model(config, trunk, classes):
    """A `CGCModel` of a trunk and a new head, built."""
    head = backbones.build_head(trunk, classes)
    model = CGCModel(trunk, head, config.objective, config.lambda_cgc, config.temperature)
    model.build((None, config.image_size, config.image_size, 3))
    return model


def class_names(workdir):
    """The names of the classes that a workdir was trained on, a tuple."""
    return tuple((pathlib.Path(workdir) / CLASSES).read_text().splitlines())


def trained_checkpoint(workdir):
    """The path of a workdir's last checkpoint; raises `UserError` where there is none."""
    path = pathlib.Path(workdir) / CHECKPOINT
    if not path.exists():
        raise UserError(f"{workdir} has no checkpoint ({CHECKPOINT}): its training did not finish an epoch")
    return path


def make_deterministic(seed):
    """Seeds everything random, and makes a step on one device give the same bits every time."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    # AddN adds its inputs in whatever order their buffers fall free, which with several threads is a matter of chance.
    # Several GPUs want those threads; there the same seed agrees to rounding.
    if len(tf.config.list_physical_devices("GPU")) <= 1 and tf.config.threading.get_inter_op_parallelism_threads() != 1:
        try:
            tf.config.threading.set_inter_op_parallelism_threads(1)
        except RuntimeError:
            print("note: TensorFlow was in use before; the same seed will agree to rounding only")


def train(config, workdir=None):
    """Trains, or goes on with a run that was interrupted, epoch by epoch.

    Args:
        config: a `Config`.
        workdir: where the run is kept; None makes `config.default_workdir()`.

    Returns:
        The workdir, a `pathlib.Path`: config.json, checkpoints/, metrics.csv, tensorboard/.

    Raises:
        UserError: before any training, for whatever the user can mend.
    """
    workdir = pathlib.Path(workdir or config.default_workdir())
    memory.keep_freed_memory()
    make_deterministic(config.seed)
    strategy = tf.distribute.MirroredStrategy() if config.strategy == "mirrored" else tf.distribute.get_strategy()
    if config.batch_size % strategy.num_replicas_in_sync:
        raise UserError(f"--batch_size={config.batch_size} should divide by {strategy.num_replicas_in_sync} replicas")
    with strategy.scope():
        trunk = backbones.build_trunk(config.backbone, config.weights, config.image_size)
    source = sources.load(config.dataset, config.data_dir or None, config.on_bad_image)
    steps = source.sizes["train"] // config.batch_size
    if not steps:
        raise UserError(f"--batch_size={config.batch_size} is more than the {source.sizes['train']} training examples")
    # Preparing a dataset draws from Python's generator, so that a first run would get another head than a second.
    keras.utils.set_random_seed(config.seed)
    with strategy.scope():
        model = make_model(config, trunk, len(source.class_names))
        if weights.is_checkpoint(config.weights):
            weights.load_checkpoint(config.weights, model)
        model.compile(optimizer=optimizers.make_optimizer(config, steps), jit_compile=False)
        model.optimizer.build(model.trainable_variables)
    config.save(workdir)
    (workdir / CLASSES).write_text("\n".join(source.class_names) + "\n")
    checkpoint = workdir / CHECKPOINT
    if checkpoint.exists():
        weights.load_checkpoint(checkpoint, model)
    done = int(model.optimizer.iterations.numpy()) // steps
    if done >= config.epochs:
        print(f"{workdir} is already trained for its {config.epochs} epochs")
        return workdir
    print(
        f"{config.dataset}: {source.sizes['train']} training examples of {len(source.class_names)} classes, "
        f"{config.backbone}, objective {config.objective}; epochs {done + 1} to {config.epochs} into {workdir}"
    )
    batches = data.training_batches(source, config.image_size, config.batch_size, config.seed, config.epochs, done)
    validation = data.validation_batches(
        source, source.validation, config.image_size, config.batch_size, config.validation_examples
    )
    model.fit(
        batches,
        epochs=config.epochs,
        initial_epoch=done,
        steps_per_epoch=steps,
        shuffle=False,
        validation_data=validation,
        callbacks=callbacks(workdir, validation),
        verbose=1 if sys.stdout.isatty() else 2,
    )
    return workdir


def callbacks(workdir, validation):
    """What is written during training: the checkpoint, metrics.csv, and TensorBoard's logs with overlays."""
    logs = str(workdir / "tensorboard")
    return [
        keras.callbacks.CSVLogger(str(workdir / "metrics.csv"), append=True),
        keras.callbacks.TensorBoard(logs, write_graph=False),
        Overlays(next(iter(validation.unbatch().batch(OVERLAYS)))["image"], logs),
        Checkpoint(workdir / CHECKPOINT),
    ]


class Checkpoint(keras.callbacks.Callback):
    """Writes weights and optimizer after each epoch; the old file stays until the new one is whole."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def on_epoch_end(self, epoch, logs=None):
        self.path.parent.mkdir(exist_ok=True)
        partial = self.path.with_name("partial.weights.h5")
        self.model.save_weights(partial)
        os.replace(partial, self.path)


class Overlays(keras.callbacks.Callback):
    """Draws the heatmaps of a few validation images into TensorBoard after each epoch."""

    def __init__(self, images, logs):
        super().__init__()
        self.images, self.writer = images, tf.summary.create_file_writer(f"{logs}/overlays")

    def on_epoch_end(self, epoch, logs=None):
        heatmaps = self.model.explain(self.images)["heatmap"].numpy()
        drawn = [figures.overlay(x, g) for x, g in zip(self.images.numpy(), heatmaps, strict=True)]
        with self.writer.as_default():
            tf.summary.image("heatmaps", tf.stack(drawn), step=epoch, max_outputs=len(drawn))
            self.writer.flush()
