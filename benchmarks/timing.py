"""Timing, memory and what is told of them, so that every benchmark measures alike."""

import json
import pathlib
import statistics
import time

import numpy as np
import tensorflow as tf
from absl import flags
from tqdm import tqdm

v1 = tf.compat.v1


def define_flags(rounds, backbone="The network."):
    """Defines the flags that benchmarks share; `rounds` is the default number of them."""
    flags.DEFINE_string("backbone", "resnet50", backbone)
    flags.DEFINE_integer("rounds", rounds, "Interleaved rounds whose median counts.", lower_bound=1)
    flags.DEFINE_string("output", None, "File to write the ratios to, as flat JSON.")


def table(title, seconds, examples=1):
    """Prints {name: seconds}, and how many examples a second that is."""
    print(f"\n{title}")
    for name, value in seconds.items():
        print(f"  {name:<24} {1000 * value:9.1f} ms {examples / value:9.2f} a second")


def report(ratios):
    """Prints ratios, and writes them where --output says."""
    print()
    for name, value in ratios.items():
        print(f"  {name:<30}{value:12.4g}")
    if path := flags.FLAGS.output:
        pathlib.Path(path).write_text(json.dumps(ratios, indent=2) + "\n")
        print(f"written: {path}")


def interleaved(functions, rounds, warmup=1, clock=time.perf_counter):
    """Median seconds of each of {name: function}, called in turn, after `warmup` rounds that do not count.

    `clock` is what seconds are: `time.process_time` counts those of every core of this process, and no other's.
    """
    return {name: statistics.median(seconds) for name, seconds in rounds_of(functions, rounds, warmup, clock).items()}


def rounds_of(functions, rounds, warmup=1, clock=time.perf_counter):
    """What `interleaved` takes the medians of: {name: the clock's difference in each round}, A B, B A, A B, ..."""
    seconds = {name: [] for name in functions}
    for index in tqdm(range(warmup + rounds), "timing " + ", ".join(functions), leave=False, disable=None):
        for name, function in list(functions.items())[:: 1 - index % 2 * 2]:
            start = clock()
            function()
            if index >= warmup:
                seconds[name].append(clock() - start)
    return seconds


def peak_bytes(build, *arrays):
    """The most memory that TensorFlow's CPU allocator held at once for what `build` makes of its inputs.

    Args:
        build: a function, placeholders of the arrays' shapes -> a list of tensors to compute.
        arrays: NumPy arrays; they do not count themselves.
    """
    with tf.Graph().as_default():
        inputs = [v1.placeholder(array.dtype, array.shape) for array in arrays]
        outputs, feed = build(*inputs), dict(zip(inputs, arrays, strict=True))
        with v1.Session(config=v1.ConfigProto(inter_op_parallelism_threads=1)) as session:
            session.run(outputs, feed)
            metadata, options = v1.RunMetadata(), v1.RunOptions(trace_level=v1.RunOptions.FULL_TRACE)
            session.run(outputs, feed, options=options, run_metadata=metadata)
    records = [
        (record.alloc_micros, record.alloc_bytes)
        for device in metadata.step_stats.dev_stats
        for node in device.node_stats
        for memory in node.memory
        for record in memory.allocation_records
    ]
    return int(np.cumsum([size for _, size in sorted(records)]).max())
