"""The passes over a split that measure a subject: a column for each metric, a value for each example.

Nothing else is kept of an example, so memory grows by some numbers an example and by nothing else.
"""

import dataclasses
import functools

import numpy as np
import tensorflow as tf

from cgc_tf.data import batches
from cgc_tf.data.source import read
from cgc_tf.evaluation import curves, sanity_check
from cgc_tf.evaluation.consistency import Consistency
from cgc_tf.evaluation.protocol import CURVES
from cgc_tf.method import metrics


@dataclasses.dataclass
class Measurement:
    """What was measured of one subject.

    Attributes:
        columns: {name: float `[N]`}, NaN where an example has no such value; `index`, `label`, `predicted` are ints,
            `id` is text.
        curves: {"insertion", "deletion": a `curves.CurveMean`}, those that the protocol follows.
        randomization: as `sanity_check.check` gives it; empty where it was not asked for.
    """

    columns: dict
    curves: dict
    randomization: list


def measure(subject, source, protocol, batch_size=32, keep_curves=None):
    """Everything that a protocol asks of a subject on a split.

    Args:
        subject: a `Subject`.
        source: a `Source` with the subject's classes.
        protocol: a `Protocol`.
        batch_size: examples at a time.
        keep_curves: a function that receives each batch's `(ids, {name: curves [B, steps + 1]})`, or None.

    Returns:
        A `Measurement`.

    Raises:
        UserError: the protocol asks for what the source or the subject does not have.
    """
    protocol.check(source)
    subject.check(protocol)
    count = len(batches.spread(source.sizes[protocol.split], protocol.limit))
    columns, place = {}, {}
    put = functools.partial(_put, columns, count)
    means, follow = {name: curves.CurveMean() for name in CURVES[protocol.curves]}, _follow(subject, protocol)
    consistency = Consistency(subject.image_size)
    views = _center_views(subject, source, protocol, batch_size)
    for batch in read(source, views, count, f"{subject.name}: classes, curves"):
        rows = np.arange(len(place), len(place) + len(batch["label"]))
        place |= {int(index): row for index, row in zip(batch["index"], rows, strict=True)}
        values, followed, maps = _score(subject, batch, protocol, follow)
        put(rows, {**values, "id": np.char.decode(batch["id"].numpy().astype(bytes))})
        for name, curve in followed.items():
            means[name].add(curve)
        if keep_curves:
            keep_curves(columns["id"][rows], followed)
        for scored in consistency.add(rows, *maps, batch["transform"]):
            put(*scored)
    for scored in consistency.finish():
        put(*scored)
    if source.has_boxes:
        located = _located(subject, source, protocol, batch_size)
        for batch in read(source, located, count, f"{subject.name}: content heatmap"):
            put([place[int(index)] for index in batch["index"]], _locate(subject, batch, protocol))
    return Measurement(columns, means, _randomization(subject, source, protocol))


def _put(columns, count, rows, values):
    """Puts values into rows of columns of `count`; a new column is empty: NaN, 0 or None."""
    for name, value in values.items():
        value = np.asarray(value)
        if name not in columns:
            kind, empty = {"i": (np.int64, 0), "U": (object, None)}.get(value.dtype.kind, (np.float32, np.nan))
            columns[name] = np.full(count, empty, kind)
        columns[name][rows] = value


def _center_views(subject, source, protocol, batch_size):
    return batches.evaluation_batches(
        source, protocol.split, subject.image_size, batch_size, protocol.limit, protocol.evaluation_seed
    )


def _located(subject, source, protocol, batch_size):
    if not subject.takes_any_size:
        return _center_views(subject, source, protocol, batch_size)
    side = protocol.ch_resize or 2 * subject.image_size
    return batches.whole_image_batches(source, protocol.split, side, batch_size, protocol.limit)


def _score(subject, batch, protocol, follow):
    """What is measured on a batch of center views: columns, curves, and the heatmaps of `Consistency`."""
    images, label = batch["image"], batch["label"]
    probabilities = subject.probabilities(images)
    predicted = tf.argmax(probabilities, -1, output_type=tf.int32)
    original = subject.explain(images, predicted)
    augmented = subject.explain(batch["augmented"], predicted)
    classes = {"predicted": predicted, "label": label}
    ordering = original if protocol.explained_class == "predicted" else subject.explain(images, label)
    followed = follow(images, ordering, classes[protocol.scored_class])
    values = {
        "index": batch["index"],
        "label": label,
        "predicted": predicted,
        "top1": predicted == label,
        "probability_of_label": tf.gather(probabilities, label, axis=1, batch_dims=1),
        **{f"{name}_auc": curves.area_under(curve) for name, curve in followed.items()},
    }
    if probabilities.shape[-1] > 5:  # of five classes or fewer it would be 1 whatever is predicted
        values["top5"] = tf.math.in_top_k(label, probabilities, 5)
    if "region" in batch:
        values |= _parts(subject, images, label, batch["region"])
    return values, followed, (original, augmented)


def _follow(subject, protocol):
    """A function, images, heatmaps, class ids -> {name: curves}; one graph, in which pixels are ranked once."""
    wanted = {name: getattr(curves, name) for name in CURVES[protocol.curves]}

    @functools.partial(tf.function, reduce_retracing=True)
    def follow(images, heatmaps, class_ids):
        arguments = images, heatmaps, class_ids, protocol.curve_substrate, protocol.curve_steps
        return {name: curve(subject.probabilities, *arguments) for name, curve in wanted.items()}

    return follow


def _parts(subject, images, label, region):
    """Whether the object alone, and the background alone, are classified as the label; NaN where there is no box."""
    images, inside = tf.cast(images, tf.float32), region[..., None]
    known = tf.reduce_any(region > 0, [1, 2])
    values = {}
    for name, kept in (("object_only_top1", inside), ("background_only_top1", 1 - inside)):
        probabilities = subject.probabilities(images * kept + curves.neutral_color() * (1 - kept))
        right = tf.argmax(probabilities, -1, output_type=tf.int32) == label
        values[name] = tf.where(known, tf.cast(right, tf.float32), np.nan)
    return values


def _locate(subject, batch, protocol):
    """What is measured on a batch of images whose objects are known or not."""
    class_ids = batch["label"]
    if not subject.takes_any_class:
        class_ids = tf.argmax(subject.probabilities(batch["image"]), -1, output_type=tf.int32)
    heatmaps = subject.explain(batch["image"], class_ids)
    regions = {name: batch[name] for name in ("region", "mask") if name in batch}
    return {name: value.numpy() for name, value in _placed(heatmaps, regions, protocol).items()}


@functools.partial(tf.function, reduce_retracing=True)
def _placed(heatmaps, regions, protocol):
    measured = regions["mask" if protocol.ch_region == "mask" else "region"]
    share, valid = metrics.content_heatmap(heatmaps, measured)
    known = tf.reduce_any(measured > 0, [1, 2])
    hit = tf.cast(metrics.pointing_game(heatmaps, measured, protocol.tolerance), tf.float32)
    values = {
        "content_heatmap": tf.where(known & valid, share, np.nan),
        "content_heatmap_of_uniform": tf.where(known, tf.reduce_mean(measured, [1, 2]), np.nan),
        "zero_heatmap": tf.where(known, tf.cast(~valid, tf.float32), np.nan),
        "pointing_game": tf.where(known, hit, np.nan),
        "entropy": tf.where(valid, metrics.entropy(heatmaps), np.nan),
        "sparsity": tf.where(valid, metrics.sparsity(heatmaps), np.nan),
    }
    if "mask" in regions:
        energy, _ = metrics.content_heatmap(heatmaps, regions["mask"])
        has_mask = tf.reduce_any(regions["mask"] > 0, [1, 2])
        values["mask_energy"] = tf.where(valid & has_mask, energy, np.nan)
    return values


def _randomization(subject, source, protocol):
    if not protocol.randomization:
        return []
    size, count = subject.image_size, protocol.randomization
    count = min(count, source.sizes[protocol.split])
    views = batches.evaluation_batches(source, protocol.split, size, count, count, protocol.evaluation_seed)
    (batch,) = read(source, views, count, f"{subject.name}: images for shuffled weights")
    predicted = tf.argmax(subject.probabilities(batch["image"]), -1, output_type=tf.int32)
    return sanity_check.check(subject.model, subject.explain, batch["image"], predicted, protocol.evaluation_seed)
