"""How the records that TFDS has prepared are read: as a stream, or each by its index.

A stream's examples hold their encoded pictures, so shuffling a whole split keeps all of it in memory. That is right for
some thousand pictures; for ImageNet it would be some 140 GB, and there an example is an index until it is decoded.

Both functions take a prepared builder, {our split: TFDS's split} and TFDS's decoders, and return `(examples, parse)`:

    examples   split -> `tf.data.Dataset` of dicts, in the same order each time, with `label` among their keys
    parse      such a dict -> the builder's features
"""

import contextlib

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds


def stream(builder, splits, decoders):
    """Reads records one after the other; see above."""

    def examples(split):
        config = tfds.ReadConfig(shuffle_seed=None, interleave_cycle_length=1)
        return builder.as_dataset(split=splits[split], decoders=decoders, read_config=config)

    return examples, lambda example: example


def by_index(builder, splits, decoders):
    """Reads records in any order, from a builder of file format `array_record`; see above.

    The labels alone are read once, and kept beside the data as `labels-<split>.npy`.
    """
    raw = tfds.decode.DeserializeMethod.RAW_BYTES
    sources = [builder.as_data_source(split=theirs, deserialize_method=raw) for theirs in splits.values()]
    features = builder.info.features

    def read(split, index):
        return sources[split][index]

    def parse(example):
        # Stateless, or tf.data would read one record at a time to be deterministic.
        record = tf.numpy_function(read, [example["split"], example["index"]], tf.string, stateful=False)
        return features.deserialize_example(tf.ensure_shape(record, []), decoders=decoders)

    def examples(split):
        number = list(splits).index(split)
        indices = tf.data.Dataset.range(len(sources[number]))
        indices = indices.map(lambda index: {"split": number, "index": index})
        labels = _labels(builder, split, indices.map(parse, tf.data.AUTOTUNE))
        return tf.data.Dataset.zip(indices, labels).map(lambda example, label: {**example, "label": label})

    return examples, parse


def _labels(builder, split, examples):
    path = builder.data_path / f"labels-{split}.npy"
    if path.exists():
        with path.open("rb") as file:
            labels = np.load(file)
    else:
        labels = np.array([int(example["label"]) for example in examples], np.int64)
        with contextlib.suppress(OSError):  # in a folder that cannot be written they are read again each time
            part = path.with_suffix(".part")
            with part.open("wb") as file:
                np.save(file, labels)
            part.replace(path)
    return tf.data.Dataset.from_tensor_slices(labels)
