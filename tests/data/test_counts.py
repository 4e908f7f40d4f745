"""What is promised is counted: no epoch, validation, evaluation or cache of fewer examples passes for a whole one."""

import csv
import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from cgc_tf.common.errors import UserError
from cgc_tf.data import batches, cache, load
from cgc_tf.data.source import faults_named, read
from cgc_tf.evaluation import evaluated_models
from cgc_tf.evaluation.measure import measure
from cgc_tf.evaluation.protocol import Protocol
from cgc_tf.method.geometry import whole_view
from cgc_tf.method.model import CGCModel
from cgc_tf.training import train

ROOT = pathlib.Path(__file__).parents[2]
TOY = """
import sys
import cgc_tf.common.quiet_tensorflow
from absl import app
from cgc_tf.training import config, train
from cgc_tf.data.datasets.toy_aircraft import toy_aircraft_dataset_builder as toy
toy.SPLIT_SIZES = {"train": 40, "validation": 17, "test": 8}
config.define_flags()
app.run(lambda _: train.train(config.from_flags(), sys.argv[1]) and None, ["toy", *sys.argv[2:]])
"""


def test_why_no_cache_of_tensorflow_stands_in_the_tree():
    """Elements that fail are left out of it, and where the input ends it is complete for good, without an error."""
    works = [False]

    def fails_from_the_62nd_on(number):
        if number >= 62 and not works[0]:
            raise RuntimeError("as an iterator that is dropped cancels what stands above the records")
        return number

    records = tf.data.Dataset.range(256)
    below = records.map(lambda n: tf.numpy_function(fails_from_the_62nd_on, [n], tf.int64))
    dataset = below.cache()
    iterator, seen, failed = iter(dataset), 0, 0
    while True:
        try:
            next(iterator)
            seen += 1
        except StopIteration:
            break
        except tf.errors.UnknownError:
            failed += 1
    works[0] = True  # whatever it was is over
    assert (seen, failed) == (62, 256 - 62)
    assert len(list(dataset)) == 62 and len(list(below)) == 256
    files = [path for folder in ("cgc_tf", "export", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    files = [path for path in files if not path.name.endswith("_test.py")]
    assert len(files) > 60
    for path in (*files, ROOT / "train.py", ROOT / "evaluate.py"):
        # `as_dataset` of TFDS caches by itself, unless it is told not to
        assert not re.search(r"\.cache\(\)|\.as_dataset\(|\btfds\.load\(", path.read_text()), path


def shortened(monkeypatch, module, name, batches):
    """Makes a function of batches give the first few alone."""
    whole = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *args, **keywords: whole(*args, **keywords).take(batches))


@pytest.mark.slow
@pytest.mark.parametrize("batches", [0, 4])
def test_epoch_of_fewer_steps_is_an_error_and_not_kept(small_config, tmp_path, monkeypatch, batches):
    shortened(monkeypatch, train, "training_stream", batches)
    with pytest.raises(UserError, match=f"epoch {1 + batches // 3}: {batches % 3} steps instead of 3; "):
        train.train(small_config, tmp_path / "run")
    assert len(list(csv.DictReader((tmp_path / "run/metrics.csv").open()))) == batches // 3
    kept = list((tmp_path / "run/checkpoints").glob("*"))
    assert len(kept) == batches // 3


@pytest.mark.slow
def test_validation_of_fewer_examples_is_an_error(small_config, tmp_path, monkeypatch):
    shortened(monkeypatch, batches, "validation_batches", 1)
    with pytest.raises(UserError, match="validation of epoch 1: 8 examples instead of 12; "):
        train.train(small_config, tmp_path / "run")
    assert not (tmp_path / "run/metrics.csv").read_text()


@pytest.mark.sampled
@pytest.mark.parametrize("name", ["evaluation_batches", "whole_image_batches"])
def test_evaluation_of_fewer_examples_is_an_error(name, workdir, small_config, monkeypatch):
    source, subject = load.load_dataset("folder", small_config.data_dir), evaluated_models.from_workdir(workdir)
    shortened(monkeypatch, batches, name, 1)
    with pytest.raises(UserError, match=r"(5|2|3) examples instead of 12; "):
        measure(subject, source, Protocol(curves="none"), 5)


def test_cache_of_another_length_is_filled_again(pictures, tmp_path, capsys):
    source, root = load.load_dataset("folder", str(pictures)), str(tmp_path)
    cache.cached(source, root)
    (tmp_path / next(tmp_path.glob("folder-*")) / "7.tensors").unlink()
    images = list(cache.cached(source, root).decoded("train").as_numpy_iterator())
    assert "contains 23 of 24 examples; it is filled again" in capsys.readouterr().out
    assert len(images) == 24


def test_keras_drops_no_batch(small_config):
    """It would read and drop one before every validation, under a strategy."""
    read = []

    def counted(batch):
        tf.py_function(lambda: read.append(1), [], [])
        return batch

    with tf.distribute.OneDeviceStrategy("CPU:0").scope():
        images = keras.Input([48, 48, 3])
        features = keras.layers.Conv2D(4, 3, strides=4)(images)
        logits = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(features))
        model = CGCModel.from_classifier(keras.Model(images, logits))
        model.compile(keras.optimizers.SGD(0.01))
    source = load.load_dataset("folder", small_config.data_dir)
    model.evaluate(batches.validation_batches(source, "test", 48, 4).map(counted), verbose=0)
    assert len(read) == 3 and int(keras.ops.convert_to_numpy(model.accuracy.count)) == 12


@pytest.mark.slow
def test_two_processes_from_an_empty_folder_agree_bit_for_bit(tmp_path):
    """Nothing that is prepared, cached or shuffled leaves a trace in a run's numbers."""
    flags = ["--dataset=toy_aircraft", "--backbone=resnet8", "--image_size=32", "--epochs=2", "--batch_size=8"]
    written = []
    for number in range(2):
        place = [tmp_path / f"run{number}", *flags, f"--data_dir={tmp_path / f'data{number}'}"]
        command = [sys.executable, "-c", TOY, *map(str, place)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": "."})
        assert done.returncode == 0, done.stderr[-2000:]
        assert "val_accuracy and the like: on 17 of the 17 examples of the validation split\n" in done.stdout
        written.append((tmp_path / f"run{number}/metrics.csv").read_bytes())
    assert written[0] == written[1] and written[0].count(b"\n") == 3


def test_start_says_what_is_left_out_and_where_it_is_computed(small_config, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(train, "_fit", lambda *_: None)
    train.train(dataclasses.replace(small_config, batch_size=7, validation_examples=5), tmp_path / "run")
    printed = capsys.readouterr().out
    assert (
        "steps: 3 an epoch, of 7 examples; whole batches leave out 3 of 24 in each pass, others in the next\n"
        in printed
    )
    assert "val_accuracy and the like: on 5 of the 12 examples of the test split, for watching alone\n" in printed
    assert re.search(r"device: the CPU \(.+\)\n", printed)


def test_strip_is_enlarged_within_bounds(tmp_path):
    """4 x 6000 pixels would become 448 x 672000, and took 3.4 GB."""
    assert whole_view(4, 6000, 448).numpy().tolist() == [46, 69403]
    assert whole_view(100, 1600, 448).numpy().tolist() == [448, 7168]  # as long as any may be
    for height, width in ((1, 30_000), (30_000, 1), (2, 60_000_000), (101, 1700)):
        pixels = np.prod(whole_view(height, width, 448).numpy().astype(int))
        assert 0.9 * 16 * 448**2 < pixels <= 16 * 448**2 or min(height, width) == 2


def spoiled(pictures, tmp_path, split):
    """A copy of a folder in which the header and end of a picture are right and its pixels are not; and its path."""
    root = pathlib.Path(shutil.copytree(pictures, tmp_path / "copy"))
    path = root / split / "red_wings/003.png"
    contents = bytearray(path.read_bytes())
    contents[len(contents) // 2] ^= 0xFF
    path.write_bytes(contents)
    return root, path


@pytest.mark.slow
def test_every_reader_names_a_bad_picture(pictures, tmp_path):
    root, path = spoiled(pictures, tmp_path, "test")
    source = load.load_dataset("folder", str(root))
    message = f"1 of 12 test examples cannot be decoded, the first: {path} \\(.*PNG.*\\); fix or remove it"
    for stream in (
        batches.evaluation_batches(source, "test", 32, 4),
        batches.whole_image_batches(source, "test", 32, 4),
        batches.validation_batches(source, "test", 32, 4),
    ):
        with pytest.raises(UserError, match=message):
            list(read(source, stream, 12, "reading"))
    with pytest.raises(UserError, match=message):
        source.examples("test", [0, 11])
    part = source.subset("test", np.array([3, 11]))
    with pytest.raises(UserError, match=message.replace("12 test", "2 test")), faults_named(None, part):
        list(part.decoded("test"))


def test_inspection_and_cache_name_a_bad_picture_in_one_line(pictures, tmp_path, programs):
    root, path = spoiled(pictures, tmp_path, "train")
    with pytest.raises(UserError, match=f"1 of 24 train examples cannot be decoded, the first: {path} "):
        cache.cached(load.load_dataset("folder", str(root)), "memory")
    command = ["-m", "cgc_tf.data.inspect_dataset", "--dataset=folder", f"--data_dir={root}", "--examples=24"]
    command.append(f"--output={tmp_path / 'sheet.png'}")
    done = programs.run(*command)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert f"the first: {path} (" in done.stderr
