"""A dry run: all that a run is going to do, once, on a few examples; and what the whole of it will take."""

import contextlib
import io
import pathlib
import resource
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable

import keras
import tensorflow as tf

from cgc_tf.common.errors import UserError
from cgc_tf.common.files import PathLike
from cgc_tf.data import batches
from cgc_tf.data.source import faults_named
from cgc_tf.training import checkpoints, device
from cgc_tf.training.checkpoints import Checkpoint, Position
from cgc_tf.training.config import Config
from cgc_tf.training.setup import prepare, training_stream, writing
from cgc_tf.training.state import state_of

STEPS = 3  # at most; the first one compiles
SECONDS = 15  # of steps, after which no other is begun


def check(
    config: Config, workdir: PathLike | None, evaluate: Callable, export: Callable, allow_changes: bool = False
) -> str:
    """Tries all that a run does: data, weights, steps, validation, a checkpoint, an evaluation and an export.

    Args:
        config: the run's settings.
        workdir: where the run would be kept; None for `config.default_workdir()`. Everything is written beside it, on
            the same disk, and removed again.
        evaluate: evaluates a few examples of a trained run, `(workdir)`.
        export: exports a trained run, `(workdir, output)`.
        allow_changes: as for `train`.

    Returns:
        A text: what was checked, and estimates of time, memory and disk.

    Raises:
        UserError: for whatever the user can fix.
    """
    workdir = pathlib.Path(workdir or config.default_workdir())
    config.changes(workdir, allow_changes)
    device.keep_freed_memory()
    device.seed(config)
    near = next(folder for folder in workdir.absolute().parents if folder.exists())
    with writing(workdir), tempfile.TemporaryDirectory(prefix="dry-run-", dir=near) as scratch:
        scratch = pathlib.Path(scratch)
        _say("data and network")
        prepared = prepare(config, scratch, device.make_strategy(config))
        _say(f"training, up to {STEPS} steps, the first of which compiles")
        with faults_named(prepared.source, prepared.unlabeled):
            step_seconds = _train(config, prepared)
            _say("validation")
            validation_seconds = _validate(config, prepared)
        _say("a checkpoint")
        began = time.monotonic()
        step = Checkpoint(state_of(prepared.model), Position(0, 1, prepared.steps))
        (scratch / checkpoints.FOLDER).mkdir()
        size = checkpoints.write(scratch / checkpoints.FOLDER, step).stat().st_size
        checkpoint_seconds = time.monotonic() - began
        _say("an evaluation")
        with contextlib.redirect_stdout(io.StringIO()), _eagerly():
            evaluate(scratch)
        _say("an export")
        with contextlib.redirect_stdout(io.StringIO()):
            export(scratch, scratch / "exported")
        free = shutil.disk_usage(scratch).free
    wanted = size * (config.keep_checkpoints + 2)  # the best, and one being written
    if wanted > free:
        raise UserError(f"--workdir={workdir}: {_size(wanted)} are needed for checkpoints, {_size(free)} are free")
    epoch = prepared.steps * step_seconds + validation_seconds + checkpoint_seconds
    sizes = ", ".join(f"{count} {split}" for split, count in prepared.source.sizes.items())
    count = sum(variable.numpy().size for variable in prepared.model.trainable_variables)
    return "\n".join(
        [
            f"checked:  flags; {config.dataset}: {sizes}; {config.backbone}, {count / 1e6:.1f} million weights; "
            "steps, validation, a checkpoint, an evaluation, an export",
            f"time:     {step_seconds:.2g} s a step, {_duration(epoch)} an epoch of {prepared.steps} steps, "
            f"{_duration(config.epochs * epoch)} for {config.epochs}",
            f"memory:   {_memory()}",
            f"disk:     {_size(size)} a checkpoint, {_size(wanted)} in all; {_size(free)} are free in {near}",
        ]
    )


def _say(part):
    """Says what is done next: of a large network each part takes a while, and a file or a pipe shows no bar."""
    print(f"dry run: {part}", flush=True)


@contextlib.contextmanager
def _eagerly():
    """Functions run as Python: of so few examples, tracing them takes longer than they do."""
    tf.config.run_functions_eagerly(True)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Even though the `tf.config")  # tf.data's are traced, as they should be
            yield
    finally:
        tf.config.run_functions_eagerly(False)


def _train(config, prepared):
    """Trains for a few steps; returns the seconds of one, the fastest, since the first includes compiling."""
    clock = _Clock()
    steps = min(STEPS, config.epochs * prepared.steps)
    stream = training_stream(config, prepared).take(steps)
    prepared.model.fit(stream, steps_per_epoch=steps, shuffle=False, callbacks=[clock], verbose=0)
    if faults := int(keras.ops.convert_to_numpy(prepared.model.faults.counts)[-1]):
        raise UserError(f"{faults} of the first steps were not finite: try a lower --learning_rate, or --clip_norm=1")
    return min(clock.seconds)


class _Clock(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.seconds, self._began, self._last = [], time.monotonic(), time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        float(logs["loss"])  # which waits for the device
        now = time.monotonic()
        self.seconds.append(now - self._last)
        self._last = now
        self.model.stop_training = len(self.seconds) > 1 and now - self._began > SECONDS


def _validate(config, prepared):
    """Validates on one batch; returns the seconds of a validation."""
    source = prepared.source
    count = min(config.validation_examples, source.sizes[source.validation])
    one_batch = min(count, config.batch_size)
    views = batches.validation_batches(source, source.validation, config.image_size, config.batch_size, one_batch)
    prepared.model.evaluate(views, verbose=0)
    began = time.monotonic()
    prepared.model.evaluate(views, verbose=0)
    return (time.monotonic() - began) * -(-count // config.batch_size)


def _memory():
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    gpus = tf.config.list_logical_devices("GPU")
    own = [tf.config.experimental.get_memory_info(gpu.name.removeprefix("/device:"))["peak"] for gpu in gpus]
    return f"{_size(peak)} at its peak" + "".join(f", {_size(each)} on a GPU" for each in own)


def _size(count):
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _duration(seconds):
    minutes, hours = seconds / 60, seconds / 3600
    if hours >= 48:
        return f"{hours / 24:.1f} days"
    return f"{hours:.1f} hours" if hours >= 2 else f"{minutes:.1f} minutes" if minutes >= 2 else f"{seconds:.0f} s"
