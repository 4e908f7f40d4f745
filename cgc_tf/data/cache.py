"""Decoded training pictures, kept in memory or in files, so that later passes need not read and decode them again.

All are kept before the first is asked for, and counted. A cached source gives the same examples at the same places, so
a run's numbers are the same with and without it.
"""

import dataclasses
import hashlib
import pathlib

import tensorflow as tf

from cgc_tf.common import files, graphs
from cgc_tf.common.errors import UserError
from cgc_tf.data.source import Source, read

FILLED = "filled.txt"  # written last, with the number of examples: where it is, the cache is complete


def cached(source: Source, cache: str) -> Source:
    """A `Source` whose training examples are decoded once, and have been when this returns.

    Args:
        source: a `Source`; its other splits are left as they are.
        cache: "none"; "memory", which has to hold every picture decoded, three bytes a pixel; or a folder for files of
            that size, which are used again by later runs as long as the data is the same.

    Raises:
        UserError: the folder cannot be written, or an example cannot be decoded.
    """
    if cache == "none":
        return source
    if cache == "memory":
        return _with_train(source, _in_memory(source), source.complaint)
    folder = _filled(source, pathlib.Path(cache))

    def complaint(split, index, reason):
        if split != "train":
            return source.complaint(split, index, reason)
        return f"{folder}/{index}.tensors ({reason}); remove {folder}, and it is filled again"

    return _with_train(source, _in_files(source, folder), complaint)


def _with_train(source, decode_train, complaint):
    def decode(split, index):
        return decode_train(index) if split == "train" else source.decode(split, index)

    return dataclasses.replace(source, decode=decode, complaint=complaint)


def _in_memory(source):
    decoded = source.decoded("train")
    spec = decoded.element_spec
    examples = read(source, decoded, source.sizes["train"], "filling the cache")
    kept = [[example[name].numpy() for name in spec] for example in examples]

    def decode(index):
        # Stateless, or tf.data would look up one example at a time to be deterministic.
        values = tf.numpy_function(kept.__getitem__, [index], [x.dtype for x in spec.values()], stateful=False)
        return {name: tf.ensure_shape(value, spec[name].shape) for name, value in zip(spec, values, strict=True)}

    return decode


def _in_files(source, folder):
    spec = source.decoded("train").element_spec

    def decode(index):
        parts = tf.unstack(tf.io.parse_tensor(tf.io.read_file(_path(folder, index)), tf.string), len(spec))
        pairs = zip(spec.items(), parts, strict=True)
        return {name: tf.ensure_shape(tf.io.parse_tensor(part, x.dtype), x.shape) for (name, x), part in pairs}

    return decode


def _filled(source, root):
    """The folder of a source's files within `root`, filled where it is not, or holds another number."""
    version = hashlib.sha256(source.version().encode()).hexdigest()[:16]
    folder, count = root / f"{source.name}-{version}", source.sizes["train"]

    def write(index):
        example = source.decode("train", index)
        parts = tf.stack([tf.io.serialize_tensor(value) for value in example.values()])
        tf.io.write_file(_path(folder, index), tf.io.serialize_tensor(parts))
        return {"label": example["label"]}

    try:
        if (folder / FILLED).exists():
            promised, found = (folder / FILLED).read_text().strip(), len(list(folder.glob("*.tensors")))
            if promised == str(count) == str(found):
                return folder
            print(f"note: {folder} contains {found} of {count} examples; it is filled again")
            (folder / FILLED).unlink()
        folder.mkdir(parents=True, exist_ok=True)
        written = graphs.parallel(tf.data.Dataset.range(count), write)
        for _ in read(source, written, count, f"filling {folder}"):
            pass
        files.write(folder / FILLED, f"{count}\n")
    except (OSError, tf.errors.ResourceExhaustedError, tf.errors.PermissionDeniedError) as error:
        reason = error.strerror if isinstance(error, OSError) else error.message
        raise UserError(f"--cache={root} cannot be written: {reason}") from error
    return folder


def _path(folder, index):
    return tf.strings.join([str(folder), "/", tf.strings.as_string(index), ".tensors"])
