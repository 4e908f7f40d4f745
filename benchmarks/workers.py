"""What workers cost: processor time of two on this machine over that of two replicas in one process.

  python -m benchmarks.workers --output=workers.json

Both train the same network by batches of noise, half of each on a replica: two replicas in one process, then two
processes with one each. The median step counts. Keys of the JSON: `workers_over_replicas`, processor seconds of a step,
of all threads; `agreement_seconds`, a worker's processor seconds of asking all whether to stop, once a second or so.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import time

import cgc_tf.common.quiet_tensorflow  # noqa: F401  # isort: skip
import keras
import tensorflow as tf
from absl import flags

from benchmarks import step, timing
from cgc_tf.common import program
from cgc_tf.training import device, workers

COUNT, WARMUP = 2, 2


def main(_):
    if flags.FLAGS.part:
        return print(json.dumps(train(flags.FLAGS.part)))
    found = {"two replicas": finish([start("replicas")])}
    cluster = {"worker": [f"localhost:{port}" for port in free_ports()]}
    tasks = [{"cluster": cluster, "task": {"type": "worker", "index": index}} for index in range(COUNT)]
    found["two workers"] = finish([start("worker", {"TF_CONFIG": json.dumps(task)}) for task in tasks])
    seconds = {name: sum(each["step"] for each in parts) for name, parts in found.items()}
    batch_size = flags.FLAGS.batch_size
    timing.table(f"{flags.FLAGS.backbone}, batch {batch_size}, processor time of a step", seconds, batch_size)
    return timing.report(
        {
            "workers_over_replicas": seconds["two workers"] / seconds["two replicas"],
            "agreement_seconds": max(each["agreement"] for each in found["two workers"]),
        }
    )


def free_ports():
    """Ports on which nobody listens."""
    sockets = [socket.create_server(("localhost", 0)) for _ in range(COUNT)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start(part, environment=None):
    """Starts a process that trains as a part of the whole, a `subprocess.Popen`."""
    command = [sys.executable, "-m", "benchmarks.workers", *sys.argv[1:], f"--part={part}"]
    return subprocess.Popen(command, env={**os.environ, **(environment or {})}, stdout=subprocess.PIPE, text=True)


def finish(processes):
    """What each process measured."""
    return [json.loads(process.communicate()[0].splitlines()[-1]) for process in processes]


def train(part):
    """Trains for some steps; returns the processor seconds of one, and of an agreement, medians."""
    device.keep_freed_memory()
    device.make_deterministic(seed=0)
    if part == "replicas":
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * COUNT)
        strategy = tf.distribute.MirroredStrategy([f"CPU:{index}" for index in range(COUNT)])
    else:
        strategy = workers.join(*workers.named("auto"))
    with strategy.scope():
        model = step.build(flags.FLAGS.backbone, "cgc")
    team, clock = workers.Workers(strategy), Clock()
    size = flags.FLAGS.batch_size // (COUNT if team.are_several else 1)
    batches = tf.data.Dataset.from_tensors(step.random_batch(size)).repeat()
    steps = WARMUP + flags.FLAGS.rounds
    model.fit(team.distributed(batches), steps_per_epoch=steps, shuffle=False, callbacks=[clock], verbose=0)
    asked = []
    for _ in range(steps):
        began = time.process_time()
        team.total([0, 0, 0])
        asked.append(time.process_time() - began)
    return {"step": statistics.median(clock.seconds[WARMUP:]), "agreement": statistics.median(asked)}


class Clock(keras.callbacks.Callback):
    """The processor seconds of each step."""

    def on_train_begin(self, logs=None):
        self.seconds, self._last = [], time.process_time()

    def on_train_batch_end(self, batch, logs=None):
        float(logs["loss"])  # which waits for the device
        now = time.process_time()
        self.seconds.append(now - self._last)
        self._last = now


def define_flags():
    """Defines the flags: what to measure, and how often."""
    timing.define_flags(rounds=7)
    flags.DEFINE_integer("batch_size", 8, "Examples of a step, over both.", lower_bound=COUNT)
    flags.DEFINE_string("part", "", "Which part this process is, of those that the first one starts.")


if __name__ == "__main__":
    program.run(main)
