"""From a value for each image to what is kept: evaluation.json, per_image.csv, curves.csv, paired comparisons."""

import csv
import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from cgc_tf.common import files
from cgc_tf.report import uncertainty

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
    "insertion_auc": Metric("insertion", "mean probability as pixels appear, most salient first"),
    "deletion_auc": Metric("deletion", "mean probability as pixels vanish, most salient first", -1),
    "pointing_game": Metric("pointing", "how often the heatmap's peak hits the object"),
    "consistency": Metric("consistency", "cosine of the heatmap, transformed, and the transformed image's heatmap"),
    "retrieval_rank": Metric("rank", "place of that image's heatmap among so many images', not in percent", -1, 1.0),
    "mask_energy": Metric("in mask", "share of the heatmap inside the object's mask"),
    "entropy": Metric("entropy", "of the heatmap: 100 uniform, 0 one cell alone", 0),
    "sparsity": Metric("Gini", "inequality of the heatmap's cells: 0 uniform, towards 100 one cell alone", 0),
    "object_only_top1": Metric("object only", "top-1 where the background is hidden"),
    "background_only_top1": Metric("background only", "top-1 where the object is hidden", 0),
}
COLUMNS = {
    key: METRICS[key].title
    for key in ("top1", "top5", "content_heatmap", "insertion_auc", "deletion_auc", "pointing_game", "consistency")
}


def scores(columns: Mapping, curves: Mapping, class_names: Sequence[str], resamples: int, seed: int) -> dict:
    """What a measurement comes to: means at the top, their uncertainty under `statistics`; the values are for JSON.

    Args:
        columns: {name: `[N]`}, a value for each image: each of `METRICS` that was measured, float, NaN where an image
            has no such value; `label`, int; `content_heatmap_of_uniform`, what a uniform heatmap would score; and
            `zero_heatmap`, 1 where a heatmap is all zero and so has no CH, NaN where an image has no box.
        curves: {"insertion", "deletion": float `[N, n]`}, those that were measured.
        class_names: what the labels stand for.
        resamples: how many samples an interval is read from.
        seed: of the resampling.

    Returns:
        {metric: its mean, or None}; `statistics`, {metric: `uncertainty.summary`}; counts of images: `examples`,
        `zero_heatmaps`, `without_boxes`; `per_class`, {name: means and `examples`}; and `curves`, {name: lists of n,
        `mean` and `standard_error`}.
    """
    names = (*METRICS, "content_heatmap_of_uniform")
    found = {name: uncertainty.summary(columns.get(name, ()), resamples, seed) for name in names}
    zero = columns.get("zero_heatmap", np.full(len(columns["label"]), np.nan))
    return {
        **{name: summary and summary["mean"] for name, summary in found.items()},
        "examples": len(columns["label"]),
        "zero_heatmaps": int(np.nansum(zero)),
        "without_boxes": int(np.sum(np.isnan(zero))),
        "statistics": found,
        "per_class": _per_class(columns, class_names),
        "curves": {name: _mean_curve(values) for name, values in curves.items()},
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


def _mean_curve(values):
    values = np.asarray(values, np.float64)
    error = np.std(values, 0) / np.sqrt(max(1, len(values) - 1))
    return {"mean": np.mean(values, 0).tolist(), "standard_error": error.tolist()}


def compare(
    names: Sequence[str], all_columns: Sequence[Mapping], resamples=uncertainty.RESAMPLES, seed=0
) -> list[dict]:
    """Each model against the first, image by image.

    Args:
        names: the models' names.
        all_columns: each one's columns, as `scores` takes them, with `index`, the images' places in the split, by which
            they are paired.
        resamples: how many samples an interval is read from.
        seed: of the resampling.

    Returns:
        A dict for each but the first: `first`, `second`, the names, and `metrics`, {metric: `uncertainty.paired` with
        `better` and `worse`, how many images `second` does better and worse on}. Only metrics of which more or less is
        better are compared.
    """
    ordered = [_by_index(columns) for columns in all_columns]
    first = ordered[0]
    pairs = zip(names[1:], ordered[1:], strict=True)
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


def file(folder: str | os.PathLike, name: str, variant: str = "") -> pathlib.Path:
    """Where a file of an evaluation goes: `name` in `folder`, its stem followed by `variant` where there is one."""
    path = pathlib.Path(folder) / name
    return path.with_stem(f"{path.stem}-{variant}") if variant else path


def write(
    folder: str | os.PathLike,
    report: Mapping,
    columns: Mapping,
    curves: Mapping,
    class_names: Sequence[str],
    variant: str = "",
) -> None:
    """Writes evaluation.json, per_image.csv and curves.csv into a folder, which is made where there is none.

    Args:
        folder: where they go.
        report: what evaluation.json says.
        columns: as `scores` takes them, with `index`, `id` and `predicted` besides.
        curves: as `scores` takes them.
        class_names: what labels and predictions stand for.
        variant: see `file`.

    Raises:
        UserError: they cannot be written.
    """
    with files.reported(folder):
        pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
        files.write(file(folder, REPORT, variant), json.dumps(report, indent=2) + "\n")
        with files.whole(file(folder, PER_IMAGE, variant)) as stream:
            csv.writer(stream).writerows(_per_image(columns, class_names))
        with files.whole(file(folder, CURVES, variant)) as stream:
            csv.writer(stream).writerows(_curve_rows(columns["id"], curves))


def _per_image(columns, class_names):
    first = ["index", "id", "label", "predicted"]
    others = [name for name in columns if name not in first]
    yield [*first, *others]
    for row, index in enumerate(columns["index"]):
        classes = [class_names[columns[name][row]] for name in ("label", "predicted")]
        values = [columns[name][row] for name in others]
        yield [index, columns["id"][row], *classes, *("" if np.isnan(value) else f"{value:.6g}" for value in values)]


def _curve_rows(ids, curves):
    """An image's id, which curve, then the scores from the first step on."""
    for row, identity in enumerate(ids):
        for name, values in curves.items():
            yield [identity, name, *(f"{value:.5f}" for value in values[row])]
