"""From a measurement to what is kept and printed: evaluation.json, per_image.csv, and tables for three readers."""

import csv
import dataclasses
import json
import pathlib

import numpy as np

from cgc_tf.common import environment
from cgc_tf.common.errors import UserError
from cgc_tf.evaluation import consistency
from cgc_tf.report import uncertainty
from cgc_tf.training import config

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


def make(measurement, subject, source, protocol, explainer="", batch_size=32):
    """A report: a dict for JSON. Metrics are at its top as means, with their uncertainty under `statistics`.

    Besides: what was measured (`name`, `checkpoint`, `image_size`, `config`, in which None is what nobody knows, and
    `notes`, what the numbers rest on that the model does not say); on what (`dataset`, `data_dir`, `split`, its size
    `split_examples`, `skipped` pictures); `content_heatmap_of_uniform`, what a uniform map would score; counts
    `examples`, `zero_heatmaps` (left out of CH), `without_boxes`, `retrieval_rank_among`, `randomization_examples`;
    `per_class`; `curves`; `protocol`, `history` (see `journal.history`), `commit`, `versions`, `hardware`.
    """
    columns, seed = measurement.columns, protocol.evaluation_seed
    found = {
        name: uncertainty.summary(columns[name], protocol.resamples, seed) if name in columns else None
        for name in (*METRICS, "content_heatmap_of_uniform")
    }
    examples = len(columns["label"])
    zero = columns.get("zero_heatmap", np.full(examples, np.nan))
    made = {
        **{name: summary and summary["mean"] for name, summary in found.items()},
        "examples": examples,
        "zero_heatmaps": int(np.nansum(zero)),
        "without_boxes": int(np.sum(np.isnan(zero))),
        "retrieval_rank_among": min(consistency.GROUP, examples),
        "name": subject.name,
        "checkpoint": subject.checkpoint,
        "image_size": subject.image_size,
        "notes": list(subject.notes),
        "dataset": source.name,
        "data_dir": protocol.data_dir,
        "split": protocol.split,
        "split_examples": source.sizes[protocol.split],
        "skipped": len(source.skipped),
        "workdir": str(subject.folder),
        "explainer": explainer or subject.settings.get("cam"),
        "content_heatmap_on": _content_heatmap_on(subject),
        "statistics": found,
        "per_class": _per_class(columns, subject.class_names),
        "curves": {name: mean.summary() for name, mean in measurement.curves.items()},
        "randomization": measurement.randomization,
        "randomization_examples": min(protocol.randomization, source.sizes[protocol.split]),
        "protocol": dataclasses.asdict(protocol),
        "batch_size": batch_size,
        "config": {field.name: subject.settings.get(field.name) for field in dataclasses.fields(config.Config)},
        "history": list(subject.history),
        "commit": environment.commit(),
        "versions": environment.versions(),
        "hardware": environment.hardware(),
    }
    return json.loads(json.dumps(made))  # so that it equals what a reader of the file gets


def _content_heatmap_on(subject):
    images = "whole images" if subject.takes_any_size else "center views"
    return f"{images}, {'labeled' if subject.takes_any_class else 'predicted'} class"


def _per_class(columns, names):
    labels, per_class = columns["label"], {}
    for label in np.unique(labels):
        chosen = labels == label
        means = {}
        for name in METRICS:
            values = columns[name][chosen] if name in columns else []
            values = np.asarray(values, np.float64)[~np.isnan(values)] if len(values) else values
            means[name] = float(np.mean(values)) if len(values) else None
        per_class[names[label]] = {"examples": int(chosen.sum()), **means}
    return per_class


def variant(protocol, settings, explainer=""):
    """What the names of an evaluation's files end with; nothing for the whole test split of its own data.

    Args:
        protocol: a `Protocol` whose data is named.
        settings: how the model was trained, as `Subject.settings`.
        explainer: as `explainers.make` takes it.

    Returns:
        "" or such as "occlusion-cub200-train-limit-6", so that evaluation-limit-6.json leaves evaluation.json alone.
    """
    parts = [explainer]
    if settings.get("dataset") and not protocol.is_on_own_data(settings):
        is_folder = protocol.dataset == "folder"
        parts.append(pathlib.Path(protocol.data_dir).resolve().name if is_folder else protocol.dataset)
    if protocol.split != "test":
        parts.append(protocol.split)
    if protocol.limit:
        parts.append(f"limit-{protocol.limit}")
    return "-".join(filter(None, parts))


def file(folder, name, variant=""):
    """Where a file of an evaluation goes; see `variant`."""
    path = pathlib.Path(folder) / name
    return path.with_stem(f"{path.stem}-{variant}") if variant else path


def write(report, measurement, class_names, variant=""):
    """Writes evaluation.json and per_image.csv into the report's folder; raises `UserError` where it cannot."""
    columns = measurement.columns
    try:
        file(report["workdir"], REPORT, variant).write_text(json.dumps(report, indent=2) + "\n")
        with file(report["workdir"], PER_IMAGE, variant).open("w", newline="") as stream:
            rows = csv.writer(stream)
            first = ["index", "id", "label", "predicted"]
            others = [name for name in columns if name not in first]
            rows.writerow([*first, *others])
            for row in range(len(columns["label"])):
                classes = [class_names[columns[name][row]] for name in ("label", "predicted")]
                values = ["" if np.isnan(columns[name][row]) else f"{columns[name][row]:.6g}" for name in others]
                rows.writerow([columns["index"][row], columns["id"][row], *classes, *values])
    except OSError as error:
        raise UserError(f"{report['workdir']} cannot be written: {error.strerror}") from error


class CurveFile:
    """Writes each example's curves to curves.csv as they come: id, curve, then the scores from the first step on."""

    def __init__(self, folder, variant=""):
        path = file(folder, CURVES, variant)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = path.open("w", newline="")
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror}") from error
        self._rows = csv.writer(self._stream)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stream.close()

    def __call__(self, ids, curves):
        """Takes a batch: ids `[B]` and {name: curves `[B, n]`}."""
        for name, batch in curves.items():
            for identity, curve in zip(ids, batch.numpy(), strict=True):
                self._rows.writerow([identity, name, *(f"{value:.5f}" for value in curve)])
