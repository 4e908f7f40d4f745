"""Writes a small SavedModel with a signature for each kind of tensor: python make_model.py FOLDER/1"""

import sys

import tensorflow as tf


def signature(function, *specs):
    return tf.function(function, input_signature=specs)


def spec(shape, dtype, name="x"):
    return tf.TensorSpec(shape, dtype, name)


DTYPES = {
    "i32": tf.int32,
    "i64": tf.int64,
    "u8": tf.uint8,
    "i8": tf.int8,
    "i16": tf.int16,
    "u32": tf.uint32,
    "u64": tf.uint64,
}

module = tf.Module()
module.half = tf.Variable(0.5)
signatures = {
    "serving_default": signature(lambda x: {"y": x * module.half + 2.0}, spec([None], tf.float32)),
    "f32_2d": signature(lambda x: {"y": x * 1.0}, spec([None, None], tf.float32)),
    "f64": signature(lambda x: {"y": x * 1.0}, spec([None], tf.float64)),
    "bool": signature(lambda x: {"y": tf.logical_not(x)}, spec([None], tf.bool)),
    "str": signature(lambda x: {"y": tf.identity(x)}, spec([None], tf.string)),
    "bytes": signature(lambda x: {"y_bytes": tf.identity(x)}, spec([None], tf.string)),
    "str2d": signature(lambda x: {"y": tf.identity(x)}, spec([None, None], tf.string)),
    "two": signature(
        lambda a, b: {"s": a + b, "d": a - b}, spec([None], tf.float32, "a"), spec([None], tf.float32, "b")
    ),
    "scalar": signature(lambda x: {"y": x + 1.0}, spec([], tf.float32)),
    "scalar_str": signature(lambda x: {"y": tf.strings.length(x)}, spec([], tf.string)),
    "anyrank": signature(lambda x: {"y": tf.identity(x)}, spec(None, tf.float32)),
    "half": signature(lambda x: {"y": tf.cast(x, tf.float16)}, spec([None], tf.float32)),
    "mixed_batch": signature(lambda x: {"y": x, "n": tf.reshape(tf.size(x), [1])}, spec([None], tf.float32)),
    "same_other": signature(lambda x: {"y": x[:1], "n": tf.reshape(tf.size(x), [1])}, spec([None], tf.float32)),
    "int_named_bytes": signature(lambda x: {"n_bytes": x}, spec([None], tf.float32)),
}
for name, dtype in DTYPES.items():
    signatures[name] = signature(lambda x: {"y": tf.identity(x)}, spec([None], dtype))
tf.saved_model.save(module, sys.argv[1], signatures)
