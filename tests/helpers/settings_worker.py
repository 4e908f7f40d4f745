"""Takes settings through a run: trains, is stopped on the way, goes on, is evaluated and exported.

Given a folder for the run and a JSON object of settings; one comes back, of how it went.
"""

import contextlib
import functools
import json
import pathlib
import signal
import sys

import cgc_tf.common.quiet_tensorflow  # noqa: F401  # isort: skip
import numpy as np
import tensorflow as tf

from cgc_tf.common.errors import Stopped
from cgc_tf.evaluation import evaluate
from cgc_tf.evaluation.examples import Drawing
from cgc_tf.evaluation.protocol import Protocol
from cgc_tf.training import callbacks, config, journal, metrics_file, own_callback, run_folder, train
from export import saved_model

FEW = Protocol(limit=4, curve_steps=1, resamples=100)


class StopsOnce(callbacks.Overlays):
    """Asks a run to stop, as a user would, in its second step."""

    steps = 0

    def on_train_batch_end(self, batch, logs=None):
        StopsOnce.steps += 1
        if StopsOnce.steps == 2:
            signal.raise_signal(signal.SIGTERM)


def take_through(settings, workdir):
    """Returns what is there in the end."""
    StopsOnce.steps = 0
    settings = {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}
    own = [own_callback.load(settings.pop("callback"))] if "callback" in settings else []
    settings = config.Config(**settings)
    try:
        train.train(settings, workdir, own_callbacks=own)
    except Stopped:
        train.train(settings, workdir, own_callbacks=own)
    rows = metrics_file.rows(workdir)
    measured = [float(value) for row in rows for value in row.values()]
    (report,) = evaluate.evaluate([workdir], protocol=FEW, drawing=Drawing(1, gallery=1)).reports
    version = saved_model.export(workdir, workdir / "exported")
    answer = tf.saved_model.load(str(version)).signatures["explain_tensor"](
        images=np.full((1, 48, 48, 3), 99, np.float32)
    )
    expected = run_folder.trained_model(settings, workdir).explain(np.full((1, 48, 48, 3), 99, np.float32))
    return {
        "starts": [event["position"]["step"] for event in journal.read(workdir) if event["event"] == "start"],
        "epochs": len(rows),
        "finite": bool(np.isfinite(measured).all()),
        "examples": report["examples"],
        "exported_difference": float(np.abs(answer["probabilities"] - expected["probabilities"]).max()),
    }


def use_replicas(count):
    device = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * count)
    devices = [f"CPU:{index}" for index in range(count)]
    # One in a process: a second strategy breaks TensorFlow's collectives.
    tf.distribute.MirroredStrategy = functools.cache(functools.partial(tf.distribute.MirroredStrategy, devices))


def main(workdir, settings):
    if replicas := settings.pop("replicas", 0):
        use_replicas(replicas)
    callbacks.Overlays = StopsOnce
    with contextlib.redirect_stdout(sys.stderr):
        result = take_through(settings, pathlib.Path(workdir))
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
