"""Which class is taken for which: the counts, and a matrix on the page whose cells can be clicked."""

import collections
import html
import json
from collections.abc import Mapping, Sequence

import numpy as np

SHOWN = 20  # classes in a matrix, at most
LISTED = 20  # images of a cell, at most


def counts(columns: Mapping, class_names: Sequence[str]) -> dict[str, dict[str, int]]:
    """{label: {prediction: how many images}}, by the names of classes; of a `Measurement`'s columns."""
    found = {}
    for label, predicted in zip(columns["label"], columns["predicted"], strict=True):
        row = found.setdefault(class_names[label], collections.Counter())
        row[class_names[predicted]] += 1
    return found


def pair(name: str, label: str, predicted: str) -> str:
    """What the page calls a cell of a model's matrix."""
    return json.dumps([name, label, predicted])


def images(columns: Mapping, report: Mapping, class_names: Sequence[str], name: str) -> dict[str, list]:
    """{cell of `matrix`, as `pair` names it: `[[id, probability of the prediction], ...]`, the `LISTED` surest}."""
    found, shown = {}, {class_names.index(one) for one in _most_confused(report)}
    sure = columns["probability_of_predicted"]
    for row in np.argsort(sure, kind="stable")[::-1].tolist():
        label, predicted = int(columns["label"][row]), int(columns["predicted"][row])
        if not {label, predicted} <= shown:
            continue
        cell = pair(name, class_names[label], class_names[predicted])
        if len(found.setdefault(cell, [])) < LISTED:
            found[cell].append([columns["id"][row], round(float(sure[row]), 3)])
    return found


def matrix(report: Mapping, name: str) -> str:
    """The HTML of a report's matrix, a row for each class and a column for each prediction; `name` tells its model.

    Of many classes it has those that take part in most mistakes.
    """
    confusion, shown = report["confusion"], _most_confused(report)
    largest = max(max(row.values()) for row in confusion.values())
    caption = f"{html.escape(name)}: rows are the labels, columns the answers"
    if len(shown) < report["classes"]:
        caption += f"; {len(shown)} of {report['classes']} classes, those in most mistakes"
    head = "".join(f"<th scope=col><span>{html.escape(one.replace('_', ' '))}</span></th>" for one in shown)
    rows = "".join(_row(confusion.get(label, {}), label, shown, largest, name) for label in shown)
    return (
        f"<div class=wide><table class=confusion><caption>{caption}</caption>"
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _most_confused(report):
    mistakes = collections.Counter()
    for label, row in report["confusion"].items():
        for predicted, count in row.items():
            if predicted != label:
                mistakes.update({label: count, predicted: count})
    names = list(dict.fromkeys([*report["per_class"], *mistakes]))
    kept = set(sorted(names, key=lambda name: -mistakes[name])[:SHOWN])
    return [name for name in names if name in kept]


def _row(row, label, shown, largest, name):
    cells = "".join(_cell(row.get(predicted, 0), label, predicted, largest, name) for predicted in shown)
    return f"<tr><th scope=row>{html.escape(label.replace('_', ' '))}</th>{cells}</tr>"


def _cell(count, label, predicted, largest, name):
    if not count:
        return "<td></td>"
    kind = "right" if label == predicted else "wrong"
    told = html.escape(f"{count} × {label}, answer {predicted}")
    cell = html.escape(pair(name, label, predicted))
    strength = f"--strength: {count / largest:.2f}"
    return f'<td><button class={kind} style="{strength}" aria-label="{told}" data-cell="{cell}">{count}</button></td>'
