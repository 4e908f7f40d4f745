"""The page's tables: HTML whose heads say what they are of."""

import html
import re
from collections.abc import Mapping, Sequence

from cgc_tf.report import tables


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The HTML of a table; the first cell of a row is its head."""
    return _table([_text(cell) for cell in head], [[_text(cell) for cell in row] for row in rows])


def _text(cell):
    return re.sub(r"(\[.+)", r"<small>\1</small>", html.escape(cell))  # an interval is small


def _table(head, rows):
    heads = "".join(f"<th scope=col>{cell}</th>" for cell in head)
    body = "".join(
        f"<tr><th scope=row>{name}</th>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for name, *row in rows
    )
    return f"<div class=wide><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"


def scores(reports: Sequence[Mapping]) -> str:
    """`tables.every_score`, in which a measure's name opens what it is."""
    head, rows = tables.every_score(reports)
    texts = [[_what_it_is(name, meaning), *map(_text, cells)] for name, *cells, meaning in rows]
    return _table([html.escape(cell) for cell in head[:-1]], texts)


def _what_it_is(name, meaning):
    return f"<details><summary>{html.escape(name)}</summary><p>{html.escape(meaning)}</p></details>"


def classes(reports: Sequence[Mapping]) -> str:
    """Top-1 and CH of each class."""
    head = ["class", "images", *(f"{title}, {r['name']}" for r in reports for title in ("top-1", "CH"))]
    rows = []
    for name, found in reports[0]["per_class"].items():
        each = [report["per_class"].get(name, {}) for report in reports]
        values = [one.get(key) for one in each for key in ("top1", "content_heatmap")]
        cells = ["-" if value is None else f"{100 * value:.1f}" for value in values]
        rows.append([name, str(found["examples"]), *cells])
    return table(head, rows)


def backgrounds(found: Mapping) -> str:
    """What `verdict.backgrounds` found, class by class."""
    rows = []
    for name, one in found["classes"].items():
        difference, answer = "-", {True: "yes", False: "no", None: "too few pictures"}[one["by_background"]]
        if one["interval"]:
            low, high = one["interval"]
            difference = f"{100 * one['difference']:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
        counts = (
            f"{one[part]} of {one[whole]}" for part, whole in (("still_given", "given"), ("others_given", "others"))
        )
        rows.append([name, answer, *counts, difference])
    head = "class", "by background", "said again, object hidden", "said of others, object hidden", "difference, points"
    return table(head, rows)


def randomization(report: Mapping) -> str:
    """How heatmaps changed as weights were shuffled, under a heading."""
    rows = [
        [found["layer"], "-" if found["spearman"] is None else f"{found['spearman']:.3f}"]
        for found in report["randomization"]
    ]
    count = report["randomization_examples"]
    title = f"<h2>Randomization check, {html.escape(report['name'])}, {count} images</h2>"
    return title + table(["layers shuffled down to", "rank correlation with the heatmap before"], rows)
