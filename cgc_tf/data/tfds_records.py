"""How the records that TFDS has prepared are read: each by its index, in any order.

A shuffled stream of records would hold its encoded pictures in memory, for ImageNet some 140 GB.
"""

import contextlib

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from array_record.python.array_record_data_source import ArrayRecordDataSource
from tqdm import tqdm

from cgc_tf.common import files, graphs
from cgc_tf.common.errors import UserError

FORMAT = "array_record"  # TFDS's file format for this


def check(builder: tfds.core.DatasetBuilder) -> None:
    """Opens every file of records that a prepared builder names: each must be there, whole, with all of its records.

    Raises:
        RuntimeError: naming the file that is not; other errors where it is no file of records at all.
    """
    for split in builder.info.splits.values():
        for path, promised in zip(split.filepaths, split.shard_lengths, strict=True):
            try:
                found = len(ArrayRecordDataSource([str(path)]))
            except RuntimeError as error:
                raise RuntimeError(f"{path.name}: {error}") from error
            if found != promised:
                raise RuntimeError(f"{path.name}: {found} records instead of {promised}")


def by_index(builder, splits, decoders):
    """Opens the records of a builder.

    The labels alone are read once, and kept beside the data as `labels-<split>.npy`.

    Args:
        builder: a prepared builder whose records are there in `FORMAT`.
        splits: {our split: TFDS's split}.
        decoders: TFDS's decoders.

    Returns:
        `(parse, labels)`: a function, our split and index (a scalar int64 tensor) -> the builder's features; and
        the labels of each split, int32 `[N]`.

    Raises:
        UserError: the kept labels are not those of this data.
    """
    raw = tfds.decode.DeserializeMethod.RAW_BYTES
    records = {
        ours: builder.as_data_source(split=theirs, deserialize_method=raw, file_format=FORMAT)
        for ours, theirs in splits.items()
    }

    def parse(split, index):
        # Stateless, or tf.data would read one record at a time to be deterministic.
        record = tf.numpy_function(records[split].__getitem__, [index], tf.string, stateful=False)
        return builder.info.features.deserialize_example(tf.ensure_shape(record, []), decoders=decoders)

    return parse, {split: _labels(builder, split, len(found), parse) for split, found in records.items()}


def _labels(builder, split, count, parse):
    path = builder.data_path / f"labels-{split}.npy"
    if path.exists():
        labels = _kept(path)
    else:

        def label(index):
            return parse(split, index)["label"]

        examples = graphs.parallel(tf.data.Dataset.range(count), label)
        bar = tqdm(examples, f"reading labels of {split}", count, leave=False, disable=None)
        labels = np.array([int(found) for found in bar], np.int32)
        # In a folder that cannot be written they are read again each time.
        with contextlib.suppress(OSError), files.whole(path, "wb") as file:
            np.save(file, labels)
    if len(labels) != count:
        raise UserError(f"{path} contains {len(labels)} labels of {count} examples; remove it, and they are read again")
    return labels.astype(np.int32)


def _kept(path):
    try:
        with path.open("rb") as file:
            return np.load(file)
    except (ValueError, EOFError) as error:
        raise UserError(f"{path} is not a file of labels; remove it, and they are read again") from error
