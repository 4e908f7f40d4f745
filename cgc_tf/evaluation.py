"""What trained runs are worth, over a whole split: measured, written, compared and drawn."""

import dataclasses
import json
import pathlib

from cgc_tf import checkpoints, figures, gallery, html_report, report, runs, sources, subjects, tables
from cgc_tf import config as settings
from cgc_tf.errors import UserError
from cgc_tf.measuring import measure
from cgc_tf.protocol import Protocol
from cgc_tf.report import COLUMNS, METRICS

FIGURE = "explanations.png"
PAGE = "report.html"
COMPARISON = "comparison"


@dataclasses.dataclass(frozen=True)
class Drawing:
    """What to draw: `examples` images for the figure, chosen as `gallery.choose` says, and `gallery` for the page."""

    examples: int = 6
    choice: str = "spread"
    ids: tuple[str, ...] = ()
    gallery: int = 24


PROTOCOL, DRAWING = Protocol(), Drawing()


def evaluate_runs(workdirs, protocol=PROTOCOL, batch_size=32, explainers=("",), drawing=DRAWING):
    """Evaluates each workdir, and sets them side by side.

    Args:
        workdirs: folders of trained runs on one dataset.
        protocol: a `Protocol`, the reference's by default.
        batch_size: examples at a time.
        explainers: names, as `explainers.make` takes them; "" is the heatmap that a run was trained with.
        drawing: a `Drawing`.

    Returns:
        `(reports, figure)`: one report for each workdir and explainer, and the path of the figure.

    Raises:
        UserError: before any measuring, for workdirs that cannot be evaluated together.
    """
    configs = [settings.Config.load(workdir) for workdir in workdirs]
    first = configs[0]
    for workdir, config in zip(workdirs, configs, strict=True):
        if (config.dataset, config.data_dir) != (first.dataset, first.data_dir):
            raise UserError(f"{workdir} was trained on other data than {workdirs[0]}; compare runs on one dataset")
        checkpoints.find(workdir)
    source = sources.load(first.dataset, first.data_dir or None, first.on_bad_image)
    for workdir in workdirs:
        if runs.class_names(workdir) != source.class_names:
            raise UserError(f"{workdir} was trained on other classes than {first.dataset} now has")
    made = (lambda workdir=workdir: subjects.from_workdir(workdir) for workdir in workdirs)
    return evaluate_subjects(made, source, protocol, batch_size, explainers, drawing)


def evaluate_subjects(makers, source, protocol=PROTOCOL, batch_size=32, explainers=("",), drawing=DRAWING):
    """Evaluates what each of `makers`, functions without arguments, makes: a `Subject`; one after the other.

    The other arguments, what is returned and what is written are those of `evaluate_runs`.
    """
    protocol.check(source)
    found = []
    for make in makers:
        subject = make()
        for explainer in explainers:
            explained = subject.explained_by(explainer, protocol.evaluation_seed)
            found.append(_evaluate(explained, source, protocol, batch_size, explainer))
    names = _names(found)
    columns = [each.measurement.columns for each in found]
    compared = tables.compare(names, columns, protocol.resamples, protocol.evaluation_seed)
    folder = found[0].subject.folder
    several = len({each.subject.folder for each in found}) > 1
    folder, stem = (folder.parent, COMPARISON) if several else (folder, pathlib.Path(FIGURE).stem)
    reports = [each.report for each in found]
    if len(found) > 1:
        _write_comparison(folder, reports, compared)
    figure = _draw(folder, stem, found, names, source, protocol, drawing, compared)
    if several:
        for each, name in zip(found, names, strict=True):
            shown = _shown(drawing.choice, drawing.examples, [each], source, protocol, drawing.ids)
            path = report.file(each.subject.folder, FIGURE, each.explainer)
            figures.explanations(path, shown, {name: _answers(each, shown, protocol)})
    return reports, figure


@dataclasses.dataclass(frozen=True)
class _Evaluated:
    subject: subjects.Subject
    explainer: str
    measurement: object
    report: dict


def _evaluate(subject, source, protocol, batch_size, explainer):
    with report.CurveFile(subject.folder, explainer) as keep_curves:
        measurement = measure(subject, source, protocol, batch_size, keep_curves)
    written = report.make(measurement, subject, protocol, explainer, batch_size)
    report.write(written, measurement, source.class_names, explainer)
    return _Evaluated(subject, explainer, measurement, written)


def _names(found):
    """The shortest name that tells each subject from the others: its objective, if it alone has it, and no other."""
    objectives = [each.report["config"]["objective"] for each in found]
    if len(set(objectives)) == len(found) and not any(each.report["history"] for each in found):
        return objectives
    return [each.subject.name for each in found]


def _write_comparison(folder, reports, compared):
    scores, differences = tables.scores(reports), tables.differences(compared)
    texts = {
        ".json": json.dumps(compared, indent=2) + "\n",
        ".md": f"{tables.markdown(*scores)}\n{tables.markdown(*differences)}",
        ".tex": f"{tables.latex(*scores)}\n{tables.latex(*differences)}",
    }
    for suffix, text in texts.items():
        (folder / f"{COMPARISON}{suffix}").write_text(text)


def _draw(folder, stem, found, names, source, protocol, drawing, compared):
    figure = folder / f"{stem}.png"
    shown = _shown(drawing.choice, drawing.examples, found, source, protocol, drawing.ids)
    rows = {name: _answers(each, shown, protocol) for name, each in zip(names, found, strict=True)}
    figures.explanations(figure, shown, rows)
    prefix = f"{COMPARISON}_" if stem == COMPARISON else ""
    pictures = {}
    if protocol.curves != "none":
        pictures["Insertion and deletion"] = folder / f"{prefix}curves.png"
        curves = {name: each.report["curves"] for name, each in zip(names, found, strict=True)}
        figures.curves(pictures["Insertion and deletion"], curves)
    if source.has_boxes:
        pictures["Content Heatmap"] = folder / f"{prefix}content_heatmap.png"
        shares = {n: each.measurement.columns["content_heatmap"] for n, each in zip(names, found, strict=True)}
        figures.histogram(pictures["Content Heatmap"], shares)
    shown = _shown("quantiles", drawing.gallery, found, source, protocol)
    answers = {name: _answers(each, shown, protocol) for name, each in zip(names, found, strict=True)}
    page = folder / (f"{COMPARISON}.html" if prefix else PAGE)
    html_report.write(page, [each.report for each in found], compared, pictures, shown, answers)
    return figure


def _shown(choice, count, found, source, protocol, ids=()):
    columns = [each.measurement.columns for each in found]
    indices = gallery.choose(choice, count, columns, ids, protocol.evaluation_seed)
    return gallery.examples(source, protocol.split, indices)


def _answers(each, shown, protocol):
    return gallery.explain(each.subject, each.measurement.columns, shown, protocol.ch_resize)


def table(reports):
    """The reports as lines of text: one run a line, in percent."""
    rows = []
    for found in reports:
        scaled = [None if found[key] is None else METRICS[key].scale * found[key] for key in COLUMNS]
        rows.append([tables.label(found), *("-" if x is None else f"{x:.2f}" for x in scaled)])
    counts = f"{reports[0]['examples']} images of split {reports[0]['split']}"
    if reports[0]["content_heatmap_of_uniform"] is not None:
        counts += f"; a uniform heatmap scores CH {100 * reports[0]['content_heatmap_of_uniform']:.2f}"
    return f"{tables.text(['', *COLUMNS.values()], rows)}\n{counts}"
