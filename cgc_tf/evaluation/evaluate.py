"""What trained models are worth, over a whole split: measured, written, compared and drawn."""

import dataclasses
import json
import os
import pathlib
from typing import NamedTuple

from cgc_tf.common.errors import UserError
from cgc_tf.evaluation import evaluated_models, examples
from cgc_tf.evaluation.measure import measure
from cgc_tf.evaluation.protocol import Protocol
from cgc_tf.report import figures, page, results, tables
from cgc_tf.training import checkpoints, run_folder
from cgc_tf.training import config as settings


@dataclasses.dataclass(frozen=True)
class Drawing:
    """What to draw: `examples` images for the figure, chosen as `examples.choose` says, and `gallery` for the page."""

    examples: int = 6
    choice: str = "spread"
    ids: tuple[str, ...] = ()
    gallery: int = 24

    def check(self, source):
        """Raises `UserError` where examples are to be chosen by what a source has not."""
        if self.choice in examples.BY_CONTENT_HEATMAP and not source.has_boxes:
            raise UserError(
                f"--show={self.choice} is not used: {source.name} has no boxes, so there is no CH to choose by"
            )


class Evaluation(NamedTuple):
    """What came of it: one report for each model and explainer; `tables.compare` of them; paths of figure and page."""

    reports: list
    comparisons: list
    figure: pathlib.Path
    page: pathlib.Path


PROTOCOL, DRAWING = Protocol(), Drawing()


def evaluate_runs(workdirs, protocol=PROTOCOL, batch_size=32, explainers=("",), drawing=DRAWING):
    """Evaluates each workdir, and sets them side by side.

    Args:
        workdirs: folders of trained runs.
        protocol: a `Protocol`, the reference's by default, on the data that the runs were trained on.
        batch_size: examples at a time.
        explainers: names, as `explainers.make` takes them; "" is the heatmap that a run was trained with.
        drawing: a `Drawing`.

    Returns:
        An `Evaluation`.

    Raises:
        UserError: before any measuring, for workdirs that cannot be evaluated together.
    """
    paths = [os.path.realpath(workdir) for workdir in workdirs]
    if len(set(paths)) < len(paths):
        raise UserError(f"--workdir={','.join(map(str, workdirs))} names a run twice")
    named = [protocol.on_data_of(dataclasses.asdict(settings.Config.load(workdir))) for workdir in workdirs]
    for workdir, its in zip(workdirs, named, strict=True):
        if (its.dataset, its.data_dir) != (named[0].dataset, named[0].data_dir):
            raise UserError(
                f"{workdir} was trained on other data than {workdirs[0]}: say what to measure both on by --dataset and "
                "--data_dir"
            )
        checkpoints.find(workdir)
    source = named[0].open_source()
    for workdir in workdirs:
        evaluated_models.check_classes(workdir, run_folder.class_names(workdir), source.class_names)
    pairs = zip(workdirs, _names_of_folders(paths), strict=True)
    makers = (
        lambda workdir=workdir, name=name: evaluated_models.from_workdir(workdir, name) for workdir, name in pairs
    )
    return evaluate_subjects(makers, source, named[0], batch_size, explainers, drawing)


def evaluate_subjects(makers, source, protocol=PROTOCOL, batch_size=32, explainers=("",), drawing=DRAWING):
    """Evaluates what each of `makers`, functions without arguments, makes: a `Subject`; one after the other.

    The protocol's data is named, and `source` is that. The other arguments, what is returned and what is written are
    those of `evaluate_runs`.
    """
    protocol.check(source)
    drawing.check(source)
    if drawing.ids:
        examples.check_ids(source, protocol.split, protocol.limit, drawing.ids)
    if len(set(explainers)) < len(explainers):
        raise UserError(f"--explainer={','.join(explainers)} names one twice")
    found = []
    for make in makers:
        subject = make()
        for explainer in explainers:
            explained = subject.explained_by(explainer, protocol.evaluation_seed).in_order_of(source.class_names)
            found.append(_evaluate(explained, source, protocol, batch_size, explainer))
    drawn = None
    folders = list(dict.fromkeys(each.subject.folder for each in found))
    for folder in folders:
        inside = [each for each in found if each.subject.folder == folder]
        drawn = _draw(folder, ALONE, inside, source, protocol, drawing)
    if len(folders) > 1:
        drawn = _draw(folders[0].parent, TOGETHER, found, source, protocol, drawing)
    return drawn


@dataclasses.dataclass(frozen=True)
class _Evaluated:
    subject: evaluated_models.Subject
    explainer: str
    measurement: object
    report: dict


def _evaluate(subject, source, protocol, batch_size, explainer):
    variant = results.variant(protocol, subject.settings, explainer)
    with results.CurveFile(subject.folder, variant) as keep_curves:
        measurement = measure(subject, source, protocol, batch_size, keep_curves)
    written = results.make(measurement, subject, source, protocol, explainer, batch_size)
    results.write(written, measurement, source.class_names, variant)
    return _Evaluated(subject, explainer, measurement, written)


def _names_of_folders(paths):
    """A name for each of some absolute paths: the last part, or what tells them apart where that is the same."""
    names = [os.path.basename(path) for path in paths]
    if len(set(names)) == len(names):
        return names
    common = os.path.commonpath(paths)
    return [os.path.relpath(path, common) for path in paths]


def _names(found):
    """The shortest name that tells each subject from the others: its objective, if it alone has it, and no other."""
    objectives = [each.report["config"]["objective"] for each in found]
    is_told_apart = None not in objectives and len(set(objectives)) == len(found)
    if is_told_apart and not any(each.report["history"] for each in found):
        return objectives
    return [each.subject.name for each in found]


@dataclasses.dataclass(frozen=True)
class _Files:
    """The names of what is drawn in a folder."""

    figure: str
    page: str
    curves: str
    histogram: str


COMPARISON = "comparison"
ALONE = _Files("explanations.png", "report.html", "curves.png", "content_heatmap.png")
TOGETHER = _Files("comparison.png", "comparison.html", "comparison_curves.png", "comparison_content_heatmap.png")


def _draw(folder, files, found, source, protocol, drawing):
    """Writes the comparison, figures and page of what was evaluated; removes what an earlier one has left there."""
    names, reports = _names(found), [each.report for each in found]
    columns = [each.measurement.columns for each in found]
    compared = tables.compare(names, columns, protocol.resamples, protocol.evaluation_seed)
    explainers = [each.explainer for each in found]
    variant = results.variant(protocol, found[0].subject.settings, "" if "" in explainers else explainers[0])
    place = {key: results.file(folder, name, variant) for key, name in vars(files).items()}
    if len(found) > 1:
        _write_comparison(folder, variant, reports, compared)
    shown = _shown(drawing.choice, drawing.examples, columns, source, protocol, drawing.ids)
    figures.explanations(place["figure"], shown, examples.rows_of_figure(_answers(names, found, shown, protocol)))
    for key in ("curves", "histogram"):
        for path in (place[key], place[key].with_suffix(".pdf")):
            path.unlink(missing_ok=True)
    pictures = {}
    if protocol.curves != "none":
        pictures["Insertion and deletion"] = place["curves"]
        figures.curves(place["curves"], {name: one["curves"] for name, one in zip(names, reports, strict=True)})
    if source.has_boxes:
        pictures["Content Heatmap"] = place["histogram"]
        shares = {name: one["content_heatmap"] for name, one in zip(names, columns, strict=True)}
        figures.histogram(place["histogram"], shares)
    shown = _shown("quantiles", drawing.gallery, columns, source, protocol)
    answers = _answers(names, found, shown, protocol)
    page.write(place["page"], reports, compared, pictures, shown, answers)
    return Evaluation(reports, compared, place["figure"], place["page"])


def _write_comparison(folder, variant, reports, compared):
    scores, differences = tables.scores(reports), tables.differences(compared, reports)
    texts = {
        ".json": json.dumps(compared, indent=2) + "\n",
        ".md": f"{tables.markdown(*scores)}\n{tables.markdown(*differences)}\n{tables.what_it_is_of(reports)}\n",
        ".tex": f"{tables.latex(*scores)}\n{tables.latex(*differences)}",
    }
    for suffix, text in texts.items():
        results.file(folder, f"{COMPARISON}{suffix}", variant).write_text(text)


def _shown(choice, count, columns, source, protocol, ids=()):
    indices = examples.choose(choice, count, columns, ids, protocol.evaluation_seed)
    return examples.examples(source, protocol.split, indices)


def _answers(names, found, shown, protocol):
    """{name: what `gallery.explain` gives}."""
    return {
        name: examples.explain(each.subject, each.measurement.columns, shown, protocol.ch_resize)
        for name, each in zip(names, found, strict=True)
    }
