"""Data that was prepared and damaged since: one line that names the file at fault and the folder to remove."""

import pathlib

import pytest

from cgc_tf.common.errors import UserError
from cgc_tf.data import load
from cgc_tf.data.source import read

SHARD = "toy_aircraft-train.array_record-00000-of-00001"


def half(contents):
    return contents[: len(contents) // 2]


def empty(_):
    return b""


def one_byte_changed(contents):
    """Within a record, so that the file still opens."""
    return contents[:30_000] + bytes([contents[30_000] ^ 0xFF]) + contents[30_001:]


def complaint(data_dir):
    """The one line that opening and reading the dataset ends with."""

    def read_all():
        source = load.load_dataset("toy_aircraft", data_dir)
        list(read(source, source.decoded("train"), 16, "reading"))

    with pytest.raises(UserError) as caught:
        read_all()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_damage_is_named_in_one_line(place):
    data_dir = place("toy_aircraft")
    load.load_dataset("toy_aircraft", data_dir)
    prepared = pathlib.Path(data_dir, "toy_aircraft")
    for name, damage, expected in (
        ("dataset_info.json", empty, "(Failed to load JSON: "),
        ("dataset_info.json", half, "(Failed to load JSON: "),
        ("features.json", half, "(Expecting "),
        (SHARD, empty, f"({SHARD}: ArrayRecord file should be at least "),
        (SHARD, half, f"({SHARD}: Corrupted "),
        ("dataset_info.json", None, "(Could not read dataset info from "),
        (SHARD, None, f"({SHARD}: open() failed: No such file"),
    ):
        path = prepared / "1.0.1" / name
        whole = path.read_bytes()
        if damage:
            path.write_bytes(damage(whole))
        else:
            path.unlink()
        message = complaint(data_dir)
        assert message.startswith(f"toy_aircraft was prepared in {prepared}, but cannot be read from there {expected}")
        assert message.endswith("; if it is damaged, remove that folder, and it is prepared again")
        path.write_bytes(whole)
    assert load.load_dataset("toy_aircraft", data_dir).sizes["train"] == 16


def test_damaged_record_is_named_when_it_is_read(place):
    data_dir = place("toy_aircraft")
    load.load_dataset("toy_aircraft", data_dir)
    prepared = pathlib.Path(data_dir, "toy_aircraft")
    path = prepared / "1.0.1" / SHARD
    path.write_bytes(one_byte_changed(path.read_bytes()))
    message = complaint(data_dir)
    assert " of 16 train examples cannot be decoded, the first: number " in message and "(Corrupted " in message
    assert message.endswith(f"; remove {prepared}, and it is prepared again")
    (path.parent / "labels-train.npy").unlink()  # so that all records are read when it is opened
    assert complaint(data_dir).startswith(f"toy_aircraft was prepared in {prepared}, but cannot be read from there (")
