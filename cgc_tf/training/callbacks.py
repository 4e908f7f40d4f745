"""What is done while training: checkpoints, checks of what was trained, TensorBoard's logs with a few heatmaps."""

import pathlib

import keras
import numpy as np
import tensorflow as tf

from cgc_tf.common.errors import UserError
from cgc_tf.data import batches
from cgc_tf.data.source import check_count, read
from cgc_tf.method import nonfinite
from cgc_tf.method.overlay import overlay
from cgc_tf.training.checkpointing import Callback, Checkpointing
from cgc_tf.training.config import Config
from cgc_tf.training.metrics_file import SCORE, MetricsFile, rows
from cgc_tf.training.setup import Prepared
from cgc_tf.training.state import averaged, restore

OVERLAYS = 6
REMEDIES = {
    "cross_entropy": "a lower --learning_rate, --warmup_epochs or --clip_norm=1; then look at the pictures",
    "consistency_loss": "a lower --lambda_cgc or --learning_rate, or a higher --temperature",
    "gradient": "a lower --learning_rate, --clip_norm=1, or --precision=float32",
}


def callbacks(
    config: Config, workdir: pathlib.Path, prepared: Prepared, checkpointing: Checkpointing
) -> list[keras.callbacks.Callback]:
    """The Keras callbacks of a run, in the order in which they must act; of several workers the chief has all."""
    logs, source = str(workdir / "tensorboard"), prepared.source
    chosen = [
        Counted(checkpointing, min(config.validation_examples, source.sizes[source.validation])),
        BegunEpoch(prepared.start),
    ]
    if prepared.workers.is_chief:
        overlays = Overlays(_examples_to_watch(source, config.image_size), logs)
        chosen += [MetricsFile(workdir), TensorBoard(logs, write_graph=False), overlays]
    if config.ema_momentum:
        chosen.insert(0, ValidateAverages())
    if config.early_stopping:
        chosen.append(EarlyStopping(config.early_stopping, rows(workdir)))
    return [*chosen, checkpointing, NonFinite(config, checkpointing)]


def _examples_to_watch(source, image_size):
    """Center views, uint8 `[n, S, S, 3]`, spread over the validation split, and so over its classes."""
    count = min(OVERLAYS, source.sizes[source.validation])
    views = batches.validation_batches(source, source.validation, image_size, count, count)
    (batch,) = read(source, views, count, "images for TensorBoard")
    return batch["image"].numpy()


class ValidateAverages(Callback):
    """Validates the moving averages of the weights, which are what is evaluated and exported."""

    def on_test_begin(self, logs=None):
        self._averaged = averaged(self.model)
        self._averaged.__enter__()

    def on_test_end(self, logs=None):
        self._averaged.__exit__(None, None, None)


class TensorBoard(keras.callbacks.TensorBoard):
    """Keras' logs for TensorBoard, their steps being epochs counted from 1."""

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch + 1, logs)


class Counted(Callback):
    """Ends the run where an epoch or a validation saw more or less than it should have, before anything of it is kept.

    Keras would go on, with a warning, and log the metrics of what there was. `checkpointing` counts the steps.
    """

    def __init__(self, checkpointing, validation_examples):
        super().__init__()
        self._checkpointing, self._validation_examples = checkpointing, validation_examples

    def on_test_begin(self, logs=None):
        position = self._checkpointing.position
        check_count(f"epoch {position.epoch + 1}", position.step, position.steps_per_epoch, "steps")

    def on_test_end(self, logs=None):
        title = f"validation of epoch {self._checkpointing.position.epoch + 1}"
        check_count(title, int(self.model.accuracy.count.numpy()), self._validation_examples, "examples")


class BegunEpoch(Callback):
    """Takes up an epoch in its middle, with the metrics that it had come to; goes on when it has ended."""

    def __init__(self, start):
        super().__init__()
        self._start = start

    def on_epoch_begin(self, epoch, logs=None):
        if self._start and self._start.position.step:
            restore(self._start.state, self.model, ("metrics",))
        self._start = None

    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = False


class NonFinite(Callback):
    """Looks every so many steps whether all of them were left out for numbers that are not finite, and then stops."""

    def __init__(self, config, checkpointing):
        super().__init__()
        self._every = config.nan_steps if config.on_nan == "stop" else 0
        self._checkpointing = checkpointing

    def on_epoch_begin(self, epoch, logs=None):
        self._before = self._counts()

    def on_train_batch_end(self, batch, logs=None):
        if self._every and (batch + 1) % self._every == 0:
            counts = self._counts()
            faults, self._before = counts - self._before, counts
            if faults[-1] == self._every:
                self._checkpointing.save()
                raise UserError(self._complaint(faults))

    def on_test_begin(self, logs=None):
        self._in_epoch = self._counts()  # before validation resets every metric

    def on_epoch_end(self, epoch, logs=None):
        counts = dict(zip((*nonfinite.TERMS, "steps"), self._in_epoch.astype(int), strict=True))
        if steps := counts.pop("steps"):
            terms = ", ".join(f"{name.replace('_', '-')} in {count}" for name, count in counts.items() if count)
            print(f"note: epoch {epoch + 1}: {steps} steps were left out, since they were not finite: {terms}")

    def _counts(self):
        return keras.ops.convert_to_numpy(self.model.faults.counts)

    def _complaint(self, faults):
        term = nonfinite.TERMS[int(np.argmax(faults[:-1]))]
        rate = float(np.asarray(self.model.optimizer.learning_rate))
        return (
            f"the {term.replace('_', '-')} was not finite in the last {self._every} steps, up to "
            f"{self._checkpointing.position}, at learning rate {rate:.2g}; they changed nothing, and the state of "
            f"before is saved. Try {REMEDIES[term]}, with --allow_changes; or --on_nan=skip"
        )


class EarlyStopping(keras.callbacks.EarlyStopping):
    """Keras' early stopping, told of the epochs before the run was interrupted."""

    def __init__(self, patience, past):
        super().__init__(SCORE, mode="max", patience=patience)
        self._past = past

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        for row in self._past:
            self.on_epoch_end(int(row["epoch"]) - 1, {SCORE: float(row[SCORE])})


class Overlays(Callback):
    """Draws the heatmaps of a few validation images, uint8 `[n, S, S, 3]`, into TensorBoard after each epoch."""

    def __init__(self, images, logs):
        super().__init__()
        self.images, self.writer = images, tf.summary.create_file_writer(f"{logs}/overlays")

    def on_epoch_end(self, epoch, logs=None):
        with averaged(self.model):
            heatmaps = self.model.explain(self.images)["heatmap"].numpy()
        drawn = [overlay(x, g) for x, g in zip(self.images, heatmaps, strict=True)]
        with self.writer.as_default():
            # As one array: `tf.stack` of uint8 arrays can make int32, which a summary rescales until it is black.
            tf.summary.image("heatmaps", np.stack(drawn), step=epoch + 1, max_outputs=len(drawn))
            self.writer.flush()
