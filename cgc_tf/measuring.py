"""The passes over a split that measure a subject: a column for each metric, a value for each example.

Nothing else is kept of an example, so memory grows by some numbers an example and by nothing else.
"""

import dataclasses
import functools

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from cgc_tf import held_out, metrics, randomization
from cgc_tf.consistency import Consistency
from cgc_tf.protocol import CURVES


@dataclasses.dataclass
class Measurement:
    """What was measured of one subject.

    Attributes:
        columns: {name: float `[N]`}, NaN where an example has no such value; `index`, `label`, `predicted` are ints,
            `id` is text.
        curves: {"insertion", "deletion": a `CurveMean`}, those that the protocol follows.
        randomization: as `randomization.check` gives it; empty where it was not asked for.
    """

    columns: dict
    curves: dict
    randomization: list


class CurveMean:
    """Mean and standard error of curves `[B, n]`, as they come."""

    def __init__(self):
        self.count, self._sum, self._squares = 0, 0.0, 0.0

    def add(self, curves):
        """Takes a batch of curves, float `[B, n]`."""
        curves = np.asarray(curves, np.float64)
        self.count += len(curves)
        self._sum, self._squares = self._sum + curves.sum(0), self._squares + (curves**2).sum(0)

    def summary(self):
        """A dict of lists of n: `mean` and `standard_error`."""
        mean = self._sum / self.count
        variance = np.maximum(self._squares / self.count - mean**2, 0) / max(1, self.count - 1)
        return {"mean": mean.tolist(), "standard_error": np.sqrt(variance).tolist()}


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
    """
    count = min(protocol.limit or source.sizes[protocol.split], source.sizes[protocol.split])
    columns, places = {}, {}
    put = functools.partial(_put, columns, count)
    curves, follow = {name: CurveMean() for name in CURVES[protocol.curves]}, _curves(subject, protocol)
    with tqdm(total=count, desc=f"accuracy, insertion {subject.name}", unit="image", disable=None) as bar:
        consistency = Consistency(subject.config.image_size)
        for batch in _centre_views(subject, source, protocol, batch_size):
            rows = np.arange(len(places), len(places) + len(batch["label"]))
            places |= {int(index): row for index, row in zip(batch["index"], rows, strict=True)}
            values, followed, maps = _score(subject, batch, protocol, follow)
            put(rows, {**values, "id": np.char.decode(batch["id"].numpy().astype(bytes))})
            for name, curve in followed.items():
                curves[name].add(curve)
            if keep_curves:
                keep_curves(columns["id"][rows], followed)
            for scored in consistency.add(rows, *maps, batch["transform"]):
                put(*scored)
            bar.update(len(rows))
        for scored in consistency.finish():
            put(*scored)
    if source.has_boxes:
        with tqdm(total=count, desc=f"content heatmap {subject.name}", unit="image", disable=None) as bar:
            for batch in _located(subject, source, protocol, batch_size):
                rows = np.array([places[int(index)] for index in batch["index"]])
                put(rows, _locate(subject, batch, protocol))
                bar.update(len(rows))
    return Measurement(columns, curves, _randomization(subject, source, protocol))


def _put(columns, count, rows, values):
    for name, value in values.items():
        value = np.asarray(value)
        if name not in columns:
            numeric = np.nan if value.dtype.kind == "f" else 0
            columns[name] = np.full(count, None if value.dtype.kind == "U" else numeric, _stored(value.dtype))
        columns[name][rows] = value


def _stored(dtype):
    return {"f": np.float32, "b": np.float32, "U": object}.get(dtype.kind, np.int64)


def _centre_views(subject, source, protocol, batch_size):
    return held_out.centre_views(
        source, protocol.split, subject.config.image_size, batch_size, protocol.limit, protocol.evaluation_seed
    )


def _located(subject, source, protocol, batch_size):
    if not subject.takes_any_size:
        return _centre_views(subject, source, protocol, batch_size)
    side = protocol.ch_resize or 2 * subject.config.image_size
    return held_out.whole_images(source, protocol.split, side, batch_size, protocol.limit)


def _score(subject, batch, protocol, follow):
    """What is measured on a batch of centre views: columns, curves, and the heatmaps of `Consistency`."""
    images, label = batch["image"], batch["label"]
    probabilities = subject.probabilities(images)
    predicted = tf.argmax(probabilities, -1, output_type=tf.int32)
    original = subject.explain(images, predicted)
    augmented = subject.explain(batch["augmented"], predicted)
    classes = {"predicted": predicted, "label": label}
    ordering = original
    if protocol.explained_class == "label" and subject.takes_any_class:
        ordering = subject.explain(images, label)
    followed = follow(images, ordering, classes[protocol.scored_class])
    values = {
        "index": batch["index"],
        "label": label,
        "predicted": predicted,
        "top1": predicted == label,
        "top5": tf.math.in_top_k(label, probabilities, min(5, probabilities.shape[-1])),
        "probability_of_label": tf.gather(probabilities, label, axis=1, batch_dims=1),
        **{f"{name}_auc": metrics.area_under(curve) for name, curve in followed.items()},
    }
    if "region" in batch:
        values |= _parts(subject, images, label, batch["region"])
    return values, followed, (original, augmented)


def _curves(subject, protocol):
    """A function, images, heatmaps, class ids -> {name: curves}; one graph, in which pixels are ranked once."""
    kind, steps = protocol.curve_substrate, protocol.curve_steps
    wanted = {name: {"insertion": insertion, "deletion": deletion}[name] for name in CURVES[protocol.curves]}

    @functools.partial(tf.function, reduce_retracing=True)
    def follow(images, heatmaps, class_ids):
        arguments = subject.probabilities, images, heatmaps, class_ids, kind, steps
        return {name: curve(*arguments) for name, curve in wanted.items()}

    return follow


def insertion(probabilities, images, heatmaps, class_ids, kind="blur", steps=metrics.STEPS):
    """Insertion curves (RISE, BMVC 2018, section 4.2): the image appears, most salient pixels first.

    Args:
        probabilities: a callable, `[B, S, S, 3]` in 0..255 -> `[B, classes]`.
        images: `[B, S, S, 3]` in 0..255.
        heatmaps: `[B, h, w]`.
        class_ids: int `[B]`, the classes whose probabilities are followed.
        kind: what it starts from, one of `metrics.SUBSTRATES`.
        steps: how many times pixels are replaced.

    Returns:
        float32 `[B, steps + 1]`.
    """
    saliency = metrics.upsample(heatmaps, images.shape[1:3])
    return metrics.pixel_curve(probabilities, metrics.substrate(kind, images), images, saliency, class_ids, steps)


def deletion(probabilities, images, heatmaps, class_ids, kind="blur", steps=metrics.STEPS):
    """Deletion curves: as `insertion`, from the image to the neutral colour, or to its mean colour if so is `kind`."""
    saliency = metrics.upsample(heatmaps, images.shape[1:3])
    empty = metrics.substrate("mean" if kind == "mean" else "zero", images)
    return metrics.pixel_curve(probabilities, images, empty, saliency, class_ids, steps)


def _parts(subject, images, label, region):
    """Whether the object alone, and the background alone, are classified as the label; NaN where there is no box."""
    images, inside = tf.cast(images, tf.float32), region[..., None]
    known = tf.reduce_any(region > 0, [1, 2])
    values = {}
    for name, kept in (("object_only_top1", inside), ("background_only_top1", 1 - inside)):
        probabilities = subject.probabilities(images * kept + metrics.neutral_colour() * (1 - kept))
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
    if not (protocol.randomization and subject.model):
        return []
    size, count = subject.config.image_size, protocol.randomization
    batch = next(iter(held_out.centre_views(source, protocol.split, size, count, count, protocol.evaluation_seed)))
    predicted = tf.argmax(subject.probabilities(batch["image"]), -1, output_type=tf.int32)
    return randomization.check(subject.model, subject.explain, batch["image"], predicted, protocol.evaluation_seed)
