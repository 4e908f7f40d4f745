"""When checkpoints are written while training: every so often, after each epoch, and before a signal is obeyed."""

import dataclasses
import time

import keras

from cgc_tf.common.errors import Stopped
from cgc_tf.method.model import CGCModel
from cgc_tf.training import checkpoints
from cgc_tf.training.metrics_file import SCORE
from cgc_tf.training.state import restore, state_of
from cgc_tf.training.workers import Agreement


class Callback(keras.callbacks.Callback):
    """A callback of a `CGCModel`; Keras itself declares no model."""

    model: CGCModel


class Checkpointing(Callback):
    """Writes a checkpoint every so often, after each epoch, and before the run is left for a signal.

    Of several workers the chief writes, and each may be told by a signal to leave, which they then do together.

    Args:
        config: a `Config`.
        writer: a `checkpoints.Writer`.
        prepared: the `Prepared` run, whose best checkpoint is chosen by a split named validation alone.
        interruption: an `Interruption`.
    """

    def __init__(self, config, writer, prepared, interruption):
        super().__init__()
        self.position = prepared.start.position
        self._epochs, self._writer, self._interruption = config.epochs, writer, interruption
        self._workers, self._agreed = prepared.workers, Agreement(prepared.workers)
        self._is_scored = prepared.source.validation == "validation"
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
        is_time = bool(self._seconds) and time.monotonic() - self._written >= self._seconds
        is_due, is_asked = self._agreed(is_time, bool(self._interruption.signal))
        if is_due or is_asked or self._since == self._steps:
            self._begin_to_save()
        if is_asked:
            self._leave()

    def on_epoch_end(self, epoch, logs=None):
        score = float(logs[SCORE]) if self._is_scored else None
        if self.model.stop_training:  # early stopping, which keeps its best epoch
            with self._workers.chief_first():
                self._writer.wait()
                best = checkpoints.first_whole(checkpoints.by_score(checkpoints.files(self._writer.folder)))
            self._workers.check_same(best.name, "sees another best checkpoint than the chief")
            restore(best.state, self.model)
            epoch, score = self._epochs - 1, None
        self.position = dataclasses.replace(self.position, epoch=epoch + 1, step=0)
        self._begin_to_save(score)
        if self.position.epoch < self._epochs and any(self._agreed(bool(self._interruption.signal))):
            self._leave()

    def save(self) -> None:
        """Writes the state as it is now; returns when it is on the disk."""
        self._begin_to_save()
        self._writer.wait()

    def _begin_to_save(self, score=None):
        state = state_of(self.model)  # of which every worker has a part: the sums of its metrics
        if self._workers.is_chief:
            self._writer.write(checkpoints.Checkpoint(state, self.position, score))
        self._since, self._written = 0, time.monotonic()

    def _leave(self):
        self._writer.wait()
        raise Stopped(f"{self._interruption.signal or 'another worker was asked to stop'}: saved at {self.position}")
