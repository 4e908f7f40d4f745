"""Functions that become graphs of TensorFlow as they are written: without AutoGraph.

AutoGraph rewrites a function's source so that Python's `if` and `while` may depend on tensors, and does so for all that
is called, in each process anew. Here only `export/artifact/picture_headers.py` is written so; the rest uses `tf.cond`
and the like, and starts faster without. The same holds for what datasets map.
"""

import os

import tensorflow as tf

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def function(*arguments, **options):
    """`tf.function`, also as a decorator.

    >>> double = function(lambda x: 2 * x, reduce_retracing=True)
    >>> int(double(tf.constant(3)))
    6
    """
    return tf.function(*arguments, autograph=False, **options)


def plain(mapped):
    """A decorator of what `tf.data.Dataset.map` and its like are given.

    >>> sum(int(square) for square in tf.data.Dataset.range(3).map(plain(lambda x: x * x)))
    5
    """
    return tf.autograph.experimental.do_not_convert(mapped)


def parallel(dataset, mapped):
    """What a function makes of each element of a `tf.data.Dataset`, in order; as many at a time as there are cores.

    TensorFlow does not tune this dataset, nor what is made of it (`tf.data.AUTOTUNE`). Its thread that tunes may miss
    that it is to end, and then giving up an iterator takes as long as it has lived, a minute at most (TensorFlow 2.21).

    >>> sum(int(square) for square in parallel(tf.data.Dataset.range(3), lambda x: x * x))
    5
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options).map(plain(mapped), CORES)
