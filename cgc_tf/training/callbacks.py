"""What is done and written while training: checkpoints, metrics.csv, TensorBoard's logs with a few heatmaps."""

import csv
import dataclasses
import pathlib
import time

import keras
import numpy as np
import tensorflow as tf

from cgc_tf.common import files
from cgc_tf.common.errors import Stopped, UserError
from cgc_tf.data import batches
from cgc_tf.data.source import Source, check_count, read
from cgc_tf.method import nonfinite
from cgc_tf.method.model import CGCModel
from cgc_tf.method.overlay import overlay
from cgc_tf.training import checkpoints
from cgc_tf.training.checkpoints import Checkpoint
from cgc_tf.training.config import Config
from cgc_tf.training.state import averaged, restore, state_of

METRICS = "metrics.csv"
OVERLAYS = 6
SCORE = "val_accuracy"
REMEDIES = {
    "cross_entropy": "a lower --learning_rate, --warmup_epochs or --clip_norm=1; then look at the pictures",
    "consistency_loss": "a lower --lambda_cgc or --learning_rate, or a higher --temperature",
    "gradient": "a lower --learning_rate, --clip_norm=1, or --precision=float32",
}


def callbacks(
    config: Config, workdir: pathlib.Path, source: Source, start: Checkpoint, checkpointing: "Checkpointing"
) -> list[keras.callbacks.Callback]:
    """The Keras callbacks of a run that begins with the `Checkpoint` `start`, in the order in which they must act."""
    logs = str(workdir / "tensorboard")
    chosen = [
        Counted(checkpointing, min(config.validation_examples, source.sizes[source.validation])),
        BegunEpoch(start),
        MetricsFile(workdir),
        TensorBoard(logs, write_graph=False),
        Overlays(_examples_to_watch(source, config.image_size), logs),
    ]
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


class Callback(keras.callbacks.Callback):
    """A callback of a `CGCModel`; Keras itself declares no model."""

    model: CGCModel


class MetricsFile(Callback):
    """Adds a row to metrics.csv after each epoch, epochs counted from 1 as on the console."""

    def __init__(self, workdir):
        super().__init__()
        self._workdir = workdir

    def on_epoch_end(self, epoch, logs=None):
        row = {"epoch": epoch + 1, **{name: logs[name] for name in sorted(logs or ())}}
        _write_rows(self._workdir, [*rows(self._workdir), row])


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


def rows(workdir: pathlib.Path) -> list[dict[str, str]]:
    """The rows of a workdir's metrics.csv, dicts of texts; none where there is no such file."""
    path = workdir / METRICS
    return list(csv.DictReader(path.read_text().splitlines())) if path.exists() else []


def forget_rows_after(workdir: pathlib.Path, epochs: int) -> None:
    """Takes out of metrics.csv the epochs that are going to be trained again, because no checkpoint holds them."""
    kept = [row for row in rows(workdir) if row["epoch"] and int(row["epoch"]) <= epochs and None not in row.values()]
    _write_rows(workdir, kept)


def _write_rows(workdir, table):
    """Writes metrics.csv as a whole: what is measured may change within a run, and the columns with it."""
    with files.whole(workdir / METRICS) as file:
        writer = csv.DictWriter(file, dict.fromkeys(name for row in table for name in row), lineterminator="\n")
        if table:
            writer.writeheader()
        writer.writerows(table)


class Checkpointing(Callback):
    """Writes a checkpoint every so often, after each epoch, and before the run is left for a signal.

    Args:
        config: a `Config`.
        writer: a `checkpoints.Writer`.
        start: the `Checkpoint` that the run begins with.
        is_scored: whether what is validated on may choose the best checkpoint.
        interruption: an `Interruption`.
    """

    def __init__(self, config, writer, start, is_scored, interruption):
        super().__init__()
        self.position = start.position
        self._epochs, self._writer, self._is_scored = config.epochs, writer, is_scored
        self._interruption = interruption
        self._steps, self._seconds = config.checkpoint_interval
        self._since, self._written = 0, time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        self.position = dataclasses.replace(self.position, step=self.position.step + 1)
        self._since += 1
        if self.position.step == self.position.steps_per_epoch:
            # Every epoch of Keras has the same number of steps. So the end of one that was begun before is told as the
            # end of training, which `BegunEpoch` takes back. It is a better place to save, too.
            self.model.stop_training = True
            return
        is_due = self._since == self._steps or (self._seconds and time.monotonic() - self._written >= self._seconds)
        if is_due or self._interruption.signal:
            self._begin_to_save()
        self._leave_if_asked()

    def on_epoch_end(self, epoch, logs=None):
        score = float(logs[SCORE]) if self._is_scored else None
        if self.model.stop_training:  # early stopping, which keeps its best epoch
            self._writer.wait()
            best = checkpoints.first_whole(checkpoints.by_score(checkpoints.files(self._writer.folder)))
            restore(best.state, self.model)
            epoch, score = self._epochs - 1, None
        self.position = dataclasses.replace(self.position, epoch=epoch + 1, step=0)
        self._begin_to_save(score)
        if self.position.epoch < self._epochs:
            self._leave_if_asked()

    def save(self) -> None:
        """Writes the state as it is now; returns when it is on the disk."""
        self._begin_to_save()
        self._writer.wait()

    def _begin_to_save(self, score=None):
        self._writer.write(checkpoints.Checkpoint(state_of(self.model), self.position, score))
        self._since, self._written = 0, time.monotonic()

    def _leave_if_asked(self):
        if self._interruption.signal:
            self._writer.wait()
            raise Stopped(f"{self._interruption.signal}: saved at {self.position}")


class Counted(Callback):
    """Ends the run where an epoch or a validation saw more or less than it should have, before anything of it is kept.

    Keras would go on, with a warning, and log the metrics of what there was.

    Args:
        checkpointing: the `Checkpointing` that counts the steps.
        validation_examples: how many a validation has.
    """

    def __init__(self, checkpointing, validation_examples):
        super().__init__()
        self._checkpointing, self._validation_examples = checkpointing, validation_examples

    def on_test_begin(self, logs=None):
        position = self._checkpointing.position
        check_count(f"epoch {position.epoch + 1}", position.step, position.steps_per_epoch, "steps")

    def on_test_end(self, logs=None):
        title = f"validation of epoch {self._checkpointing.position.epoch + 1}"
        seen = int(self.model.accuracy.count.numpy())
        check_count(title, seen, self._validation_examples, "examples")


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
