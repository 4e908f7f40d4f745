"""A dataset, wherever it comes from: an example is its place in a split until it is decoded.

Decoded, it is a dict of

    image   uint8 [H, W, 3]
    label   int32
    boxes   float32 [n, 4], ymin, xmin, ymax, xmax in [0, 1]; n may be 0
    mask    uint8 [H, W, 1], 1 on the object, else 0; only where the source has masks
    id      string, different for each example of a split

So an order is arithmetic, a part is an array of places, and how many examples there are is known before any is read.
Whoever reads them does so through `read`, or within `faults_named`.
"""

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from cgc_tf.common import graphs
from cgc_tf.common.errors import UserError, first_line

FAULTS = (  # what TensorFlow raises where an example cannot be read or decoded
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
    tf.errors.DataLossError,
    tf.errors.PermissionDeniedError,
    tf.errors.UnknownError,
)
NOISE = "|".join(  # in the error messages of TensorFlow and TFDS: what only their developers understand
    [
        r"\{\{.*?\}\} ?",
        r" ?\[Op:.*?\]| name: *$",
        r"Error in user-defined .* Iterator::\S+ ",
        "RuntimeError: ",
        r"jpeg::Uncompress failed\. ",
        'Failed to construct dataset ".*?", builder_kwargs ".*?": ',
    ]
)


@dataclasses.dataclass(frozen=True)
class Source:
    """A dataset with its splits.

    Attributes:
        name: the dataset's name.
        class_names: the classes' names; a label is an index into them.
        labels: the labels of each split's examples, int32 `[N]`, in order; at least of `train`, which may be empty, and
            of `test`.
        has_boxes: whether the objects' boxes are known.
        decode: a function, split and index (a scalar int64 tensor) -> the example, see above. It may be called in a
            graph, as in `tf.data.Dataset.map`.
        complaint: a function, split, index and why it cannot be decoded -> which example that is, and how to fix it.
        has_masks: whether the objects' masks are known.
        skipped: of each picture that was left out because it cannot be decoded, which it is and why.
        version: a function, () -> a text that changes when the data does.
        listing: a function, () -> of each picture of a folder, before a part of it is taken, its id, split and bytes.
    """

    name: str
    class_names: tuple[str, ...]
    labels: dict[str, np.ndarray]
    has_boxes: bool
    decode: Callable
    complaint: Callable
    has_masks: bool = False
    skipped: tuple[str, ...] = ()
    version: Callable = str
    listing: Callable[[], list[tuple[str, str, int]]] = list

    @property
    def sizes(self) -> dict[str, int]:
        """Number of examples in each split."""
        return {split: len(labels) for split, labels in self.labels.items()}

    @property
    def validation(self) -> str:
        """The split to watch while training: `validation` where there is one, else `test`. Nothing is chosen by it."""
        return "validation" if "validation" in self.labels else "test"

    def decoded(self, split: str, indices=None) -> tf.data.Dataset:
        """A `tf.data.Dataset` of examples of a split: those at `indices`, in their order; None for all."""
        indices = np.arange(self.sizes[split]) if indices is None else np.asarray(indices, np.int64)
        dataset = tf.data.Dataset.from_tensor_slices(indices)
        return graphs.parallel(dataset, lambda index: self.decode(split, index))

    def examples(self, split: str, indices) -> list[dict]:
        """The decoded examples at `indices` of a split, in their order: a list of dicts of NumPy arrays."""
        dataset = self.decoded(split, indices)
        return [
            {name: value.numpy() for name, value in example.items()}
            for example in read(self, dataset, len(indices), "reading examples")
        ]

    def subset(self, split: str, indices: np.ndarray) -> "Source":
        """This source with the examples at `indices`, int `[n]`, alone in a split."""
        places = on_cpu(indices, tf.int64)

        def decode(other, index):
            return self.decode(other, tf.gather(places, index) if other == split else index)

        def complaint(other, index, reason):
            return self.complaint(other, indices[index] if other == split else index, reason)

        labels = {**self.labels, split: self.labels[split][indices]}
        return dataclasses.replace(self, labels=labels, decode=decode, complaint=complaint)


def labeled_part(source: Source, fraction: float, seed: int) -> tuple[Source, Source]:
    """Two sources: the share of a source's training examples whose labels are used, and the rest.

    The share is taken of each class, rounded, but one example at least; `seed` decides which.

    Raises:
        UserError: where nothing would be left.
    """
    labels = source.labels["train"]
    rng, chosen = np.random.default_rng(seed), np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        chosen[members[: max(1, round(fraction * len(members)))]] = True
    if chosen.all():
        raise UserError(f"--labeled_fraction={fraction} of {len(labels)} training examples leaves none without a label")
    return source.subset("train", np.flatnonzero(chosen)), source.subset("train", np.flatnonzero(~chosen))


def on_cpu(values, dtype):
    """A constant for the functions of a `tf.data.Dataset`, which run there."""
    with tf.device("CPU"):
        return tf.constant(values, dtype)


def read(source: Source, batches: tf.data.Dataset, count: int, title: str) -> Iterator:
    """The elements of a `tf.data.Dataset` made of a source's examples, under a progress bar.

    Args:
        source: the `Source`.
        batches: the dataset; of dicts with `label`, a scalar or `[B]`.
        count: how many examples there must be in all.
        title: what is done with them, for the progress bar and the error.

    Raises:
        UserError: an example cannot be decoded, and which; or there were more or fewer than `count`.
    """
    seen = 0
    with faults_named(source), tqdm(total=count, desc=title, unit="image", leave=False, disable=None) as bar:
        for batch in batches:
            yield batch
            size = np.size(batch["label"])
            seen += size
            bar.update(size)
    check_count(title, seen, count, "examples")


def check_count(title: str, seen: int, promised: int, unit: str) -> None:
    """Raises `UserError` unless as much was seen as was promised."""
    if seen != promised:
        raise UserError(f"{title}: {seen} {unit} instead of {promised}; has the data changed meanwhile? Start again")


@contextlib.contextmanager
def faults_named(*opened: Source | None) -> Iterator[None]:
    """Where an example of these sources (None is passed over) cannot be decoded meanwhile, the error says which.

    TensorFlow's own does not. All are then decoded once more, so that good ones pay nothing for it.

    Raises:
        UserError: naming the example, what is wrong with it, and how to fix it.
    """
    try:
        yield
    except FAULTS:
        for source in opened:
            if source is not None:
                _check_decodable(source)
        raise


def _check_decodable(source):
    for split, size in source.sizes.items():
        if faults := _undecodable(source, split):
            first = source.complaint(split, *faults[0])
            raise UserError(f"{len(faults)} of {size} {split} examples cannot be decoded, the first: {first}")


def _undecodable(source, split):
    """The places of a split's examples that cannot be decoded, and why: pairs, in order."""

    def sizes(index):
        return index, [tf.size(value) for value in source.decode(split, index).values()]

    count = source.sizes[split]
    readable = graphs.parallel(tf.data.Dataset.range(count), sizes).ignore_errors()
    bar = tqdm(readable, f"looking for the fault in {split}", count, leave=False, disable=None)
    suspects = sorted(set(range(count)) - {int(index) for index, _ in bar})
    faults = [(index, _reason(source, split, index)) for index in suspects]
    return [(index, reason) for index, reason in faults if reason]


def _reason(source, split, index):
    """Why an example cannot be decoded, "" where it can."""
    try:
        source.decode(split, tf.constant(index, tf.int64))
    except (tf.errors.OpError, RuntimeError) as error:  # the latter of `tf.numpy_function`, which reads records
        return reason(error)
    return ""


def reason(error: Exception) -> str:
    """What an error of TensorFlow or TFDS says, in one line without `NOISE`."""
    text = first_line(getattr(error, "message", None) or error)
    return re.sub(NOISE, "", text)
