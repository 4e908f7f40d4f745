"""What trained models and their explanations are worth, over a whole split: measured, written, compared and drawn."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import tensorflow as tf

from cgc_tf.common import environment
from cgc_tf.common.errors import UserError
from cgc_tf.common.files import PathLike
from cgc_tf.data import splits
from cgc_tf.data.source import Source
from cgc_tf.evaluation import consistency, evaluated_models, examples, own_model, shards
from cgc_tf.evaluation.drawing import Measured, draw
from cgc_tf.evaluation.evaluated_models import EvaluatedModel
from cgc_tf.evaluation.examples import Drawing
from cgc_tf.evaluation.measure import measure
from cgc_tf.evaluation.protocol import Protocol
from cgc_tf.method.model import CGCModel
from cgc_tf.report import results
from cgc_tf.report.results import Measurement
from cgc_tf.training import checkpoints, run_folder
from cgc_tf.training import config as settings


class Evaluation(NamedTuple):
    """What came of it.

    Attributes:
        reports: a dict for each model and explainer, which evaluation.json holds: see `report_of`.
        comparisons: each against the first, as `results.compare` gives them.
        figure: the figure's path; of several runs, that of all together; of a model object None.
        page: the HTML page's path, likewise.
    """

    reports: list[dict]
    comparisons: list[dict]
    figure: pathlib.Path | None = None
    page: pathlib.Path | None = None


PROTOCOL, DRAWING = Protocol(), Drawing()


def evaluate(
    models: CGCModel | Sequence[PathLike],
    dataset: Source | tf.data.Dataset | None = None,
    protocol: Protocol = PROTOCOL,
    batch_size: int = 32,
    explainers: Sequence[str] = ("",),
    drawing: Drawing = DRAWING,
    shard: str = "",
) -> Evaluation:
    """Evaluates a model in memory; or trained runs, which are set side by side.

    Of a model nothing is written. Into each run's folder go evaluation.json, per_image.csv, curves.csv if the protocol
    has curves, explanations.{png,pdf} and report.html; beside several of them comparison.{json,md,tex,html,png,pdf}.

    >>> evaluation = evaluate(["runs/first"], protocol=Protocol(limit=4, curves="none"))
    >>> for report in evaluation.reports:
    ...     print(f"{report['name']}: {report['examples']} images, CH {100 * report['content_heatmap']:.1f}%")
    first: 4 images, CH ...%
    >>> print(evaluation.page)
    runs/first/report-limit-4.html

    Args:
        models: folders of trained runs; or a `CGCModel`.
        dataset: what a `CGCModel` is measured on: a `Source`, or a `tf.data.Dataset` of (image, label) or of dicts of
            `image`, `label` and perhaps `boxes` `[n, 4]` and `mask`, whose examples are kept in memory. Without boxes
            there is no Content Heatmap. Runs are measured on the data that they were trained on, or the protocol's.
        protocol: how to measure; by default as the reference does.
        batch_size: images at a time.
        explainers: names, as `explainers.make` takes them; "" is the heatmap that a run was trained with.
        drawing: what to draw.
        shard: "i/n" measures a part of the images of runs, is written beside them, and comes to no report; "join" makes
            the whole of the parts. "" measures all.

    Raises:
        UserError: the runs cannot be evaluated together, or one of them has no checkpoint that can be read; the dataset
            is no such, or of other classes; before any measuring.
    """
    if isinstance(models, CGCModel):
        if shard:
            raise UserError(f"shard={shard} is not used: parts are joined in the folder of a run")
        return _evaluate_object(models, dataset, protocol, batch_size, explainers, drawing)
    if dataset is not None:
        raise UserError("dataset=... goes with a CGCModel: what runs are measured on is the protocol's dataset")
    workdirs = models
    paths = [os.path.realpath(workdir) for workdir in workdirs]
    if len(set(paths)) < len(paths):
        raise UserError(f"--workdir={','.join(map(str, workdirs))} names a run twice")
    trained = [run_folder.trained_on(workdir) for workdir in workdirs]
    protocols = [protocol.on_data_of(its) for its in trained]
    for workdir, its in zip(workdirs, protocols, strict=True):
        if (its.dataset, its.data_dir) != (protocols[0].dataset, protocols[0].data_dir):
            raise UserError(
                f"{workdir} was trained on other data than {workdirs[0]}: say what to measure both on by --dataset and "
                "--data_dir"
            )
        checkpoints.find(workdir)
    _check_same_splits(workdirs, trained, protocols)
    source = protocols[0].open_source(trained[0])
    for workdir in workdirs:
        evaluated_models.check_classes(workdir, run_folder.class_names(workdir), source.class_names)
    runs = map(evaluated_models.from_workdir, workdirs, _names_of_folders(paths))
    return evaluate_models(runs, source, protocols[0], batch_size, explainers, drawing, shard)


def _evaluate_object(model, dataset, protocol, batch_size, explainers, drawing):
    if drawing != DRAWING:
        raise UserError("drawing=... is not used: of a model object nothing is drawn")
    model, source = own_model.opened(model, dataset, protocol)
    reports = []
    for explainer in explainers:
        subject = _subject(model, explainer, source, protocol)
        measurement = measure(subject, source, protocol, batch_size)
        reports.append(report_of(subject, measurement, source, protocol, explainer, batch_size))
    unknown = {} if isinstance(dataset, Source) else {"dataset": None, "split": None}
    return Evaluation([{**report, **unknown} for report in reports], [])


def _check_same_splits(workdirs, trained, protocols):
    """Raises `UserError` where one run would be measured on what another was trained on."""
    own = [its for its, protocol in zip(trained, protocols, strict=True) if protocol.is_on_own_data(its)]
    divided = [(splits.Splits.of(its), its["record"] and splits.read(its["record"])) for its in own]
    for workdir, its in zip(workdirs, divided, strict=False):
        if (its[0].is_used or divided[0][0].is_used) and its != divided[0]:
            raise UserError(f"{workdir} was not trained and tested on the same pictures as {workdirs[0]}")


def _names_of_folders(paths):
    """A name for each of some absolute paths: the last part, or what tells them apart where that is the same."""
    names = [os.path.basename(path) for path in paths]
    if len(set(names)) == len(names):
        return names
    common = os.path.commonpath(paths)
    return [os.path.relpath(path, common) for path in paths]


def evaluate_models(
    models: Iterable[EvaluatedModel],
    source: Source,
    protocol: Protocol,
    batch_size: int = 32,
    explainers: Sequence[str] = ("",),
    drawing: Drawing = DRAWING,
    shard: str = "",
) -> Evaluation:
    """Evaluates models from anywhere on `source`, which is the data that `protocol` names; the rest is as `evaluate`.

    The models are asked for one after the other, the first one after the other arguments are checked.
    """
    protocol.check(source)
    drawing.check(source)
    if drawing.show_ids:
        examples.check_ids(source, protocol.split, protocol.limit, drawing.show_ids)
    if len(set(explainers)) < len(explainers):
        raise UserError(f"--explainer={','.join(explainers)} names an explainer twice")
    part = shards.Shard.parse(shard) if shard not in ("", shards.JOIN) else None
    found = []
    for model in models:
        for explainer in explainers:
            variant = protocol.variant(model.settings, explainer)
            subject, rest = _subject(model, explainer, source, protocol), (source, protocol, batch_size)
            if part:
                shards.measure_part(subject, *rest, variant, part)
                continue
            measurement = shards.joined(subject, *rest, variant) if shard else measure(subject, *rest)
            report = report_of(subject, measurement, source, protocol, explainer, batch_size)
            results.write(model.folder, report, measurement, source.class_names, variant)
            if shard:
                shards.remove(model.folder, variant)
            found.append(Measured(subject, explainer, measurement, report))
    if part:
        return Evaluation([], [])
    folders = list(dict.fromkeys(each.model.folder for each in found))
    for folder in folders:
        inside = [each for each in found if each.model.folder == folder]
        compared, figure, page = draw(inside, source, protocol, drawing)
    if len(folders) > 1:
        compared, figure, page = draw(found, source, protocol, drawing, are_together=True)
    return Evaluation([each.report for each in found], compared, figure, page)


def _subject(model, explainer, source, protocol):
    explained = model.explained_by(explainer, protocol.evaluation_seed).sharpened(protocol.heatmap_power)
    return explained.in_order_of(source.class_names)


def report_of(
    model: EvaluatedModel, measurement: Measurement, source: Source, protocol: Protocol, explainer: str, batch_size: int
) -> dict:
    """What evaluation.json says of a model: `results.scores`, and of what and how they were measured.

    Besides the scores: the model (`name`, `workdir`, `checkpoint`, `image_size`, `explainer`, `history`, `config`, in
    which None is what nobody knows, and `notes`, what the numbers rest on that the model does not say); the data
    (`dataset`, `data_dir`, `split`, its size `split_examples`, `skipped` pictures); how it was measured (`protocol`,
    `batch_size`, `content_heatmap_on`, `retrieval_rank_among`, `randomization_examples`) and what a check with shuffled
    weights gave, `randomization`; and `commit`, `versions`, `hardware`.
    """
    scores = results.scores(measurement, model.class_names, protocol.resamples, protocol.evaluation_seed)
    report = {
        **scores,
        "name": model.name,
        "workdir": model.folder and str(model.folder),
        "checkpoint": model.checkpoint,
        "image_size": model.image_size,
        "explainer": explainer or model.settings.get("cam"),
        "history": list(model.history),
        "config": {field.name: model.settings.get(field.name) for field in dataclasses.fields(settings.Config)},
        "notes": list(model.notes),
        "dataset": source.name,
        "data_dir": protocol.data_dir,
        "split": protocol.split,
        "split_examples": source.sizes[protocol.split],
        "skipped": len(source.skipped),
        "protocol": dataclasses.asdict(protocol),
        "batch_size": batch_size,
        "content_heatmap_on": model.content_heatmap_on,
        "retrieval_rank_among": min(consistency.GROUP, scores["examples"]),
        "randomization_examples": min(protocol.randomization, source.sizes[protocol.split]),
        "randomization": measurement.randomization,
        "commit": environment.commit(),
        "versions": environment.versions(),
        "hardware": environment.hardware(),
    }
    return json.loads(json.dumps(report))  # so that it equals what a reader of the file gets
