"""A `tf.data.Dataset` of a user's own: what it holds, known by its types and, where they do not say, by looking.

Its elements are `(image, label)`, `(image, label, weight)` or dicts of `image`, `label` and perhaps `boxes` and `mask`,
as of a `Source`; alone or in batches.
"""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from cgc_tf.common import graphs
from cgc_tf.common.errors import UserError
from cgc_tf.data.source import Source
from cgc_tf.method import inputs

FIRST = 32  # examples to look at, where they are not in batches
SLACK = 0.1  # of the range, by which a resized picture may leave it
KEPT = ("image", "label", "weight", "boxes", "mask")
WANTED = "a tf.data.Dataset of (image, label) is needed"


@dataclasses.dataclass(frozen=True)
class OwnDataset:
    """What a dataset turned out to be.

    Attributes:
        examples: a `tf.data.Dataset` of dicts, one an example: `image` uint8 `[H, W, 3]`, `label` an id or one-hot, and
            `weight` (float32), `boxes` and `mask` where there are such.
        value_range: of its pictures as they were: (0, 255) or (0, 1).
        batch_size: of its batches; None where it has none.
        image_size: the side of its pictures where all are squares of one size, else None.
    """

    examples: tf.data.Dataset
    value_range: tuple[int, int]
    batch_size: int | None
    image_size: int | None


def look(dataset: tf.data.Dataset) -> OwnDataset:
    """Looks at a dataset; its first examples are read where types and shapes do not say enough.

    Raises:
        UserError: it is no such dataset, or what its pictures or labels are cannot be told.
    """
    if not isinstance(dataset, tf.data.Dataset):
        raise UserError(f"{WANTED}: tf.data.Dataset.from_tensor_slices. Received: {type(dataset).__name__}")
    spec = _named(dataset.element_spec)
    if not {"image", "label"} <= set(spec) or not all(isinstance(x, tf.TensorSpec) for x in spec.values()):
        raise UserError(f"{WANTED}. Received: elements {dataset.element_spec}")
    image, label = spec["image"], spec["label"]
    if image.shape.rank not in (3, 4) or image.shape[-1] not in (3, None) or label.shape.rank is None:
        raise UserError(f"{WANTED}, images [H, W, 3] in color, alone or in batches. Received: {image} and {label}")
    if image.dtype == tf.string or label.dtype == tf.string:
        raise UserError(f"{WANTED}, images decoded and labels as ids or one-hot. Received: {image} and {label}")
    is_batched = image.shape.rank == 4
    if label.shape.rank - is_batched not in (0, 1):
        raise UserError(f"{WANTED}, one label for each image. Received: {image} and {label}")
    is_one_hot = label.shape.rank > is_batched and label.shape[-1] != 1
    batch_size = image.shape[0] if is_batched else None
    value_range = (0, 255)
    if image.dtype != tf.uint8 or is_one_hot or label.dtype.is_floating or (is_batched and not batch_size):
        first: list[Any] = [_named(element) for element in dataset.take(1 if is_batched else FIRST)]
        if not first:
            raise UserError(f"{WANTED}. Received: one that is empty")
        _check_labels(
            np.concatenate([np.reshape(x["label"], [-1, label.shape[-1] if is_one_hot else 1]) for x in first])
        )
        batch_size = len(first[0]["image"]) if is_batched else None
        if image.dtype != tf.uint8:
            value_range = _value_range([np.asarray(x["image"], np.float32) for x in first])

    def example(*element: Any):
        values: Any = _named(element if element[1:] else element[0])
        if "weight" in values:
            values["weight"] = tf.cast(tf.reshape(values["weight"], []), tf.float32)
        if not is_one_hot:
            values["label"] = tf.cast(tf.reshape(values["label"], []), tf.int32)
        return {**values, "image": _to_uint8(values["image"], value_range[1])}

    height, width = image.shape[-3:-1]
    examples = graphs.parallel(dataset.unbatch() if is_batched else dataset, example)
    return OwnDataset(examples, value_range, batch_size, height if height == width else None)


def source_of(dataset: tf.data.Dataset, class_names: tuple[str, ...]) -> Source:
    """A `Source` of one split, `test`, of a dataset's examples, which are kept in memory as they are decoded.

    Raises:
        UserError: as `look`; or a label is out of range.
    """
    examples = look(dataset).examples
    spec: Any = examples.element_spec
    kept = [[example[name].numpy() for name in spec] for example in examples]
    if not kept:
        raise UserError(f"{WANTED}. Received: one that is empty")
    given = np.array([values[list(spec).index("label")] for values in kept])
    labels = (given.argmax(-1) if given.ndim > 1 else given).astype(np.int32)
    if labels.min() < 0 or labels.max() >= len(class_names):
        raise UserError(f"{inputs.OUT_OF_RANGE}{labels.max()} of {len(class_names)} classes")

    def decode(_, index):
        values = tf.numpy_function(kept.__getitem__, [index], [x.dtype for x in spec.values()], stateful=False)
        example = {name: tf.ensure_shape(x, spec[name].shape) for name, x in zip(spec, values, strict=True)}
        boxes = example.get("boxes", tf.zeros([0, 4]))
        return {
            **example,
            "boxes": boxes,
            "label": tf.gather(tf.constant(labels), index),
            "id": tf.strings.as_string(index),
        }

    def complaint(_, index, reason):
        return f"example {index}: {reason}"

    return Source(
        "a dataset of one's own", class_names, {"test": labels}, "boxes" in spec, decode, complaint, "mask" in spec
    )


def _named(element):
    """The parts of an element, or of its spec, that are used, by their names; empty where they have none."""
    if isinstance(element, tuple) and len(element) in (2, 3):
        return dict(zip(KEPT, element, strict=False))
    return {name: element[name] for name in KEPT if name in element} if isinstance(element, dict) else {}


def _check_labels(labels):
    """Raises `UserError` unless labels, `[N, 1]` or `[N, C]`, are ids or one-hot."""
    labels = labels.astype(np.float32)
    is_one_hot = labels.shape[1] > 1
    wrong = (labels.sum(1) != 1) | (labels.max(1) != 1) if is_one_hot else labels[:, 0] != np.round(labels[:, 0])
    if wrong.any():
        raise UserError(f"labels are ids or one-hot, of one class each. Received: a label {labels[wrong][0].tolist()}")


def _value_range(images):
    """(0, 1) or (0, 255), what the values of the first pictures, arrays, lie in."""
    low, high = min(float(image.min()) for image in images), max(float(image.max()) for image in images)
    for white, least in ((1, 0), (255, 2)):
        if low >= -SLACK * white and least < high <= (1 + SLACK) * white:
            return 0, white
    raise UserError(
        "whether pictures are in 0..1 or 0..255 is told by the first ones, which must be neither black nor normalized. "
        f"Received: values from {low:g} to {high:g}"
    )


def _to_uint8(image, white):
    if image.dtype == tf.uint8:
        return image
    image = tf.cast(image, tf.float32)
    high, low = tf.reduce_max(image), tf.reduce_min(image)
    fits = (high <= (1 + SLACK) * white) & (low >= -SLACK * white)
    message = f"{inputs.OUT_OF_VALUE_RANGE.format(white)}"
    with tf.control_dependencies([tf.debugging.Assert(fits, [message, tf.where(low < 0, low, high)])]):
        return tf.cast(tf.clip_by_value(image * (255 / white), 0, 255) + 0.5, tf.uint8)
