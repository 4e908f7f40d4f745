"""Decoded pictures kept in memory or in files: the same numbers, and nothing decoded twice."""

import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from cgc_tf.common.errors import UserError
from cgc_tf.data import batches, cache, folder, load
from cgc_tf.data.source import labeled_part


@pytest.fixture
def copy(pictures, tmp_path):
    return pathlib.Path(shutil.copytree(pictures, tmp_path / "copy"))


@pytest.fixture
def decodings(monkeypatch, tmp_path):
    """A function that counts how many pictures have been decoded so far."""
    decode, log = folder.decode_image, []

    def logged(contents):
        tf.py_function(lambda: log.append(1), [], [])
        return decode(contents)

    monkeypatch.setattr(folder, "decode_image", logged)
    return lambda: len(log)


def read_batches(source, steps=6):
    return list(batches.training_batches(source, 32, 8, seed=2, steps=steps).as_numpy_iterator())


def assert_same(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        assert set(one) == set(other)
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize("where", ["memory", "files"])
def test_same_numbers_and_nothing_decoded_twice(copy, tmp_path, where, decodings):
    source = load.load_dataset("folder", str(copy))
    expected = read_batches(source)
    assert decodings() == 48
    kept = cache.cached(source, "memory" if where == "memory" else str(tmp_path / "kept"))
    assert_same(read_batches(kept), expected)
    assert decodings() == 48 + 24
    assert_same(*(opened.decoded("test").as_numpy_iterator() for opened in (kept, source)))
    labeled, rest = labeled_part(kept, 0.5, seed=0)
    assert labeled.sizes["train"] == rest.sizes["train"] == 12
    assert len(read_batches(labeled, 2)) == 2


def test_files_serve_a_later_run_as_long_as_the_data_is_the_same(copy, tmp_path, decodings):
    root = str(tmp_path / "kept")
    first = read_batches(cache.cached(load.load_dataset("folder", str(copy)), root))
    assert decodings() == 24
    assert_same(read_batches(cache.cached(load.load_dataset("folder", str(copy)), root)), first)
    assert decodings() == 24
    (tmp_path / "kept").joinpath(next((tmp_path / "kept").iterdir()), cache.FILLED).unlink()  # filled in part only
    assert_same(read_batches(cache.cached(load.load_dataset("folder", str(copy)), root)), first)
    assert decodings() == 48
    shutil.copyfile(copy / "train/red_wings/000.jpg", copy / "train/red_wings/001.jpg")
    changed = read_batches(cache.cached(load.load_dataset("folder", str(copy)), root))
    assert_same(changed, read_batches(load.load_dataset("folder", str(copy))))
    assert any((one["ce"] != other["ce"]).any() for one, other in zip(changed, first, strict=True))


def test_no_cache_is_the_source_itself(pictures):
    source = load.load_dataset("folder", str(pictures))
    assert cache.cached(source, "none") is source


def test_folder_that_cannot_be_written_is_named(pictures, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--cache=.*file cannot be written: Not a directory"):
        read_batches(cache.cached(load.load_dataset("folder", str(pictures)), str(tmp_path / "file")))
