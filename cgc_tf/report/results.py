"""From a value for each image to what is kept: evaluation.json, per_image.csv, curves.csv, paired comparisons."""

import csv
import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from cgc_tf.common import files
from cgc_tf.report import confusion, uncertainty, verdict
from cgc_tf.report.calibration import calibration

WHOLE_AND_LABELED = "whole images, labeled class"  # what CH is of, unless it says otherwise
REPORT, PER_IMAGE, CURVES = "evaluation.json", "per_image.csv", "curves.csv"


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric's name in tables, what it is, which way is better (0: neither), and the factor of its values there."""

    title: str
    meaning: str
    better: int = 1
    scale: float = 100.0


METRICS = {
    "top1": Metric("top-1", "how often the prediction is right"),
    "top5": Metric("top-5", "how often the class is among the five most probable"),
    "content_heatmap": Metric("CH", "share of the heatmap inside the object"),
    "pixel_ap": Metric("pixel AP", "average precision with which heat finds the object's pixels, however sharp it is"),
    "insertion_auc": Metric("insertion", "mean probability as pixels appear, most salient first"),
    "deletion_auc": Metric("deletion", "mean probability as pixels vanish, most salient first", -1),
    "road": Metric("ROAD", "mean probability with the least relevant pixels imputed, less that with the most relevant"),
    "pointing_game": Metric("pointing", "how often the heatmap's peak hits the object"),
    "consistency": Metric("consistency", "cosine of the heatmap, transformed, and the transformed image's heatmap"),
    "retrieval_rank": Metric("rank", "place of that image's heatmap among so many images', not in percent", -1, 1.0),
    "mask_energy": Metric("in mask", "share of the heatmap inside the object's mask"),
    "entropy": Metric("entropy", "of the heatmap: 100 uniform, 0 one cell alone", 0),
    "sparsity": Metric("Gini", "inequality of the heatmap's cells: 0 uniform, towards 100 one cell alone", 0),
    "object_only_top1": Metric("object only", "top-1 where the background is hidden"),
    "background_only_top1": Metric("background only", "top-1 where the object is hidden", 0),
    "object_only_same": Metric(
        "same, object only", "how often hiding the background leaves the prediction as it is", 0
    ),
    "background_only_same": Metric(
        "same, background only", "how often hiding the object leaves the prediction as it is", 0
    ),
}
_DETAILS = "mask_energy", "sparsity"  # which the full table alone has, with all that is measured with something hidden
COLUMNS = {key: metric.title for key, metric in METRICS.items() if key not in _DETAILS and "_only_" not in key}


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What was measured of one model, image by image.

    Attributes:
        columns: {name: `[N]`}: `index`, ints, the images' places in the split, and their `id`, texts; `label` and
            `predicted`, ints; `object_only_predicted` and `background_only_predicted`, ints, -1 without a box, where
            objects are known; and floats, NaN where an image has no such value: those of `METRICS` that were measured;
            the probabilities of the predictions and of the label;
            `content_heatmap_of_uniform`, what a uniform heatmap would score; and `zero_heatmap`, 1 where a heatmap is
            all zero and so has no CH, NaN where an image has no box.
        curves: those that were measured, {"insertion", "deletion": float `[N, steps + 1]`; "road_most_first",
            "road_least_first": float `[N, 7]`}.
        shares: {name of a curve: the share of the pixels that are changed at each of its points}.
        randomization: what a check with shuffled weights gave, a dict for each layer; empty where there was none.
    """

    columns: dict[str, np.ndarray]
    curves: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    shares: Mapping[str, Sequence[float]] = dataclasses.field(default_factory=dict)
    randomization: list[dict] = dataclasses.field(default_factory=list)


def scores(measurement: Measurement, class_names: Sequence[str], resamples: int, seed: int) -> dict:
    """What a measurement comes to, for JSON: means at the top, and their uncertainty under `statistics`.

    Returns:
        {metric: its mean, or None}; `statistics`, {metric: `uncertainty.summary`}; of both also `balanced_top1`; counts
        of images: `examples`, `zero_heatmaps`, `without_boxes`; `classes`, how many; `per_class`, {name: means and
        `examples`}; `confusion`, {label: {prediction: images}}; `calibration` and
        `background`, as the functions of these names give them; and `curves`, {name: lists, the `share`
        of changed pixels, `mean` and `standard_error` at each step}.
    """
    columns, names = measurement.columns, (*METRICS, "content_heatmap_of_uniform")
    found = {name: uncertainty.summary(columns.get(name, ()), resamples, seed) for name in names}
    found["balanced_top1"] = uncertainty.balanced_accuracy(columns["label"], columns["top1"], resamples, seed)
    per_class = _per_class(columns, class_names)
    zero = columns.get("zero_heatmap", np.full(len(columns["label"]), np.nan))
    return {
        **{name: summary and summary["mean"] for name, summary in found.items()},
        "examples": len(columns["label"]),
        "zero_heatmaps": int(np.nansum(zero)),
        "without_boxes": int(np.sum(np.isnan(zero))),
        "statistics": found,
        "classes": len(class_names),
        "per_class": per_class,
        "confusion": confusion.counts(columns, class_names),
        "calibration": calibration(columns["probability_of_predicted"], columns["top1"]),
        "background": verdict.backgrounds(columns, class_names),
        "curves": {name: _mean_curve(measurement.shares[name], values) for name, values in measurement.curves.items()},
    }


def _per_class(columns, class_names):
    found = {}
    for label in np.unique(columns["label"]):
        chosen = columns["label"] == label
        means = {name: _mean(columns[name][chosen]) if name in columns else None for name in METRICS}
        found[class_names[label]] = {"examples": int(chosen.sum()), **means}
    return found


def _mean(values):
    known = values[~np.isnan(values)]
    return float(np.mean(known, dtype=np.float64)) if len(known) else None


def _mean_curve(shares, values):
    values = np.asarray(values, np.float64)
    error = np.std(values, 0) / np.sqrt(max(1, len(values) - 1))
    return {"share": list(shares), "mean": np.mean(values, 0).tolist(), "standard_error": error.tolist()}


def compare(
    names: Sequence[str], measurements: Sequence[Measurement], resamples: int = uncertainty.RESAMPLES, seed: int = 0
) -> list[dict]:
    """Each model against the first, image by image; only by metrics of which more or less is better.

    Returns:
        A dict for each but the first: `first`, `second`, the names, and `metrics`, {metric: `uncertainty.paired` with
        `better` and `worse`, how many images `second` does better and worse on}.
    """
    first, *others = (_by_index(measurement.columns) for measurement in measurements)
    pairs = zip(names[1:], others, strict=True)
    return [{"first": names[0], "second": name, "metrics": _pair(first, it, resamples, seed)} for name, it in pairs]


def _by_index(columns):
    order = np.argsort(columns["index"])
    return {name: columns[name][order] for name in METRICS if name in columns}


def _pair(first, second, resamples, seed):
    found = {}
    for name, metric in METRICS.items():
        if metric.better and name in first and name in second:
            pair = uncertainty.paired(first[name], second[name], resamples, seed)
            if pair and metric.better > 0:
                found[name] = {**pair, "better": pair["higher"], "worse": pair["lower"]}
            elif pair:
                found[name] = {**pair, "better": pair["lower"], "worse": pair["higher"]}
    return found


def file(folder: files.PathLike, name: str, variant: str = "") -> pathlib.Path:
    """Where a file of an evaluation goes: `name` in `folder`, its stem followed by `variant` where there is one."""
    path = pathlib.Path(folder) / name
    return path.with_stem(f"{path.stem}-{variant}") if variant else path


def write(
    folder: files.PathLike, report: dict, measurement: Measurement, class_names: Sequence[str], variant: str = ""
) -> None:
    """Writes a report, a dict, and what it is of into a folder, made where there is none: see `file` for `variant`.

    Raises:
        UserError: it cannot be written.
    """
    with files.reported(folder):
        pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
        files.write(file(folder, REPORT, variant), json.dumps(report, indent=2) + "\n")
        with files.whole(file(folder, PER_IMAGE, variant)) as stream:
            csv.writer(stream).writerows(_per_image(measurement.columns, class_names))
        if measurement.curves:
            with files.whole(file(folder, CURVES, variant)) as stream:
                csv.writer(stream).writerows(_curve_rows(measurement.columns["id"], measurement.curves))
        else:
            file(folder, CURVES, variant).unlink(missing_ok=True)  # of an earlier evaluation


def _per_image(columns, class_names):
    first = ["index", "id", "label", "predicted", "probability_of_predicted"]
    names = [*first, *(name for name in columns if name not in first)]
    yield names
    for row in range(len(columns["index"])):
        yield [_cell(name, columns[name][row], class_names) for name in names]


def _cell(name, value, class_names):
    if name == "label" or (name.endswith("predicted") and not name.startswith("probability")):
        return class_names[value] if value >= 0 else ""
    if isinstance(value, np.floating):
        return "" if np.isnan(value) else f"{value:.6g}"
    return value


def _curve_rows(ids, curves):
    """An image's id, which curve, then the scores from the first step on."""
    for row, identity in enumerate(ids):
        for name, values in curves.items():
            yield [identity, name, *(f"{value:.5f}" for value in values[row])]
