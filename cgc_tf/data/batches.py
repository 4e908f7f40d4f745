"""From a source to batches: the three views of training, and the center crops of validation."""

import numpy as np
import tensorflow as tf

from cgc_tf.data.views import original_view, training_views
from cgc_tf.method import geometry
from cgc_tf.method.objective import VIEWS

PARALLEL = tf.data.AUTOTUNE


def training_batches(source, image_size, batch_size, seed, steps, first_step=0, wanted=VIEWS, color_jitter=0.0):
    """Batches of the views of the reference recipe, pass after pass over the training split.

    The order depends on the run's seed and the pass, a view on these and the example's id, so a resumed run sees what
    an undisturbed one would have seen. The examples that do not fill a pass's last batch wait for another pass.

    Args:
        source: a `Source`.
        image_size: the side S of the views in pixels.
        batch_size: examples in a batch, over all replicas.
        seed: int.
        steps: how many batches the run has.
        first_step: which of them to begin with.
        wanted: which of `VIEWS` are needed.
        color_jitter: strength of `views.jitter_colors`, 0 to 1.

    Returns:
        A `tf.data.Dataset` of dicts: the wanted views, uint8 `[B, S, S, 3]`; with `augmented` also its `transform`,
        int32 `[B, 5]`; and `label` int32 `[B]`.
    """
    size = source.sizes["train"]
    in_pass = size // batch_size * batch_size

    def views(number):
        """The views of the run's example of this number."""
        of_pass, place = number // in_pass, number % in_pass
        index = tf.random.experimental.index_shuffle(place, [seed, of_pass], size - 1)
        return training_views(source.decode("train", index), [seed, of_pass], image_size, wanted, color_jitter)

    numbers = tf.data.Dataset.range(first_step * batch_size, steps * batch_size)
    return numbers.map(views, PARALLEL).batch(batch_size, drop_remainder=True).prefetch(PARALLEL)


def with_unlabeled(labeled, unlabeled):
    """Two streams of `training_batches` as one: the second, without its labels, under the key `unlabeled`."""

    def join(batch, other):
        return {**batch, "unlabeled": {key: value for key, value in other.items() if key != "label"}}

    return tf.data.Dataset.zip(labeled, unlabeled).map(join)


def view_batches(dataset, image_size, batch_size, seed=0):
    """Batches for `CGCModel.fit` from any dataset of `(image, label)`; each iteration over it draws other views.

    Args:
        dataset: a `tf.data.Dataset` of images `[H, W, 3]`, uint8 or float in 0..255, any size, and int labels.
        image_size: the side S of the views in pixels.
        batch_size: examples in a batch; the last one may be smaller.
        seed: int.

    Returns:
        A `tf.data.Dataset` of what `training_batches` gives.
    """
    draws = tf.data.Dataset.random(seed, rerandomize_each_iteration=True)

    def views(draw, index, example):
        image, label = example
        example = {"image": image, "label": tf.cast(label, tf.int32), "id": tf.strings.as_string(index)}
        return training_views(example, [seed, draw], image_size)

    stream = tf.data.Dataset.zip(draws, tf.data.Dataset.range(2**62), dataset)
    return stream.map(views, PARALLEL).batch(batch_size).prefetch(PARALLEL)


def validation_batches(source, split, image_size, batch_size, limit=None):
    """Batches of center views, in the source's order, the last one perhaps smaller.

    Args:
        limit: how many examples at most, spread evenly over the split; None for all.

    Returns:
        A `tf.data.Dataset` of dicts: `image` uint8 `[B, S, S, 3]`, `label` int32 `[B]` and, where the source has
        boxes, `region` float32 `[B, S, S]`, the union of the example's boxes as seen in the view.
    """

    def centered(index):
        example = source.decode(split, index)
        image, box = original_view(example["image"], image_size)
        batch = {"image": image, "label": example["label"]}
        if source.has_boxes:
            boxes = geometry.crop_boxes(example["boxes"], box)
            batch["region"] = geometry.boxes_to_region(boxes, image_size, image_size)
        return batch

    indices = tf.data.Dataset.from_tensor_slices(spread(source.sizes[split], limit))
    return indices.map(centered, PARALLEL).batch(batch_size).prefetch(PARALLEL)


def spread(size, limit=None):
    """The places, int64 `[n]`, of at most `limit` of `size` examples, evenly spread over them; None for all."""
    if not limit or limit >= size:
        return np.arange(size)
    return -(-np.arange(limit) * size // limit)  # rounded up
