"""Functions that become graphs of TensorFlow as they are written: without AutoGraph.

AutoGraph rewrites a function's source so that Python's `if` and `while` may depend on tensors, and does so for all that
is called, in each process anew. Here only `export/artifact/picture_headers.py` is written so; the rest uses `tf.cond`
and the like, and starts faster without.
"""

import functools

import tensorflow as tf

# `tf.function`, and a decorator for what is given to `tf.data.Dataset.map` and its like.
function = functools.partial(tf.function, autograph=False)
plain = tf.autograph.experimental.do_not_convert
