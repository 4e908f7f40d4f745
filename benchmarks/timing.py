"""Timing, memory and what is told of them, so that every benchmark measures alike."""

import json
import pathlib
import time

import numpy as np
import tensorflow as tf
from absl import flags
from tqdm import tqdm

from cgc_tf.common import environment
from cgc_tf.common.errors import UserError

v1 = tf.compat.v1


def define_flags(rounds, backbone="The network."):
    """Defines the flags that benchmarks share; `rounds` is the default number of them."""
    flags.DEFINE_string("backbone", "resnet50", backbone)
    flags.DEFINE_integer("rounds", rounds, "Interleaved rounds, whose median and quartiles count.", lower_bound=1)
    flags.DEFINE_string("output", None, "File to write the ratios to, as flat JSON.")


def use(device):
    """Computes on the CPU, although there may be a GPU; or on that, which raises `UserError` where there is none.

    It comes before anything is computed, and decides which time `rounds_of` takes.
    """
    if device == "cpu":
        tf.config.set_visible_devices([], "GPU")
    elif not tf.config.list_physical_devices("GPU"):
        raise UserError(f"--device={device}: TensorFlow found {environment.device()}")


def unit():
    """What `rounds_of` measures, in words."""
    return "elapsed seconds of a GPU" if tf.config.get_visible_devices("GPU") else "seconds of a core"


def table(title, seconds, examples=1):
    """Prints {name: seconds}, and how many examples a second that is."""
    print(f"\n{title}")
    for name, value in seconds.items():
        print(f"  {name:<24} {1000 * value:9.1f} ms {examples / value:9.2f} a second")


def report(ratios):
    """Prints ratios, with their spread where it is known, and writes them where --output says.

    `ratios` is {name: number, or `(median, lower quartile, upper quartile)`}.
    """
    print()
    for name, value in ratios.items():
        print(f"  {name:<30}{in_words(value)}")
    if path := flags.FLAGS.output:
        pathlib.Path(path).write_text(json.dumps(ratios, indent=2) + "\n")


def in_words(value):
    """A number of a report, or its median and its quartiles."""
    if not isinstance(value, list | tuple):
        return f"{value:.4g}"
    median, low, high = value
    return f"{median:.4g} ({low:.4g} to {high:.4g})"


def rounds_of(functions, rounds, warmup=1, clock=None):
    """Times {name: function} in turn, A B, B A, A B, ...: {name: the clock's difference in each round}, an array.

    The clock is by default the seconds that every core worked for this process, which other work does not touch, and on
    a GPU elapsed time, until it is done; `time.perf_counter` is for what waits. The first `warmup` rounds do not count.
    """
    on_gpu = bool(tf.config.get_visible_devices("GPU"))
    clock = clock or (time.perf_counter if on_gpu else time.process_time)
    seconds = {name: [] for name in functions}
    for index in tqdm(range(warmup + rounds), "timing " + ", ".join(functions), leave=False, disable=None):
        names = list(functions) if index % 2 == 0 else list(reversed(functions))
        for name in names:
            start = clock()
            functions[name]()
            if on_gpu:
                tf.test.experimental.sync_devices()
            if index >= warmup:
                seconds[name].append(clock() - start)
    return {name: np.array(values) for name, values in seconds.items()}


def medians(rounds):
    """{name: median seconds} of what `rounds_of` gives."""
    return {name: float(np.median(values)) for name, values in rounds.items()}


def ratio(upper, lower):
    """`(median, lower quartile, upper quartile)` of the ratios of two functions' seconds in each round."""
    return tuple(float(value) for value in np.percentile(upper / lower, [50, 25, 75]))


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
