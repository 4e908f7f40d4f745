"""Tables of reports: plain text for the terminal, Markdown and LaTeX."""

import re

import numpy as np

from cgc_tf import journal, statistics
from cgc_tf.report import COLUMNS, METRICS

LATEX = str.maketrans(
    {character: f"\\{character}" for character in "_%&#${}"}
    | {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "±": "$\\pm$", "−": "$-$"}
)


def scores(reports):
    """What each report scores: `(head, rows)`, of strings; an interval of 95% follows each mean."""
    rows = []
    for report in reports:
        cells = [label(report)]
        for key in COLUMNS:
            found = report["statistics"][key]
            scale = METRICS[key].scale
            cells.append(_with_interval(found, scale) if found else "-")
        rows.append(cells)
    return ["run", *COLUMNS.values()], rows


def every_score(reports):
    """All that is known of each report, `(head, rows)`: a row for each metric, with an arrow to what is better."""
    rows = []
    for key, metric in METRICS.items():
        found = [report["statistics"][key] for report in reports]
        if any(found):
            cells = [_with_interval(one, metric.scale) if one else "-" for one in found]
            rows.append([f"{metric.title} {('', '↑', '↓')[metric.better]}".strip(), *cells, metric.meaning])
    return ["metric", *map(label, reports), "what it is"], rows


def differences(comparisons):
    """Paired differences, `(head, rows)`: one row for each metric of each pair of runs (see `compare`)."""
    rows = []
    for pair in comparisons:
        for key, found in pair["metrics"].items():
            cells = [f"{pair['second']} - {pair['first']}", METRICS[key].title]
            cells += [_with_interval(found, METRICS[key].scale, signed=True)]
            rows.append([*cells, *(str(found[count]) for count in ("better", "worse", "count"))])
    return ["runs", "metric", "difference [95% interval]", "better", "worse", "images"], rows


def compare(names, all_columns, resamples=statistics.RESAMPLES, seed=0):
    """Each subject against the first, image by image.

    Args:
        names: the subjects' names.
        all_columns: the `columns` of each one's `Measurement`, on the same examples.
        resamples, seed: of the bootstrap.

    Returns:
        A list of dicts: `first`, `second`, and `metrics`, {name: `statistics.paired` with `better` and `worse`, how
        many images `second` does better and worse on}; only metrics of which more or less is better.
    """
    order = [np.argsort(columns["index"]) for columns in all_columns]
    first, compared = all_columns[0], []
    for name, columns, rows in zip(names[1:], all_columns[1:], order[1:], strict=True):
        found = {}
        for key, metric in METRICS.items():
            if key in first and key in columns and metric.better:
                pair = statistics.paired(first[key][order[0]], columns[key][rows], resamples, seed)
                if pair:
                    up, down = ("higher", "lower")[:: metric.better]
                    found[key] = {**pair, "better": pair[up], "worse": pair[down]}
        compared.append({"first": names[0], "second": name, "metrics": found})
    return compared


def label(report):
    """What tables call a report's subject: its objective, name, perhaps explainer, and what changed on the way."""
    objective, name = report["config"]["objective"], report["name"]
    found = name if name.startswith(objective) else f"{objective} ({name})"
    changes = journal.told(report.get("history", []))
    return f"{found}: {changes}" if changes else found


def text(head, rows):
    """Aligned columns for a terminal."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = []
    for row in (head, *rows):
        cells = (
            f"{cell:<{width}}" if not index else f"{cell:>{width}}"
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown(head, rows):
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines) + "\n"


def latex(head, rows):
    """A LaTeX `tabular` with booktabs' rules."""
    lines = [f"\\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}", "\\toprule", _latex_row(head), "\\midrule"]
    return "\n".join([*lines, *map(_latex_row, rows), "\\bottomrule", "\\end{tabular}"]) + "\n"


def _latex_row(cells):
    cells = [re.sub(r"(?<!\w)-(?=\d)", "−", cell).translate(LATEX) for cell in cells]
    return " & ".join(cells) + " \\\\"


def _with_interval(found, scale, signed=False):
    low, high = (scale * end for end in found["interval"])
    sign = "+" if signed else ""
    return f"{scale * found['mean']:{sign}.2f} [{low:{sign}.2f}, {high:{sign}.2f}]"
