"""What the views cost: our pipeline against the reference's loader in plain Pillow, and its share of a training step.

  python -m benchmarks.pipeline --output=pipeline.json

Draws JPEG files of ImageNet's usual size, 500x375 and some 120 kB, and makes a folder of 100,000 hard links to them.
The loaders share a process in which an operation has one thread; their seconds are those that it had of all cores
together, so that other work counts little. Keys of the JSON, the first four in examples per second and core:

  over_pillow_per_core      ours over Pillow's, to the same normalized float32 views, as in the reference
  over_pillow_uint8         to the same uint8 views
  over_pillow_as_used       each as its network takes the views: ours uint8, since the network normalizes them itself
  decoding_over_pillow      TensorFlow's decoding alone over Pillow's loader: views that cost nothing would reach this
  wait_share                the part of a training run that is spent waiting for data
  start_seconds, start_cpu_seconds, start_bytes
                            time on the clock and of all cores, and growth of the process's memory, until the first
                            batch of the large folder
"""

import cgc_tf.common.quiet_tensorflow  # noqa: F401  # isort: skip
import functools
import multiprocessing
import os
import pathlib
import tempfile
import time

import numpy as np
import psutil
import tensorflow as tf
from absl import flags
from PIL import Image

from benchmarks import pillow_loader, step, timing
from cgc_tf.common import graphs, program
from cgc_tf.data import batches, load
from cgc_tf.method.objective import VIEWS
from cgc_tf.networks.preprocessing import imagenet_normalization
from cgc_tf.training import device

SIZE, BATCH = 224, 32
PASSES = 2  # of ours in a round: its iterator takes a while to start, once in a run


def main(_):
    timing.use("cpu")
    device.make_deterministic(0)
    device.keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        small, large = pathlib.Path(folder, "small"), pathlib.Path(folder, "large")
        draw_files(small, flags.FLAGS.files)
        with multiprocessing.get_context("spawn").Pool(1, initializer=one_thread) as pool:
            ratios = pool.apply(loaders, (small, flags.FLAGS.rounds))
        ratios |= waiting(small, flags.FLAGS.backbone, flags.FLAGS.batch_size, flags.FLAGS.steps)
        link_files(small, large, flags.FLAGS.links)
        ratios |= start_up(large)
    timing.report(ratios)


def one_thread():
    """Keeps TensorFlow from splitting an operation between threads, as Pillow does not."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    device.keep_freed_memory()


def loaders(folder, rounds):
    """Times both loaders over all files; prints a table, returns ratios."""
    source, paths = load.load_dataset("folder", str(folder)), sorted(folder.glob("train/*/*.jpg"))
    made = batches.training_batches(source, SIZE, BATCH, seed=0, steps=PASSES * len(paths) // BATCH)
    normalize = imagenet_normalization()
    normalized = made.map(graphs.plain(lambda batch: {view: normalize(batch[view]) for view in VIEWS}))

    def decode(index):
        return tf.shape(source.decode("train", index)["image"])

    decoded = graphs.parallel(tf.data.Dataset.range(len(paths)).repeat(PASSES), decode)

    def consume(dataset):
        for _ in dataset:
            pass

    def pillow(make_batch):
        for start in range(0, len(paths), BATCH):
            make_batch(paths[start : start + BATCH], SIZE)

    functions = {
        "ours, uint8": functools.partial(consume, made),
        "ours, normalized": functools.partial(consume, normalized),
        "our decoding alone": functools.partial(consume, decoded.batch(BATCH)),
        "Pillow, uint8": functools.partial(pillow, pillow_loader.batch_uint8),
        "Pillow, normalized": functools.partial(pillow, pillow_loader.batch),
    }
    seconds = timing.rounds_of(functions, rounds)
    each = {name: value / len(paths) / (PASSES if name.startswith("our") else 1) for name, value in seconds.items()}
    size = np.mean([path.stat().st_size for path in paths]) / 1000
    title = f"three views of {SIZE} pixels from JPEG files of 500x375 and {size:.0f} kB, median of {rounds} rounds"
    timing.table(f"{title}; an example, by one core", timing.medians(each))
    return {
        "over_pillow_per_core": timing.ratio(each["Pillow, normalized"], each["ours, normalized"]),
        "over_pillow_uint8": timing.ratio(each["Pillow, uint8"], each["ours, uint8"]),
        "over_pillow_as_used": timing.ratio(each["Pillow, normalized"], each["ours, uint8"]),
        "decoding_over_pillow": timing.ratio(each["Pillow, normalized"], each["our decoding alone"]),
    }


def waiting(folder, backbone, batch_size, steps):
    """The share of a training run's time that is spent waiting for batches."""
    source = load.load_dataset("folder", str(folder))
    stream = iter(batches.training_batches(source, SIZE, batch_size, seed=0, steps=steps + 2))
    model, waited, begin = step.build(backbone, "cgc"), [], 0.0
    train_step = graphs.function(model.train_step)
    for index in range(steps + 2):
        if index == 2:
            begin = time.perf_counter()
        start = time.perf_counter()
        batch = next(stream)
        waited.append(time.perf_counter() - start)
        train_step(batch)["loss"].numpy()
    whole = time.perf_counter() - begin
    idle = sum(waited[2:])
    print(f"\n{backbone}, batch {batch_size}: {whole / steps:.3f} s a step, {idle / steps:.6f} s of it waiting")
    return {"wait_share": idle / whole}


def start_up(folder):
    """Seconds and memory from a large folder to its first batch."""
    process = psutil.Process()
    begin, cpu, before = time.perf_counter(), time.process_time(), process.memory_info().rss
    source = load.load_dataset("folder", str(folder))
    listed = time.perf_counter() - begin
    next(iter(batches.training_batches(source, SIZE, BATCH, seed=0, steps=100)))
    seconds, cpu, grown = time.perf_counter() - begin, time.process_time() - cpu, process.memory_info().rss - before
    count = sum(source.sizes.values())
    print(f"\n{count} files: checked after {listed:.1f} s, first batch after {seconds:.1f} s, {grown / 1e6:.0f} MB")
    return {"start_seconds": seconds, "start_cpu_seconds": cpu, "start_bytes": grown}


def draw_files(folder, count):
    """Writes so many pictures whose spectrum falls as photographs' do, in two classes, and one test picture of each."""
    frequency = np.hypot(np.fft.fftfreq(375)[:, None], np.fft.rfftfreq(500)[None])
    frequency[0, 0] = 1
    for index in range(count + 2):
        split = "train" if index < count else "test"
        path = folder / split / "ab"[index % 2] / f"{index:03d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        spectrum = np.fft.rfft2(np.random.default_rng(index).normal(size=(3, 375, 500))) / frequency**1.1
        picture = np.fft.irfft2(spectrum, (375, 500))
        gray = picture.mean(0) + 0.3 * picture
        pixels = np.clip(128 + 55 * gray / gray.std(), 0, 255).astype(np.uint8)
        Image.fromarray(pixels.transpose(1, 2, 0)).save(path, quality=flags.FLAGS.quality)


def link_files(small, large, count):
    """Makes a folder of so many hard links to the pictures of another, in 100 classes, one in ten to test on."""
    paths = sorted(small.glob("*/*/*.jpg"))
    for index in range(count):
        folder = large / ("test" if index % 1000 >= 900 else "train") / f"{index % 100:03d}"
        if index < 1000:
            folder.mkdir(parents=True, exist_ok=True)
        os.link(paths[index % len(paths)], folder / f"{index:06d}.jpg")


def define_flags():
    """Defines the flags: what to measure, and how often."""
    timing.define_flags(rounds=5, backbone="The network whose step has to wait.")
    flags.DEFINE_integer("batch_size", 8, "Its batch size.", lower_bound=1)
    flags.DEFINE_integer("steps", 10, "Its steps.", lower_bound=1)
    flags.DEFINE_integer("files", 256, "Pictures that are drawn.", lower_bound=BATCH)
    flags.DEFINE_integer("links", 100_000, "Files of the large folder.", lower_bound=1000)
    flags.DEFINE_integer("quality", 92, "Quality of the JPEG files.", lower_bound=1, upper_bound=100)


if __name__ == "__main__":
    program.run(main)
