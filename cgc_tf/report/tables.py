"""Tables of reports: plain text for the terminal, Markdown and LaTeX."""

import re
from collections.abc import Iterable, Mapping, Sequence

from cgc_tf.common.errors import position_in_words
from cgc_tf.report.results import COLUMNS, METRICS, WHOLE_AND_LABELED

Table = tuple[list[str], list[list[str]]]  # a head, and rows as long as it

ARROWS = {1: "↑", -1: "↓", 0: ""}
LATEX = str.maketrans(
    {character: f"\\{character}" for character in "_%&#${}"}
    | {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "±": "$\\pm$", "−": "$-$"}
)


def scores(reports: Sequence[Mapping]) -> Table:
    """What each report scores: `(head, rows)`, of strings; an interval of 95% follows each mean."""
    shown = columns(reports)
    rows = []
    for report in reports:
        cells = (_with_interval(report["statistics"][key], METRICS[key].scale) for key in shown)
        rows.append([label(report), *cells])
    return ["run", *shown.values()], rows


def columns(reports: Iterable[Mapping]) -> dict[str, str]:
    """The columns of a table of reports, {metric: title}: those of `COLUMNS` that any of them has."""
    reports = list(reports)
    known = (key for key in COLUMNS if any(report.get(key) is not None for report in reports))
    return {key: title(key, reports[0]) for key in known}


def title(key: str, report: Mapping) -> str:
    """A metric's title in tables; a rank's says among how many, which is fewer for a small split."""
    if key == "retrieval_rank":
        return f"{METRICS[key].title} of {report['retrieval_rank_among']}"
    return METRICS[key].title


def every_score(reports: Sequence[Mapping]) -> Table:
    """All that is known of each report, `(head, rows)`: a row for each metric, with an arrow to what is better."""
    rows = []
    for key, metric in METRICS.items():
        found = [report["statistics"][key] for report in reports]
        if any(found):
            cells = [_with_interval(one, metric.scale) for one in found]
            rows.append([f"{title(key, reports[0])} {ARROWS[metric.better]}".strip(), *cells, metric.meaning])
    balanced = [_with_interval(report["statistics"]["balanced_top1"]) for report in reports]
    rows.append(["balanced top-1 ↑", *balanced, "mean over classes of the top-1 of their images"])
    errors = [f"{100 * report['calibration']['ece']:.2f}" for report in reports]
    apart = "expected calibration error: how far confidence and top-1 are apart; resamples raise it, so no interval"
    rows.append(["ECE ↓", *errors, apart])
    return ["metric", *map(label, reports), "what it is"], rows


def differences(comparisons: Sequence[Mapping], reports: Sequence[Mapping]) -> Table:
    """Paired differences, `(head, rows)`: one row for each metric of each pair of runs (see `results.compare`)."""
    rows = []
    for pair in comparisons:
        for key, found in pair["metrics"].items():
            which = f"{pair['second']} - {pair['first']}", title(key, reports[0])
            counts = (str(found[count]) for count in ("better", "worse", "count"))
            rows.append([*which, _with_interval(found, METRICS[key].scale, sign="+"), *counts])
    return ["runs", "metric", "difference [95% interval]", "better", "worse", "images"], rows


def means(reports: Sequence[Mapping]) -> Table:
    """The means of reports, `(head, rows)`: one row for each, in percent except a rank."""
    shown, rows = columns(reports), []
    for report in reports:
        cells = ["-" if report.get(key) is None else f"{METRICS[key].scale * report[key]:.2f}" for key in shown]
        rows.append([label(report), *cells])
    return ["", *shown.values()], rows


def what_it_is_of(reports: Sequence[Mapping]) -> str:
    """What the numbers of reports on one dataset are of: its images, and all that a reader could take for granted."""
    lines = [measured_on(reports[0])]
    for report in reports:
        if report["content_heatmap_on"] != WHOLE_AND_LABELED:
            lines.append(f"{label(report)}: CH on {report['content_heatmap_on']}")
        share = report["statistics"]["content_heatmap"]
        if share and share["count"] < report["examples"]:
            missing = f"{report['zero_heatmaps']} heatmaps are zero, {report['without_boxes']} images have no box"
            lines.append(f"{label(report)}: CH of {share['count']} images; {missing}")
        lines += [f"{label(report)}: {note}" for note in report["notes"]]
    for key, words in (("image_size", "at its own image size"), ("explainer", "by its own explainer")):
        if len({report[key] for report in reports}) > 1:
            each = ", ".join(f"{label(report)} {report[key] or 'unknown'}" for report in reports)
            lines.append(f"each {words}: {each}")
    return "\n".join(lines)


def measured_on(report: Mapping) -> str:
    """The images that a report is of, and what a heatmap that says nothing scores on them, a line."""
    line = images(report)
    if report["content_heatmap_of_uniform"] is not None:
        line += f"; a uniform heatmap scores CH {100 * report['content_heatmap_of_uniform']:.2f}"
    return line


def images(report: Mapping) -> str:
    """The images that a report is of, in words."""
    count, size = report["examples"], report["split_examples"]
    whole = f"{count} images" if count == size else f"{count} of the {size} images"
    return f"{whole} of split {report['split']} of {report['dataset']}"


def label(report: Mapping) -> str:
    """What tables call a report's model: its objective, name, perhaps explainer, and what changed while it trained."""
    objective, name = report["config"]["objective"] or "unknown objective", report["name"]
    found = name if name.startswith(objective) else f"{objective} ({name})"
    words = changes(report.get("history", []))
    return f"{found}: {words}" if words else found


def changes(history: Sequence[Mapping]) -> str:
    """What changed while a model was trained, in words, as "objective baseline to the end of epoch 2, then cgc".

    Args:
        history: dicts, one for each period between changes: `position`, where it begins, its `epoch` and `step`; and
            `settings`, {name: value}, those that changed at some time. Empty where nothing did.
    """
    return "; ".join(_change(name, history) for name in history[0]["settings"]) if history else ""


def _change(name, history):
    value = history[0]["settings"][name]
    words = f"{name} {_setting(value)}"
    for period in history[1:]:
        if period["settings"][name] != value:
            value = period["settings"][name]
            position = period["position"]
            words += f" to {position_in_words(position['epoch'], position['step'])}, then {_setting(value)}"
    return words


def _setting(value):
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def text(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns for a terminal."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = []
    for first, *others in (head, *rows):
        numbers = [f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([f"{first:<{widths[0]}}", *numbers]).rstrip())
    return "\n".join(lines)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines) + "\n"


def latex(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A LaTeX `tabular` with booktabs' rules."""
    lines = [f"\\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}", "\\toprule", _latex_row(head), "\\midrule"]
    return "\n".join([*lines, *map(_latex_row, rows), "\\bottomrule", "\\end{tabular}"]) + "\n"


def latex_document(*found: Table) -> str:
    """A LaTeX file that compiles as it stands, of one or more tables."""
    packages = (
        "\\documentclass{article}\n\\usepackage[a4paper, landscape, margin=1cm]{geometry}\n\\usepackage{booktabs}\n"
    )
    body = "\n\\bigskip\n\n".join(latex(*table) for table in found)
    return f"{packages}\\begin{{document}}\n\\noindent\\footnotesize\n{body}\\end{{document}}\n"


def _latex_row(cells):
    cells = [re.sub(r"(?<!\w)-(?=\d)", "−", cell).translate(LATEX) for cell in cells]
    cells = [re.sub(r"\*\*(.+?)\*\*", r"\\textbf{\1}", cell) for cell in cells]
    return " & ".join(cells) + " \\\\"


def _with_interval(found, scale=100.0, sign=""):
    if not found:
        return "-"
    mean, low, high = (scale * value for value in (found["mean"], *found["interval"]))
    return f"{mean:{sign}.2f} [{low:{sign}.2f}, {high:{sign}.2f}]"
