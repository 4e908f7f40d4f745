"""Functions that become graphs of TensorFlow as they are written: without AutoGraph.

AutoGraph rewrites a function's source so that Python's `if` and `while` may depend on tensors, and does so for all that
is called, in each process anew. Here only `export/artifact/picture_headers.py` is written so; the rest uses `tf.cond`
and the like, and starts faster without.
"""

import tensorflow as tf


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
