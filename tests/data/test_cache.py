"""Decoded pictures kept in memory or in files: the same numbers, and nothing decoded twice."""

import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from cgc_tf.common.errors import UserError
from cgc_tf.data import batches, cache, load
from cgc_tf.data import pictures as picture_files
from cgc_tf.data.source import labeled_part, read


@pytest.fixture
def copy(pictures, tmp_path):
    return pathlib.Path(shutil.copytree(pictures, tmp_path / "copy"))


@pytest.fixture
def decodings(monkeypatch, tmp_path):
    """A function that counts how many pictures have been decoded so far."""
    decode, log = picture_files.decode_image, []

    def logged(contents):
        tf.py_function(lambda: log.append(1), [], [])
        return decode(contents)

    monkeypatch.setattr(picture_files, "decode_image", logged)
    return lambda: len(log)


def read_batches(source, steps=6):
    return list(batches.training_batches(source, 32, 8, seed=2, steps=steps).as_numpy_iterator())


def assert_same(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        assert set(one) == set(other)
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.sampled
@pytest.mark.parametrize("where", ["files", "memory"])
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_file_cut_short_is_named(pictures, tmp_path):
    source = load.load_dataset("folder", str(pictures))
    kept = cache.cached(source, str(tmp_path))
    (path,) = tmp_path.rglob("7.tensors")
    whole = path.read_bytes()
    for size in (0, 1000, len(whole) - 1):
        path.write_bytes(whole[:size])
        stream = batches.training_batches(kept, 32, 8, seed=0, steps=3)
        with pytest.raises(UserError) as caught:
            list(read(kept, stream, 24, "training"))
        message = str(caught.value)
        assert message.startswith(f"1 of 24 train examples cannot be decoded, the first: {path} (")
        assert message.endswith(f"; remove {path.parent}, and it is filled again") and "\n" not in message
