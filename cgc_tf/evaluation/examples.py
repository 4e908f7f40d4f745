"""Which examples to show, and how each model explains them."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from cgc_tf.common import graphs, settings
from cgc_tf.common.errors import UserError
from cgc_tf.common.settings import setting
from cgc_tf.data import batches, views
from cgc_tf.data.source import Source
from cgc_tf.evaluation.evaluated_models import EvaluatedModel
from cgc_tf.method import geometry, resizing
from cgc_tf.method.overlay import WHOLE

BY_CONTENT_HEATMAP = ("best", "worst", "median", "quantiles")
CHOICES = ("spread", "random", *BY_CONTENT_HEATMAP)


@dataclasses.dataclass(frozen=True)
class Drawing:
    """What to draw: images in the figure, chosen as `choose` says, and on the page; each is a flag of evaluate.py."""

    examples: int = setting(6, "How many images to draw, at most.", least=1, most=100, section="Drawing")
    show: str = setting(
        "spread", "Which images to draw; best and worst by CH, or by the last run's gain in it.", choices=CHOICES
    )
    show_ids: tuple[str, ...] = setting((), "Ids of the images to draw, as per_image.csv names them.", items=str)
    gallery: int = setting(
        24, "How many images the HTML report's gallery shows, at most; and as many mistakes before it.", least=1
    )

    def __post_init__(self):
        settings.check_bounds(self)

    def check(self, source: Source) -> None:
        """Raises `UserError` where images are to be chosen by what is not known of a source's."""
        if self.show in BY_CONTENT_HEATMAP and not source.has_boxes:
            raise UserError(
                f"--show={self.show} is not used: {source.name} has no boxes, so there is no CH to choose by"
            )


def check_ids(source: Source, split: str, limit: int | None, ids: Sequence[str]) -> None:
    """Raises `UserError` for an id that none of the examples to be measured has; of those nothing else is decoded."""
    places = tf.data.Dataset.from_tensor_slices(batches.spread(source.sizes[split], limit))

    def identity(index):
        return source.decode(split, index)["id"]

    known = [found.decode() for found in graphs.parallel(places, identity).as_numpy_iterator()]
    if unknown := [identity for identity in ids if identity not in known]:
        raise UserError(f"--show_ids: no example {unknown[0]} is measured; ids are such as {known[0]}")


def choose(how: str, count: int, all_columns: Sequence[Mapping], ids: Sequence[str] = (), seed: int = 0) -> list[int]:
    """Picks examples by how they were measured.

    Args:
        how: one of `CHOICES`: evenly spread over the split, at random, or by CH (of several models by the last
            one's CH less the first one's): the best, the worst, those around the median, or evenly from worst to best.
        count: how many, at most.
        all_columns: the `columns` of each model's `Measurement`, on the same examples.
        ids: the examples' ids, which then decide alone.
        seed: of `random`.

    Returns:
        A list of indices into the split. Where no CH is known, CH chooses as `spread` does.
    """
    first = all_columns[0]
    if ids:
        place = dict(zip(first["id"], first["index"], strict=True))
        return [int(place[identity]) for identity in ids]
    index = np.sort(first["index"])
    count = min(count, len(index))
    if how == "random":
        return [int(i) for i in np.random.default_rng(seed).choice(index, count, replace=False)]
    gains = gain(all_columns)
    ranked = sorted((i for i in gains if not np.isnan(gains[i])), key=lambda i: gains[i])
    if how == "spread" or not ranked:
        return [int(i) for i in index[np.arange(count) * len(index) // count]]
    count = min(count, len(ranked))
    if how == "quantiles":
        return [ranked[round(i)] for i in np.linspace(0, len(ranked) - 1, count)]
    begin = {"worst": 0, "median": (len(ranked) - count) // 2, "best": len(ranked) - count}[how]
    chosen = ranked[begin : begin + count]
    return chosen[::-1] if how == "best" else chosen


def mistakes(count: int, all_columns: Sequence[Mapping]) -> list[int]:
    """The places of at most `count` examples that any model gets wrong, of each (label, answer) the surest mistake."""
    wrong = []
    for columns in all_columns:
        for row in np.flatnonzero(columns["label"] != columns["predicted"]):
            kind = int(columns["label"][row]), int(columns["predicted"][row])
            wrong.append((-float(columns["probability_of_predicted"][row]), int(columns["index"][row]), kind))
    surest = {}
    for _, index, kind in sorted(wrong):
        surest.setdefault(kind, index)
    return list(dict.fromkeys(surest.values()))[:count]


def gain(all_columns: Sequence[Mapping]) -> dict[int, float]:
    """{index: CH of the last model less CH of the first, or the one model's CH}; NaN where it is not known."""
    first, last = _shares(all_columns[0]), _shares(all_columns[-1])
    if len(all_columns) == 1:
        return first
    return {index: share - first[index] for index, share in last.items()}


def _shares(columns):
    known = columns.get("content_heatmap", np.full(len(columns["index"]), np.nan))
    return {int(index): float(share) for index, share in zip(columns["index"], known, strict=True)}


def examples(source: Source, split: str, indices: Sequence[int]) -> list[dict]:
    """Decoded examples to draw: dicts of `index`, `image`, `boxes`, `label`, `id` and `title`, the class's name."""
    found = source.examples(split, indices)
    return [
        {**example, "index": index, "title": readable(source.class_names[example["label"]])}
        for index, example in zip(indices, found, strict=True)
    ]


def explain(model: EvaluatedModel, columns: Mapping, shown: Sequence[Mapping], ch_resize: int = 0) -> list[dict]:
    """How a model explains the examples, a list parallel to `shown`.

    Returns:
        Dicts: `heatmap` `[h, w]`, of the labeled class where the model can be asked for one, else of the predicted
        class; `box`, the part of the image that it covers; `label` and `predicted`, names of classes;
        `content_heatmap`, a float or NaN; `caption`, whose heatmap it is, or that the two are the same, the
        prediction's probability, and CH in percent; and `mistake`, the same of the predicted class, without CH, where
        that is another one; else None.
    """
    rows, shares = {int(index): row for row, index in enumerate(columns["index"])}, _shares(columns)
    answers = []
    for one in shown:
        row, share = rows[one["index"]], shares[one["index"]]
        predicted, sure = int(columns["predicted"][row]), float(columns["probability_of_predicted"][row])
        answers.append(_answer(model, one, predicted, sure, share, ch_resize))
    return answers


def _answer(model, example, predicted, sure, share, ch_resize):
    view, box = _view(model, example["image"], ch_resize)
    label, mistake = int(example["label"]), None
    says = f"says {readable(model.class_names[predicted])}, {100 * sure:.0f}% sure"
    if predicted == label:
        caption = f"right, {100 * sure:.0f}% sure"
    elif model.takes_any_class:
        caption = f"label {readable(model.class_names[label])}"
        mistake = {"heatmap": _heatmap(model, view, predicted), "box": box, "caption": says}
    else:
        caption = says
    if not np.isnan(share):
        caption += f", CH {100 * share:.0f}"
    heatmap = _heatmap(model, view, label)
    names = {"label": model.class_names[label], "predicted": model.class_names[predicted]}
    found = {"heatmap": heatmap, "box": box, "content_heatmap": share, "caption": caption, "mistake": mistake}
    return names | found


def _heatmap(model, view, class_id):
    return model.explain(view[None], tf.constant([class_id]))[0].numpy()


def _view(model, image, ch_resize):
    """What the model is shown of an image: all of it if it can be, else the center; and the box that this is."""
    if model.takes_any_size:
        side = ch_resize or 2 * model.image_size
        height, width = image.shape[:2]
        return resizing.resize_image(image, geometry.whole_view(height, width, side)), WHOLE
    view, box = views.original_view(image, model.image_size)
    return view, tuple(box.numpy())


def rows_of_figure(answers: Mapping[str, Sequence[Mapping]]) -> dict[str, list]:
    """The rows of a figure, {name: a list of answers}: a model's, and below them the mistakes that it makes, if any.

    Args:
        answers: {model's name: what `explain` gives}.
    """
    rows = {}
    for name, each in answers.items():
        rows[name] = each
        if any(answer["mistake"] for answer in each):
            rows[f"{name}, its mistakes"] = [answer["mistake"] for answer in each]
    return rows


def readable(name: str) -> str:
    """A class's name without underscores."""
    return name.replace("_", " ")
