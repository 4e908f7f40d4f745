"""What `fit`, `evaluate` and the like may be given, in one form; what a `CGCModel` cannot take is refused in a line."""

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf

from cgc_tf.common import graphs

BATCH = 32  # Keras' own default
OUT_OF_RANGE = "labels should be below the number of classes, counted from 0. Received: "
OUT_OF_VALUE_RANGE = "pictures should be in 0..{}, as the first ones are. Received: "


def views_of(data: Any) -> dict[str, tf.Tensor]:
    """A training batch, out of what Keras hands to `train_step`.

    Raises:
        ValueError: it is something else.
    """
    batch, *others = keras.utils.unpack_x_y_sample_weight(data)
    if not isinstance(batch, dict) or "label" not in batch or any(other is not None for other in others):
        raise ValueError(
            "training takes batches of views: fit(cgc_tf.view_batches(dataset)), dataset of (image, label)"
        )
    return batch


def check_size(size: tuple[int | None, ...], input_shape: tuple[int | None, ...]) -> None:
    """Raises `ValueError` where views of a size, None being unknown, are not what a classifier's input shape takes."""
    if any(None not in (own, side) and own != side for own, side in zip(input_shape[1:3], size, strict=True)):
        wanted = " x ".join(map(str, input_shape[1:3]))
        raise ValueError(
            f"the classifier takes images of {wanted}, and views are squares of view_batches(..., image_size=...). "
            f"Received: views of {' x '.join(map(str, size))}"
        )


def shaped(views: tf.Tensor, input_shape: tuple[int | None, ...]) -> tf.Tensor:
    """Views, whose size is known in a step alone, with that of a classifier that takes one size only.

    Others keep an open size: for a known one TensorFlow chose operations that did not give the same bits each time.
    """
    return views if None in input_shape[1:3] else tf.ensure_shape(views, input_shape)


def measured(data: Any) -> dict[str, tf.Tensor]:
    """A batch of `image`, `label` and perhaps `region` and `weight`, out of what Keras hands to `test_step`.

    Raises:
        ValueError: it is something else.
    """
    images, label, weight = keras.utils.unpack_x_y_sample_weight(data)
    batch = images if label is None else {"image": images, "label": label}
    if not isinstance(batch, dict) or not {"image", "label"} <= set(batch) or len(batch["image"].shape) != 4:
        raise ValueError(
            "evaluation takes batches of (image, label), images [B, H, W, 3], and no views of view_batches"
        )
    return batch if weight is None else {**batch, "weight": tf.cast(tf.reshape(weight, [-1]), tf.float32)}


def class_ids(label: tf.Tensor, classes: int) -> tf.Tensor:
    """Class ids, int32 `[B]`, of labels `[B]`, `[B, 1]` or one-hot `[B, classes]`; an id too large ends the step.

    Raises:
        ValueError: the labels are of another shape.
    """
    label = tf.convert_to_tensor(label)
    if len(label.shape) == 2 and label.shape[-1] == classes:
        return tf.argmax(label, -1, output_type=tf.int32)
    if len(label.shape) > 1 and tuple(label.shape[1:]) != (1,):
        raise ValueError(f"labels are ids [B] or one-hot [B, {classes}]. Received: labels of shape {label.shape}")
    ids = tf.cast(tf.reshape(label, [-1]), tf.int32)
    is_known = tf.reduce_all((ids >= 0) & (ids < classes))
    with tf.control_dependencies([tf.debugging.Assert(is_known, [OUT_OF_RANGE, tf.reduce_max(ids)])]):
        return tf.identity(ids)


def filled(batch: dict[str, tf.Tensor]) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """The batch, or one example of zeros where a small last one leaves this replica none; and 1, or 0, for each."""
    is_empty = tf.shape(batch["image"])[0] == 0
    more = tf.cast(is_empty, tf.int32)
    padded = {key: tf.pad(x, tf.stack([[0, more], *([[0, 0]] * (len(x.shape) - 1))])) for key, x in batch.items()}
    return padded, tf.fill(tf.shape(padded["image"])[:1], tf.cast(~is_empty, tf.float32))


@contextlib.contextmanager
def told_in_a_line() -> Iterator[None]:
    """Says in a line what shows within a step alone: that a label or a picture is out of range."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        found = re.search(r"((?:labels|pictures) should be [^]'\n]*?Received: )\W*?(-?[\d.e+-]+)", error.message)
        if found:
            raise ValueError(found[1] + found[2]) from None
        raise


def batched(data: Any) -> Any:
    """A `tf.data.Dataset` of single images as one of batches; anything else as it is."""
    if not isinstance(data, tf.data.Dataset):
        return data
    spec = data.element_spec
    images = spec.get("image") if isinstance(spec, dict) else spec[0] if isinstance(spec, tuple) else spec
    return data.batch(BATCH) if images is not None and images.shape.rank == 3 else data


def weighted(batches: tf.data.Dataset, class_weight: Mapping[int, float] | None, classes: int) -> tf.data.Dataset:
    """Training batches, each example's `weight` times that of its class, which is 1 where it is not named."""
    if not class_weight:
        return batches
    weights = [float(class_weight.get(index, 1.0)) for index in range(classes)]

    @graphs.plain
    def weigh(batch):
        weight = tf.gather(tf.constant(weights), class_ids(batch["label"], classes))
        return {**batch, "weight": weight * batch.get("weight", 1.0)}

    return batches.map(weigh)
