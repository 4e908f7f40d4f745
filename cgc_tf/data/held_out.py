"""Batches to measure on: the center view with its transformed twin, and the whole image with its object."""

import tensorflow as tf

from cgc_tf.data import batches
from cgc_tf.data.source import read
from cgc_tf.data.views import original_view, training_views
from cgc_tf.method import geometry

NEARBY = 4  # batches' worth of whole images, among which those of one size are looked for


def center_views(source, split, size, batch_size, limit=None, seed=0):
    """Batches of center views in the source's order, the last one perhaps smaller.

    Args:
        source: a `Source`.
        split: one of its splits.
        size: the side S of the views in pixels.
        batch_size: examples at a time.
        limit: how many examples at most, spread evenly over the split; None for all.
        seed: decides each example's T, with the example's id alone.

    Returns:
        A `tf.data.Dataset` of dicts: `index` int64 `[B]`, the example's place in the split; `id`; `label` `[B]`;
        `image` and `augmented` uint8 `[B, S, S, 3]`, T of `image`; `transform` int32 `[B, 5]`; and, where the source
        has boxes, `region` float32 `[B, S, S]`.
    """

    def view(index):
        example = source.decode(split, index)
        made = training_views(example, [seed, 0], size, ("original", "augmented"))
        batch = {"index": index, "id": example["id"], "image": made.pop("original"), **made}
        if source.has_boxes:
            _, box = original_view(example["image"], size)
            batch["region"] = geometry.boxes_to_region(geometry.crop_boxes(example["boxes"], box), size, size)
        return batch

    return _chosen(source, split, limit).map(view, batches.PARALLEL).batch(batch_size).prefetch(2)


def whole_images(source, split, side, batch_size, limit=None):
    """Batches of whole images, those of one size together, so that nothing is padded or distorted.

    Sizes are matched among `NEARBY` batches' worth of images at a time, so that memory does not grow with the split,
    however many sizes it has.

    Args:
        side: what the shorter side of an image becomes, in pixels; of a strip less, see `geometry.whole_view`.

    Returns:
        A `tf.data.Dataset` of dicts: `index` int64 `[B]`, `label` `[B]`, `image` uint8 `[B, H', W', 3]`; at the
        images' own size `region` float32 `[B, H, W]`, the union of the boxes, and `mask`, where the source has masks.
    """

    def whole(index):
        example = source.decode(split, index)
        shape = tf.shape(example["image"])
        batch = {
            "index": index,
            "label": example["label"],
            "image": geometry.resize_image(example["image"], geometry.whole_view(shape[0], shape[1], side)),
            "region": geometry.boxes_to_region(example["boxes"], shape[0], shape[1]),
        }
        if source.has_masks:
            batch["mask"] = tf.cast(example["mask"][..., 0], tf.float32)
        return batch

    def size(example):
        shape = tf.shape(example["region"], tf.int64)
        return shape[0] * 2**31 + shape[1]

    def by_size(nearby):
        nearby = tf.data.Dataset.zip(nearby)
        return nearby.group_by_window(size, lambda _, same: same.batch(batch_size), window_size=batch_size)

    chosen = _chosen(source, split, limit).map(whole, batches.PARALLEL)
    return chosen.window(NEARBY * batch_size).flat_map(by_size).prefetch(2)


def by_index(source, split, indices):
    """Decoded examples of a split by their places in it, a list of dicts of NumPy arrays in the order asked for."""
    examples = source.decoded(split, indices)
    return [
        {name: value.numpy() for name, value in example.items()}
        for example in read(source, examples, len(indices), "reading examples")
    ]


def _chosen(source, split, limit):
    return tf.data.Dataset.from_tensor_slices(batches.spread(source.sizes[split], limit))
