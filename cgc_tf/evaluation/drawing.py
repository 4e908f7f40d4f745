"""What is drawn of what was measured: the figure, curves, a histogram, the page, and the tables of a comparison."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence

from cgc_tf.common import files
from cgc_tf.common.errors import UserError
from cgc_tf.data.source import Source
from cgc_tf.evaluation import examples
from cgc_tf.evaluation.evaluated_models import EvaluatedModel
from cgc_tf.evaluation.protocol import Protocol
from cgc_tf.report import figures, page, results, tables
from cgc_tf.report.results import Measurement


@dataclasses.dataclass(frozen=True)
class Drawing:
    """What to draw: `examples` images in the figure, chosen as `examples.choose` says, and `gallery` on the page."""

    examples: int = 6
    choice: str = "spread"
    ids: tuple[str, ...] = ()
    gallery: int = 24

    def check(self, source: Source) -> None:
        """Raises `UserError` where images are to be chosen by what is not known of a source's."""
        if self.choice in examples.BY_CONTENT_HEATMAP and not source.has_boxes:
            raise UserError(
                f"--show={self.choice} is not used: {source.name} has no boxes, so there is no CH to choose by"
            )


@dataclasses.dataclass(frozen=True)
class Measured:
    """A model, the name of its explainer, what was measured of the two, and what evaluation.json says of that."""

    model: EvaluatedModel
    explainer: str
    measurement: Measurement
    report: dict


COMPARISON = "comparison"
ALONE = {  # what is drawn of the models in a folder, and of the models of several folders
    "figure": "explanations.png",
    "page": "report.html",
    "curves": "curves.png",
    "histogram": "content_heatmap.png",
}
TOGETHER = {
    "figure": "comparison.png",
    "page": "comparison.html",
    "curves": "comparison_curves.png",
    "histogram": "comparison_content_heatmap.png",
}


def draw(
    folder: pathlib.Path,
    names: Mapping[str, str],
    found: Sequence[Measured],
    source: Source,
    protocol: Protocol,
    drawing: Drawing,
) -> tuple[list[dict], pathlib.Path, pathlib.Path]:
    """Writes the figures and the page of what was measured, and where that is several the tables of a comparison.

    Returns:
        What `results.compare` gives, and the paths of the figure and the page.

    Raises:
        UserError: the folder cannot be written.
    """
    titles, reports = _titles(found), [each.report for each in found]
    measurements = [each.measurement for each in found]
    columns = [measurement.columns for measurement in measurements]
    explainers = [each.explainer for each in found]
    variant = protocol.variant(found[0].model.settings, "" if "" in explainers else explainers[0])
    place = {kind: results.file(folder, name, variant) for kind, name in names.items()}

    def explained(shown):
        return {
            title: examples.explain(each.model, each.measurement.columns, shown, protocol.ch_resize)
            for title, each in zip(titles, found, strict=True)
        }

    in_figure = _chosen(drawing.choice, drawing.examples, columns, source, protocol, drawing.ids)
    on_page = _chosen("quantiles", drawing.gallery, columns, source, protocol)
    rows, answers = examples.rows_of_figure(explained(in_figure)), explained(on_page)
    compared = results.compare(titles, measurements, protocol.resamples, protocol.evaluation_seed)
    with files.reported(folder):
        if len(found) > 1:
            _write_comparison(folder, variant, reports, compared)
        figures.explanations(place["figure"], in_figure, rows)
        charts = _draw_charts(place, dict(zip(titles, found, strict=True)))
        page.write(place["page"], reports, compared, charts, on_page, answers)
    return compared, place["figure"], place["page"]


def _titles(found):
    """The shortest name that tells each from the others: its objective, if that does and did not change."""
    objectives = [each.report["config"]["objective"] for each in found]
    is_told_apart = None not in objectives and len(set(objectives)) == len(found)
    if is_told_apart and not any(each.report["history"] for each in found):
        return objectives
    return [each.model.name for each in found]


def _chosen(choice, count, columns, source, protocol, ids=()):
    indices = examples.choose(choice, count, columns, ids, protocol.evaluation_seed)
    return examples.examples(source, protocol.split, indices)


def _draw_charts(place, found):
    """Removes the charts of an earlier evaluation, and draws those of what was measured: {title: PNG}."""
    for path in (place["curves"], place["histogram"]):
        path.unlink(missing_ok=True)
        path.with_suffix(".pdf").unlink(missing_ok=True)
    charts = {}
    if all(each.report["curves"] for each in found.values()):
        charts["Insertion and deletion"] = place["curves"]
        figures.curves(place["curves"], {title: each.report["curves"] for title, each in found.items()})
    if all("content_heatmap" in each.measurement.columns for each in found.values()):
        charts["Content Heatmap"] = place["histogram"]
        shares = {title: each.measurement.columns["content_heatmap"] for title, each in found.items()}
        figures.histogram(place["histogram"], shares)
    return charts


def _write_comparison(folder, variant, reports, compared):
    scores, differences = tables.scores(reports), tables.differences(compared, reports)
    texts = {
        ".json": json.dumps(compared, indent=2) + "\n",
        ".md": f"{tables.markdown(*scores)}\n{tables.markdown(*differences)}\n{tables.what_it_is_of(reports)}\n",
        ".tex": f"{tables.latex(*scores)}\n{tables.latex(*differences)}",
    }
    for suffix, text in texts.items():
        files.write(results.file(folder, f"{COMPARISON}{suffix}", variant), text)
