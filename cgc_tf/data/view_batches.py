"""Batches of views, for `CGCModel.fit`, of a user's own dataset."""

import tensorflow as tf

from cgc_tf.common import graphs
from cgc_tf.common.errors import UserError
from cgc_tf.data import batches, own_dataset
from cgc_tf.data.views import training_views
from cgc_tf.method import inputs
from cgc_tf.method.objective import VIEWS


def view_batches(
    dataset: tf.data.Dataset, image_size: int | None = None, batch_size: int | None = None, seed: int = 0
) -> tf.data.Dataset:
    """Batches for `CGCModel.fit` from any dataset of `(image, label)`; each iteration over it draws other views.

    >>> import numpy as np
    >>> import tensorflow as tf
    >>> from cgc_tf import view_batches
    >>> images, labels = np.zeros([10, 32, 32, 3], np.uint8), np.arange(10) % 2
    >>> batches = view_batches(tf.data.Dataset.from_tensor_slices((images, labels)).batch(4))
    >>> {name: tuple(value.shape) for name, value in sorted(next(iter(batches)).items())}
    {'augmented': (4, 32, 32, 3), 'ce': (4, 32, 32, 3), 'label': (4,), 'original': (4, 32, 32, 3), 'transform': (4, 5)}

    Args:
        dataset: a `tf.data.Dataset` of `(image, label)`, `(image, label, weight)` or dicts of `image` and `label`, in
            batches or not: images `[H, W, 3]` of any size, uint8, or numbers in 0..255 or 0..1; labels as ids or
            one-hot. Where the types do not say which, its first examples are read.
        image_size: the side S of the views in pixels; None where all images are squares of one size, which it is then.
        batch_size: examples in a batch, of which the last one may have fewer; None for as many as the dataset's own
            batches have, or 32.
        seed: decides which views are drawn.

    Returns:
        A `tf.data.Dataset` of dicts: `ce`, `original`, `augmented` `[B, S, S, 3]`, uint8, or float32 in 0..1 where the
        images are in 0..1; `transform` int32 `[B, 5]`; `label`, ids int32 `[B]` or one-hot as in the dataset; `weight`
        float32 `[B]` where the dataset has weights. While it runs, TensorFlow tunes neither it nor the dataset that it
        is made of, see `graphs.parallel`.

    Raises:
        UserError: the dataset is of something else, or what it holds cannot be told.
    """
    own = own_dataset.look(dataset)
    size = image_size or own.image_size
    if not size:
        raise UserError(
            "image_size=... is needed, the side of the views in pixels, where pictures are not squares of one size"
        )
    draws = tf.data.Dataset.random(seed, rerandomize_each_iteration=True)

    def views(draw, index, example):
        example["id"] = tf.strings.as_string(index)
        made = {**training_views(example, [seed, draw], size), **{k: example[k] for k in ("weight",) if k in example}}
        if own.value_range == (0, 1):
            made |= {view: tf.cast(made[view], tf.float32) / 255 for view in VIEWS}
        return made

    stream = graphs.parallel(tf.data.Dataset.zip(draws, tf.data.Dataset.range(2**62), own.examples), views)
    return stream.batch(batch_size or own.batch_size or inputs.BATCH).prefetch(batches.AHEAD)
