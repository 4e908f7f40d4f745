"""From a source to batches: random views to train on, center views to validate on, and what evaluation looks at."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from cgc_tf.common import graphs
from cgc_tf.data.augmentation import Augmentation
from cgc_tf.data.source import Source
from cgc_tf.data.views import NONE, original_view, training_views
from cgc_tf.method import geometry, resizing
from cgc_tf.method.objective import VIEWS

# Of the cipher that orders a pass. TensorFlow's `index_shuffle` has 4, which leave some passes nearly as they lay.
ROUNDS = 8
AHEAD = 2  # batches that are made while one is used
NEARBY = 4  # batches' worth of whole images, among which those of one size are looked for


class Share(NamedTuple):
    """A part of every batch: that of `count` replicas from `first` on, of `of` in all; each has its own small batch.

    Two that make up the whole see together, without repeats, what one of the whole sees.
    """

    first: int = 0
    count: int = 1
    of: int = 1


WHOLE = Share()


def training_batches(
    source: Source,
    image_size: int,
    batch_size: int,
    seed: int,
    steps: int,
    first_step: int = 0,
    wanted: tuple[str, ...] = VIEWS,
    augmentation: Augmentation = NONE,
    share: Share = WHOLE,
) -> tf.data.Dataset:
    """Batches of the views of the reference recipe, pass after pass over the training split.

    The order depends on the run's seed and the pass, a view on these and the example's id, so a resumed run sees what
    an undisturbed one would have seen. The examples that do not fill a pass's last batch wait for another pass.

    Args:
        source: a `Source`.
        image_size: the side S of the views in pixels.
        batch_size: examples in a batch, over all replicas; a multiple of `share.of`.
        seed: decides the order and, with the example's id, each view.
        steps: how many batches the run has.
        first_step: which of them to begin with.
        wanted: which of `VIEWS` are needed.
        augmentation: what else is changed in the views.
        share: the part of each batch that is wanted; then B is `batch_size / share.of`, one replica's.

    Returns:
        A `tf.data.Dataset` of dicts: the wanted views, uint8 `[B, S, S, 3]`; with `augmented` also its `transform`,
        int32 `[B, 5]`; and `label` int32 `[B]`.
    """
    size = source.sizes["train"]
    in_pass, each = size // batch_size * batch_size, batch_size // share.of

    def views(own):
        """The views of the share's example of this number, which is another one of the run."""
        piece, place_in_piece = own // each, own % each
        number = piece // share.count * batch_size + (share.first + piece % share.count) * each + place_in_piece
        of_pass, place = number // in_pass, number % in_pass
        index = shuffled(place, seed, of_pass, size)
        return training_views(source.decode("train", index), [seed, of_pass], image_size, wanted, augmentation)

    numbers = tf.data.Dataset.range(first_step * each * share.count, steps * each * share.count)
    return graphs.parallel(numbers, views).batch(each, drop_remainder=True).prefetch(AHEAD)


def shuffled(place: tf.Tensor, seed: int, of_pass: tf.Tensor, size: int) -> tf.Tensor:
    """Which of `size` examples is at a place of a pass, int64: the order of each pass is drawn by itself."""
    key = tf.stack([tf.constant(0, tf.int64), tf.constant(seed, tf.int64), tf.cast(of_pass, tf.int64)])
    place = tf.cast(place, tf.int64)
    return tf.raw_ops.RandomIndexShuffle(index=place, seed=key, max_index=size - 1, rounds=ROUNDS)


def with_unlabeled(labeled: tf.data.Dataset, unlabeled: tf.data.Dataset) -> tf.data.Dataset:
    """Two streams of `training_batches` as one: the second, without its labels, under the key `unlabeled`."""

    @graphs.plain
    def join(batch, other):
        return {**batch, "unlabeled": {key: value for key, value in other.items() if key != "label"}}

    return tf.data.Dataset.zip(labeled, unlabeled).map(join)


def validation_batches(
    source: Source, split: str, image_size: int, batch_size: int, limit: int | None = None, share: Share = WHOLE
) -> tf.data.Dataset:
    """Batches of center views, in the source's order, the last one perhaps smaller; of a share as many as of another.

    Args:
        source: a `Source`.
        split: one of its splits.
        image_size: the side S of the views in pixels.
        batch_size: examples at a time.
        limit: how many examples at most, spread evenly over the split; None for all.
        share: the part of each batch that is wanted, as for `training_batches`; small last ones may be empty.

    Returns:
        A `tf.data.Dataset` of dicts: `image` uint8 `[B, S, S, 3]`, `label` int32 `[B]` and, where the source has
        boxes, `region` float32 `[B, S, S]`, the union of the example's boxes as seen in the view.
    """

    def view(index):
        example = source.decode(split, index)
        return {
            "image": original_view(example["image"], image_size)[0],
            "label": example["label"],
            **_center_region(source, example, image_size),
        }

    if share == WHOLE:
        return graphs.parallel(_places(source, split, limit), view).batch(batch_size).prefetch(AHEAD)
    each, places = batch_size // share.of, spread(source.sizes[split], limit)
    filled = np.pad(places, (0, -len(places) % (each * share.of)), constant_values=-1)
    pieces = filled.reshape(-1, each, share.of)[:, :, share.first : share.first + share.count]

    def marked(place):
        return place >= 0, view(tf.maximum(place, 0))

    @graphs.plain
    def kept(is_wanted, views):
        return {name: tf.boolean_mask(value, is_wanted) for name, value in views.items()}

    own = tf.data.Dataset.from_tensor_slices(pieces.transpose(0, 2, 1).ravel())
    return graphs.parallel(own, marked).batch(each).map(kept).prefetch(AHEAD)


def evaluation_batches(
    source: Source, split: str, image_size: int, batch_size: int, limit: int | None = None, seed: int = 0
) -> tf.data.Dataset:
    """`validation_batches` that also hold what evaluation needs: each view's transformed twin, and which example it is.

    Args:
        source: this and the others that are not named here are as for `validation_batches`.
        seed: decides each example's T, with the example's id alone.

    Returns:
        A `tf.data.Dataset` of the dicts of `validation_batches` with `index` int64 `[B]`, the example's place in the
        split; `id` string `[B]`; `augmented` uint8 `[B, S, S, 3]`, T of `image`; and `transform`, T, int32 `[B, 5]`.
    """

    def view(index):
        example = source.decode(split, index)
        made = training_views(example, [seed, 0], image_size, ("original", "augmented"))
        region = _center_region(source, example, image_size)
        return {"index": index, "id": example["id"], "image": made.pop("original"), **made, **region}

    return graphs.parallel(_places(source, split, limit), view).batch(batch_size).prefetch(AHEAD)


def whole_image_batches(
    source: Source, split: str, side: int, batch_size: int, limit: int | None = None
) -> tf.data.Dataset:
    """Batches of whole images, those of one size together, so that nothing is padded or distorted.

    Sizes are matched among `NEARBY` batches' worth of images at a time, so that memory does not grow with the split,
    however many sizes it has.

    Args:
        source: a `Source`.
        split: one of its splits.
        side: what the shorter side of an image becomes, in pixels; of a strip less, see `geometry.whole_view`.
        batch_size: examples at a time.
        limit: how many examples at most, spread evenly over the split; None for all.

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
            "image": resizing.resize_image(example["image"], geometry.whole_view(shape[0], shape[1], side)),
            "region": geometry.boxes_to_region(example["boxes"], shape[0], shape[1]),
        }
        if source.has_masks:
            batch["mask"] = tf.cast(example["mask"][..., 0], tf.float32)
        return batch

    @graphs.plain
    def size(example):
        shape = tf.shape(example["region"], tf.int64)
        return shape[0] * 2**31 + shape[1]

    @graphs.plain
    def by_size(nearby):
        nearby = tf.data.Dataset.zip(nearby)
        return nearby.group_by_window(size, lambda _, same: same.batch(batch_size), window_size=batch_size)

    images = graphs.parallel(_places(source, split, limit), whole)
    return images.window(NEARBY * batch_size).flat_map(by_size).prefetch(AHEAD)


def spread(size: int, limit: int | None = None) -> np.ndarray:
    """The places, int64 `[n]`, of at most `limit` of `size` examples, evenly spread over them; None for all."""
    if not limit or limit >= size:
        return np.arange(size)
    return np.ceil(np.arange(limit) * size / limit).astype(np.int64)


def _places(source, split, limit):
    return tf.data.Dataset.from_tensor_slices(spread(source.sizes[split], limit))


def _center_region(source, example, size):
    """`region`, float32 `[size, size]`, the union of an example's boxes in its center view, where boxes are known."""
    if not source.has_boxes:
        return {}
    shape = tf.shape(example["image"])
    _, box = geometry.center_view(shape[0], shape[1], size)
    return {"region": geometry.boxes_to_region(geometry.crop_boxes(example["boxes"], box), size, size)}
