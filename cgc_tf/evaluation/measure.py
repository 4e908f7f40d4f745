"""The passes over a split that measure a model: a column for each metric, a value for each example.

Of an example nothing else is kept but its curves, so memory grows by some hundred bytes an example.
"""

import functools

import numpy as np
import tensorflow as tf

from cgc_tf.common import graphs
from cgc_tf.data import batches
from cgc_tf.data.source import Source, read
from cgc_tf.evaluation import curves, hiding, road, sanity_check
from cgc_tf.evaluation.consistency import Consistency
from cgc_tf.evaluation.evaluated_models import EvaluatedModel
from cgc_tf.evaluation.protocol import CURVES, Protocol
from cgc_tf.method import metrics
from cgc_tf.report.results import Measurement


def measure(model: EvaluatedModel, source: Source, protocol: Protocol, batch_size: int = 32) -> Measurement:
    """Measures everything that a protocol asks of a model on a split; `source` has the model's classes in its order.

    Raises:
        UserError: the protocol asks for what the source or the model does not have.
    """
    protocol.check(source)
    model.check(protocol)
    count = len(batches.spread(source.sizes[protocol.split], protocol.limit))
    columns, followed, place = {}, {}, {}
    put, follow = functools.partial(_put, columns, count), _follow(model, protocol)
    consistency = Consistency(model.image_size)
    views = _center_views(model, source, protocol, batch_size)
    for batch in read(source, views, count, f"{model.name}: classes, curves"):
        rows = np.arange(len(place), len(place) + len(batch["label"]))
        place |= {int(index): row for index, row in zip(batch["index"], rows, strict=True)}
        values, scores, maps = _score(model, batch, protocol, follow)
        put(rows, {**values, "id": np.char.decode(batch["id"].numpy().astype(bytes))})
        _put(followed, count, rows, scores)
        for scored in consistency.add(rows, *maps, batch["transform"]):
            put(*scored)
    for scored in consistency.finish():
        put(*scored)
    if source.has_boxes:
        located = _located(model, source, protocol, batch_size)
        for batch in read(source, located, count, f"{model.name}: content heatmap"):
            put([place[int(index)] for index in batch["index"]], _locate(model, batch, protocol))
    return with_rest(columns, followed, model, source, protocol)


def with_rest(columns: dict, followed: dict, model: EvaluatedModel, source: Source, protocol: Protocol) -> Measurement:
    """A `Measurement` of columns and curves, with what is of no image alone: a check with shuffled weights, say."""
    replaced = curves.shares(protocol.curve_steps)
    shares = {name: road.SHARES if name.startswith("road") else replaced for name in followed}
    return Measurement(columns, followed, shares, _randomization(model, source, protocol))


def _put(columns, count, rows, values):
    """Puts values, `[B, ...]`, into rows of columns of `count`; a new column is empty: NaN, 0 or None."""
    for name, value in values.items():
        value = np.asarray(value)
        if name not in columns:
            kind, empty = {"i": (np.int64, 0), "U": (object, None)}.get(value.dtype.kind, (np.float32, np.nan))
            columns[name] = np.full([count, *value.shape[1:]], empty, kind)
        columns[name][rows] = value


def _center_views(model, source, protocol, batch_size):
    return batches.evaluation_batches(
        source, protocol.split, model.image_size, batch_size, protocol.limit, protocol.evaluation_seed
    )


def _located(model, source, protocol, batch_size):
    if not model.takes_any_size:
        return _center_views(model, source, protocol, batch_size)
    side = protocol.ch_resize or 2 * model.image_size
    return batches.whole_image_batches(source, protocol.split, side, batch_size, protocol.limit)


def _score(model, batch, protocol, follow):
    """What is measured on a batch of center views: columns, curves, and the heatmaps of `Consistency`."""
    images, label = batch["image"], batch["label"]
    probabilities = model.probabilities(images)
    predicted = tf.argmax(probabilities, -1, output_type=tf.int32)
    original = model.explain(images, predicted)
    augmented = model.explain(batch["augmented"], predicted)
    classes = {"predicted": predicted, "label": label}
    ordering = original if protocol.explained_class == "predicted" else model.explain(images, label)
    followed = follow(images, ordering, classes[protocol.scored_class])
    values = {
        "index": batch["index"],
        "label": label,
        "predicted": predicted,
        "top1": predicted == label,
        "probability_of_predicted": tf.reduce_max(probabilities, -1),
        "probability_of_label": tf.gather(probabilities, label, axis=1, batch_dims=1),
        **{f"{name}_auc": curves.area_under(curve) for name, curve in followed.items()},
    }
    if "road" in CURVES[protocol.curves]:
        class_ids = classes[protocol.scored_class]
        removals = road.road(model.probabilities, images, ordering, class_ids, protocol.evaluation_seed)
        followed |= removals
        values["road"] = road.advantage(removals)
    if probabilities.shape[-1] > 5:  # of five classes or fewer it would be 1 whatever is predicted
        values["top5"] = tf.math.in_top_k(label, probabilities, 5)
    if "region" in batch:
        values |= _parts(model, images, label, predicted, batch["region"])
    return values, followed, (original, augmented)


def _follow(model, protocol):
    """A function, images, heatmaps, class ids -> {name: curves}; one graph, in which pixels are ranked once."""
    wanted = {name: getattr(curves, name) for name in CURVES[protocol.curves] if name != "road"}

    @graphs.function(reduce_retracing=True)
    def follow(images, heatmaps, class_ids):
        arguments = images, heatmaps, class_ids, protocol.curve_substrate, protocol.curve_steps
        return {name: curve(model.probabilities, *arguments) for name, curve in wanted.items()}

    return follow


def _parts(model, images, label, predicted, region):
    """What the object alone, and the background alone, are classified as; NaN, or the class -1, without a box."""
    known = tf.reduce_any(region > 0, [1, 2])
    values = {}
    for name, part in hiding.parts(images, region).items():
        probabilities = model.probabilities(part)
        answer = tf.argmax(probabilities, -1, output_type=tf.int32)
        values |= {
            f"{name}_top1": tf.where(known, tf.cast(answer == label, tf.float32), np.nan),
            f"{name}_same": tf.where(known, tf.cast(answer == predicted, tf.float32), np.nan),
            f"{name}_predicted": tf.where(known, answer, -1),
            f"{name}_probability": tf.where(known, tf.reduce_max(probabilities, -1), np.nan),
        }
    return values


def _locate(model, batch, protocol):
    """What is measured on a batch of images whose objects are known or not."""
    class_ids = batch["label"]
    if not model.takes_any_class:
        class_ids = tf.argmax(model.probabilities(batch["image"]), -1, output_type=tf.int32)
    heatmaps = model.explain(batch["image"], class_ids)
    regions = {name: batch[name] for name in ("region", "mask") if name in batch}
    return {name: value.numpy() for name, value in _placed(heatmaps, regions, protocol).items()}


@graphs.function(reduce_retracing=True)
def _placed(heatmaps, regions, protocol):
    measured = regions["mask" if protocol.ch_region == "mask" else "region"]
    share, valid = metrics.content_heatmap(heatmaps, measured)
    known = tf.reduce_any(measured > 0, [1, 2])
    hit = tf.cast(metrics.pointing_game(heatmaps, measured, protocol.tolerance), tf.float32)
    values = {
        "content_heatmap": tf.where(known & valid, share, np.nan),
        "content_heatmap_of_uniform": tf.where(known, tf.reduce_mean(measured, [1, 2]), np.nan),
        "zero_heatmap": tf.where(known, tf.cast(~valid, tf.float32), np.nan),
        "pixel_ap": tf.where(known & valid, metrics.pixel_average_precision(heatmaps, measured), np.nan),
        "pointing_game": tf.where(known, hit, np.nan),
        "entropy": tf.where(valid, metrics.entropy(heatmaps), np.nan),
        "sparsity": tf.where(valid, metrics.sparsity(heatmaps), np.nan),
    }
    if "mask" in regions:
        energy, _ = metrics.content_heatmap(heatmaps, regions["mask"])
        has_mask = tf.reduce_any(regions["mask"] > 0, [1, 2])
        values["mask_energy"] = tf.where(valid & has_mask, energy, np.nan)
    return values


def _randomization(model, source, protocol):
    if not protocol.randomization:
        return []
    size, count = model.image_size, protocol.randomization
    count = min(count, source.sizes[protocol.split])
    views = batches.evaluation_batches(source, protocol.split, size, count, count, protocol.evaluation_seed)
    (batch,) = read(source, views, count, f"{model.name}: images for shuffled weights")
    predicted = tf.argmax(model.probabilities(batch["image"]), -1, output_type=tf.int32)
    return sanity_check.check(model.network, model.explain, batch["image"], predicted, protocol.evaluation_seed)
