"""What is written during training: the checkpoint, metrics.csv, and TensorBoard's logs with a few heatmaps."""

import os

import keras
import tensorflow as tf

from cgc_tf import figures, weights
from cgc_tf.runs import CHECKPOINT

OVERLAYS = 6


def callbacks(config, workdir, validation):
    """The Keras callbacks of a run, in the order in which they must act."""
    logs = str(workdir / "tensorboard")
    chosen = [
        keras.callbacks.CSVLogger(str(workdir / "metrics.csv"), append=True),
        keras.callbacks.TensorBoard(logs, write_graph=False),
        Overlays(next(iter(validation.unbatch().batch(OVERLAYS)))["image"], logs),
        Checkpoint(workdir / CHECKPOINT),
    ]
    if config.ema_momentum:
        chosen.insert(0, keras.callbacks.SwapEMAWeights())
    if config.early_stopping:
        patience = config.early_stopping
        best = keras.callbacks.EarlyStopping("val_accuracy", mode="max", patience=patience, restore_best_weights=True)
        chosen.append(best)
    return chosen


class Checkpoint(keras.callbacks.Callback):
    """Writes weights and optimizer after each epoch; the old file stays until the new one is whole."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def on_epoch_end(self, epoch, logs=None):
        self.write(epoch + 1)

    def write(self, epochs):
        """Writes the model's state as that after so many epochs."""
        self.path.parent.mkdir(exist_ok=True)
        partial = self.path.with_name("partial.weights.h5")
        weights.save_checkpoint(partial, self.model, epochs)
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
