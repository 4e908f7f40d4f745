"""What is drawn of what was measured: the figure, curves, a histogram, the page, and the tables of a comparison."""

import dataclasses
import json
import pathlib
from collections.abc import Sequence

from cgc_tf.common import files
from cgc_tf.data.source import Source
from cgc_tf.evaluation import examples, hiding
from cgc_tf.evaluation.evaluated_models import EvaluatedModel
from cgc_tf.evaluation.examples import Drawing
from cgc_tf.evaluation.protocol import Protocol
from cgc_tf.report import confusion, figures, page, results, tables
from cgc_tf.report.results import Measurement


@dataclasses.dataclass(frozen=True)
class Measured:
    """A model, the name of its explainer, what was measured of the two, and what evaluation.json says of that."""

    model: EvaluatedModel
    explainer: str
    measurement: Measurement
    report: dict


NAMES = {  # of the figure, the page, the charts of the models in a folder, and of those of several
    False: ("explanations.png", "report.html", "curves.png", "reliability.png", "content_heatmap.png"),
    True: (
        "comparison.png",
        "comparison.html",
        "comparison_curves.png",
        "comparison_reliability.png",
        "comparison_content_heatmap.png",
    ),
}


def draw(
    found: Sequence[Measured], source: Source, protocol: Protocol, drawing: Drawing, are_together: bool = False
) -> tuple[list[dict], pathlib.Path, pathlib.Path]:
    """Writes the figures and the page of what was measured, and where that is several the tables of a comparison.

    They go into the folder of the first model; of the models of several folders, together, into the one above it.

    Returns:
        What `results.compare` gives, and the paths of the figure and the page.

    Raises:
        UserError: the folder cannot be written.
    """
    titles, reports = _titles(found), [each.report for each in found]
    named = dict(zip(titles, found, strict=True))
    measurements = [each.measurement for each in found]
    explainers = [each.explainer for each in found]
    variant = protocol.variant(found[0].model.settings, "" if "" in explainers else explainers[0])
    folder = found[0].model.folder.parent if are_together else found[0].model.folder
    figure, page_file, curves, reliability, histogram = (
        results.file(folder, name, variant) for name in NAMES[are_together]
    )

    columns = [measurement.columns for measurement in measurements]

    def chosen(how, count, ids=()):
        return examples.choose(how, count, columns, ids, protocol.evaluation_seed)

    (in_figure, answers), gallery, mistakes = _explained(
        named,
        source,
        protocol,
        chosen(drawing.show, drawing.examples, drawing.show_ids),
        chosen("quantiles", drawing.gallery),
        examples.mistakes(drawing.gallery, columns),
    )
    pictures = page.Pictures(
        gallery=gallery,
        mistakes=mistakes,
        backgrounds={title: _backgrounds(each, source, protocol) for title, each in named.items()},
        cells={
            cell: images
            for title, its, report in zip(titles, columns, reports, strict=True)
            for cell, images in confusion.images(its, report, source.class_names, title).items()
        },
    )
    compared = results.compare(titles, measurements, protocol.resamples, protocol.evaluation_seed)
    with files.reported(folder):
        if len(found) > 1:
            _write_comparison(folder, variant, reports, compared)
        figures.explanations(figure, in_figure, examples.rows_of_figure(answers))
        charts = _draw_charts(curves, reliability, histogram, named)
        page.write(page_file, reports, compared, charts, pictures)
    return compared, figure, page_file


def _explained(named, source, protocol, *choices):
    """For each choice of indices, its examples and {title: their explanations}. What two choose is explained once."""
    indices = sorted({index for choice in choices for index in choice})
    shown = examples.examples(source, protocol.split, indices)
    example, answers = dict(zip(indices, shown, strict=True)), {}
    for title, each in named.items():
        its = examples.explain(each.model, each.measurement.columns, shown, protocol.ch_resize)
        answers[title] = dict(zip(indices, its, strict=True))

    def of(choice):
        return [example[i] for i in choice], {title: [its[i] for i in choice] for title, its in answers.items()}

    return [of(choice) for choice in choices]


def _backgrounds(each, source, protocol):
    columns, found = each.measurement.columns, each.report["background"]
    return hiding.given_away(source, protocol.split, columns, found, each.model.image_size)


def _titles(found):
    """The shortest name that tells each from the others: its objective, if that does and did not change."""
    objectives = [each.report["config"]["objective"] for each in found]
    is_told_apart = None not in objectives and len(set(objectives)) == len(found)
    if is_told_apart and not any(each.report["history"] for each in found):
        return objectives
    return [each.model.name for each in found]


def _draw_charts(curves, reliability, histogram, found):
    """Removes the charts of an earlier evaluation, and draws those of what was measured: {title: PNG}."""
    for path in (curves, reliability, histogram):
        path.unlink(missing_ok=True)
        path.with_suffix(".pdf").unlink(missing_ok=True)
    charts = {}
    if all(each.report["curves"] for each in found.values()):
        charts["The class's probability as pixels come and go"] = curves
        figures.curves(curves, {title: each.report["curves"] for title, each in found.items()})
    charts["Reliability: as often right as sure?"] = reliability
    figures.reliability(reliability, {title: each.report["calibration"] for title, each in found.items()})
    if all("content_heatmap" in each.measurement.columns for each in found.values()):
        charts["Content Heatmap"] = histogram
        shares = {title: each.measurement.columns["content_heatmap"] for title, each in found.items()}
        figures.histogram(histogram, shares)
    return charts


def _write_comparison(folder, variant, reports, compared):
    scores, differences = tables.scores(reports), tables.differences(compared, reports)
    texts = {
        ".json": json.dumps(compared, indent=2) + "\n",
        ".md": f"{tables.markdown(*scores)}\n{tables.markdown(*differences)}\n{tables.what_it_is_of(reports)}\n",
        ".tex": tables.latex_document(scores, differences),
    }
    for suffix, text in texts.items():
        files.write(results.file(folder, f"comparison{suffix}", variant), text)
