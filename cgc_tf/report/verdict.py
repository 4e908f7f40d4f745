"""The verdict on a model in plain words, and the rule that it follows: which classes does the background give away?

For each class two shares are compared, of the pictures whose objects are known. Among those that the model gives the
class to, how many does it still give it to when the object is hidden? And among all others? The model recognizes the
class at least partly by its background if the first share is greater by more than `MARGIN`, with the whole 95% interval
of the difference. A class that fewer than `LEAST` pictures are given is left open.

No label is asked for, so the rule also holds where backgrounds do not go with the classes, as in a test split that
mixes them: there the background alone is right no more often than a guess, whatever the model looks at.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

MARGIN = 0.10
LEAST = 10  # pictures
NAMED = 8  # classes that a sentence names
RULE = (
    "A model counts as recognizing a class at least partly by its background if, when the object is hidden, it still "
    "answers with the class more often among the pictures that it gives the class than among the others: by more than "
    f"{100 * MARGIN:.0f} points, with the whole 95% interval of the difference. Classes that fewer than {LEAST} "
    "pictures are given are left open."
)


def backgrounds(columns: Mapping, class_names: Sequence[str]) -> dict | None:
    """How a model's answers hold with the object hidden.

    Args:
        columns: a `Measurement`'s; `background_only_predicted` is -1 where an image has no box.
        class_names: the names of the classes.

    Returns:
        None where no object is known; else a dict: `examples`, the images; `same`, the share of them whose answer
        stays, and `same_by_chance`, the share that two independent answers would have; `mistakes`, how many, and
        `same_mistakes`, how many of them stay; and `classes`, {name: dict of `given`, `still_given`, `others`,
        `others_given`, counts of images; `difference` and its `interval`; and `by_background`, whether the rule holds,
        None where that is left open}.
    """
    hidden = np.asarray(columns.get("background_only_predicted", -1))
    if np.all(hidden < 0):
        return None
    known = hidden >= 0
    label, whole, hidden = columns["label"][known], columns["predicted"][known], hidden[known]
    shares = [np.bincount(answers, minlength=len(class_names)) / len(whole) for answers in (whole, hidden)]
    return {
        "examples": len(whole),
        "same": float(np.mean(whole == hidden)),
        "same_by_chance": float(np.dot(*shares)),
        "mistakes": int(np.sum(whole != label)),
        "same_mistakes": int(np.sum((whole != label) & (whole == hidden))),
        "classes": {name: _class(whole == place, hidden == place) for place, name in enumerate(class_names)},
    }


def _class(whole, hidden):
    counts = [int(np.sum(chosen)) for chosen in (whole & hidden, whole, ~whole & hidden, ~whole)]
    found = dict(zip(("still_given", "given", "others_given", "others"), counts, strict=True))
    if min(found["given"], found["others"]) < LEAST:
        return {**found, "difference": None, "interval": None, "by_background": None}
    difference, interval = difference_of_shares(*counts)
    return {**found, "difference": difference, "interval": interval, "by_background": interval[0] > MARGIN}


def difference_of_shares(first: int, of_first: int, second: int, of_second: int) -> tuple[float, list[float]]:
    """first / of_first - second / of_second, and its 95% interval (Newcombe, 1998, method 10, of Wilson's intervals).

    >>> difference, (low, high) = difference_of_shares(56, 70, 48, 80)
    >>> print(f"{difference:.2f} [{low:.4f}, {high:.4f}]")
    0.20 [0.0524, 0.3339]
    """
    a, b = first / of_first, second / of_second
    low_a, high_a = stats.binomtest(first, of_first).proportion_ci(method="wilson")
    low_b, high_b = stats.binomtest(second, of_second).proportion_ci(method="wilson")
    below, above = np.hypot(a - low_a, high_b - b), np.hypot(high_a - a, b - low_b)
    return a - b, [float(a - b - below), float(a - b + above)]


def headline(name: str, found: Mapping | None) -> str:
    """The verdict on a model of that name, one sentence; `found` is what `backgrounds` gives."""
    if found is None:
        return f"{name}: whether it looks at objects or at backgrounds is not known, for no picture has a box."
    classes = found["classes"]
    decided = {key: one["by_background"] for key, one in classes.items() if one["by_background"] is not None}
    by_background = [key for key, holds in decided.items() if holds]
    count, of = len(by_background), f"of {len(decided)} classes"
    if not decided:
        return f"{name}: {found['examples']} pictures are too few to say which classes it recognizes by the background."
    left = len(classes) - len(decided)
    rest = f" ({left} more {'is' if left == 1 else 'are'} given too few pictures to say.)" if left else ""
    if not by_background:
        return f"{name} recognizes none {of} by its background, as far as {found['examples']} pictures can show.{rest}"
    named = ", ".join(key.replace("_", " ") for key in by_background[:NAMED])
    more = f" and {count - NAMED} more" if count > NAMED else ""
    its = "its" if count == 1 else "their"
    return f"{name} recognizes {count} {of} at least partly by {its} background: {named}{more}.{rest}"


def evidence(report: Mapping) -> list[str]:
    """What a verdict rests on, sentences with their numbers; `report` is what evaluation.json says of a model."""
    found, lines = report["background"], []
    if found:
        lines.append(
            f"With the object hidden, {found['same']:.1%} of the {found['examples']} pictures get the same answer as "
            f"whole; unrelated answers would agree in {found['same_by_chance']:.1%}."
        )
        if found["mistakes"]:
            lines.append(
                f"Of its {found['mistakes']} mistakes, the background alone brings about the same one in "
                f"{found['same_mistakes']}."
            )
        lines.append(_accuracies(report))
    share, uniform = report["content_heatmap"], report["content_heatmap_of_uniform"]
    if share is not None:
        lines.append(
            f"On average {share:.1%} of its heatmap lies on the object (CH), {share / uniform:.1f} times as much as "
            f"of a uniform heatmap ({uniform:.1%})."
        )
    sure = report["calibration"]
    lines.append(
        f"It is {sure['confidence']:.1%} sure on average, and right in {report['top1']:.1%}; confidence by confidence "
        f"the two are {sure['ece']:.1%} apart (ECE)."
    )
    return lines


def _accuracies(report):
    guess = 1 / report["classes"]
    alone = report["statistics"]["background_only_top1"]
    line = (
        f"It is right in {report['top1']:.1%} of the whole pictures, {report['object_only_top1']:.1%} of the objects "
        f"alone and {alone['mean']:.1%} of the backgrounds alone; a guess among {report['classes']} classes would be "
        f"in {guess:.1%}."
    )
    low, high = alone["interval"]
    if low <= guess and high <= guess + MARGIN:
        line += " So the background alone is worth no more than a guess here."
    return line
