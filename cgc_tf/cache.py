"""Decoded training pictures, kept in memory or in files, so that later passes need not read and decode them again.

A cached source gives the same examples in the same order, so a run's numbers are the same with and without it.
"""

import dataclasses
import functools
import hashlib
import pathlib

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from cgc_tf.errors import UserError

LABELS = "labels.npy"  # written last: where it is, the cache is complete


def cached(source, cache):
    """A `Source` whose training examples are decoded once.

    Args:
        source: a `Source`; its other splits are left as they are.
        cache: "none"; "memory", which has to hold every picture decoded, three bytes a pixel; or a folder for files of
            that size, which are used again by later runs as long as the data is the same.

    Raises:
        UserError: the folder cannot be written.
    """
    if cache == "none":
        return source
    keep = _in_memory if cache == "memory" else functools.partial(_in_files, root=pathlib.Path(cache))
    train = functools.cache(lambda: keep(source))

    def examples(split):
        return train()[0] if split == "train" else source.examples(split)

    def decode(example):
        return train()[1](example["cached"]) if "cached" in example else source.decode(example)

    return dataclasses.replace(source, examples=examples, decode=decode)


def _in_memory(source):
    decoded = source.examples("train").map(source.decode, tf.data.AUTOTUNE).cache()
    return decoded.map(lambda example: {"cached": example, "label": example["label"]}), lambda example: example


def _in_files(source, root):
    version = hashlib.sha256(source.version().encode()).hexdigest()[:16]
    folder = root / f"{source.name}-{version}"
    decoded = source.examples("train").map(source.decode, tf.data.AUTOTUNE)
    spec = decoded.element_spec

    def path(index):
        return tf.strings.join([str(folder), "/", tf.strings.as_string(index), ".tensors"])

    def write(index, example):
        parts = tf.stack([tf.io.serialize_tensor(example[name]) for name in spec])
        tf.io.write_file(path(index), tf.io.serialize_tensor(parts))
        return example["label"]

    def read(index):
        parts = tf.unstack(tf.io.parse_tensor(tf.io.read_file(path(index)), tf.string), len(spec))
        pairs = zip(spec.items(), parts, strict=True)
        return {name: tf.ensure_shape(tf.io.parse_tensor(part, x.dtype), x.shape) for (name, x), part in pairs}

    if not (folder / LABELS).exists():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            labels = decoded.enumerate().map(write, tf.data.AUTOTUNE)
            bar = tqdm(labels, f"filling {folder}", source.sizes["train"], leave=False, disable=None)
            labels = np.array([int(label) for label in bar], np.int32)
            with (folder / LABELS).open("wb") as file:
                np.save(file, labels)
        except (OSError, tf.errors.ResourceExhaustedError, tf.errors.PermissionDeniedError) as error:
            reason = error.strerror if isinstance(error, OSError) else error.message
            raise UserError(f"--cache={root} cannot be written: {reason}") from error
    labels = np.load(folder / LABELS)
    return tf.data.Dataset.from_tensor_slices({"cached": np.arange(len(labels)), "label": labels}), read
