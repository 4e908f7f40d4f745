"""Which examples to show, and how each subject explains them."""

import numpy as np
import tensorflow as tf

from cgc_tf.common.errors import UserError
from cgc_tf.data import batches, views
from cgc_tf.method import geometry

BY_CONTENT_HEATMAP = ("best", "worst", "median", "quantiles")
CHOICES = ("spread", "random", *BY_CONTENT_HEATMAP)


def check_ids(source, split, limit, ids):
    """Raises `UserError` for an id that none of the examples to be measured has; of those nothing else is decoded."""
    places = tf.data.Dataset.from_tensor_slices(batches.spread(source.sizes[split], limit))
    found = places.map(lambda index: source.decode(split, index)["id"], batches.PARALLEL).as_numpy_iterator()
    known = [identity.decode() for identity in found]
    if unknown := [identity for identity in ids if identity not in known]:
        raise UserError(f"--show_ids: no example {unknown[0]} is measured; ids are such as {known[0]}")


def choose(how, count, all_columns, ids=(), seed=0):
    """Picks examples by how they were measured.

    Args:
        how: one of `CHOICES`: evenly spread over the split, at random, or by CH (of several subjects by the last
            one's CH less the first one's): the best, the worst, those around the median, or evenly from worst to best.
        count: how many, at most.
        all_columns: the `columns` of each subject's `Measurement`, on the same examples.
        ids: the examples' ids, which then decide alone.
        seed: of `random`.

    Returns:
        A list of indices into the split. Where no CH is known, CH chooses as `spread` does.
    """
    first = all_columns[0]
    if ids:
        place = {identity: index for identity, index in zip(first["id"], first["index"], strict=True)}
        return [int(place[identity]) for identity in ids]
    index = np.sort(first["index"])
    count = min(count, len(index))
    if how == "random":
        return [int(i) for i in np.random.default_rng(seed).choice(index, count, replace=False)]
    gains = gain(all_columns)
    ranked = sorted((i for i in gains if not np.isnan(gains[i])), key=gains.get)
    if how == "spread" or not ranked:
        return [int(i) for i in index[np.arange(count) * len(index) // count]]
    count = min(count, len(ranked))
    middle = (len(ranked) - count) // 2
    return {
        "best": ranked[::-1][:count],
        "worst": ranked[:count],
        "median": ranked[middle : middle + count],
        "quantiles": [ranked[round(i)] for i in np.linspace(0, len(ranked) - 1, count)],
    }[how]


def gain(all_columns):
    """{index: CH of the last subject less CH of the first, or the one subject's CH}; NaN where it is not known."""
    shares = []
    for columns in (all_columns[0], all_columns[-1])[: len(all_columns)]:
        known = columns.get("content_heatmap", np.full(len(columns["index"]), np.nan))
        shares.append({int(index): float(share) for index, share in zip(columns["index"], known, strict=True)})
    if len(shares) == 1:
        return shares[0]
    return {index: share - shares[0][index] for index, share in shares[1].items()}


def examples(source, split, indices):
    """Decoded examples to draw: dicts of `index`, `image`, `boxes`, `label`, `id` and `title`, the class's name."""
    found = source.examples(split, indices)
    return [
        {**example, "index": index, "title": readable(source.class_names[example["label"]])}
        for index, example in zip(indices, found, strict=True)
    ]


def explain(subject, columns, shown, ch_resize=0):
    """How a subject explains the examples, a list parallel to `shown`.

    Returns:
        Dicts: `heatmap` `[h, w]`, of the labeled class where the subject can be asked for one, else of the predicted
        class; `box`, the part of the image that it covers; `content_heatmap`, a float or NaN; `caption`, whose heatmap
        it is, or that the two are the same, and CH in percent; and `mistake`, the same of the predicted class, without
        CH, where that is another one; else None.
    """
    rows = {int(index): row for row, index in enumerate(columns["index"])}
    answers = []
    for example in shown:
        row, image, box = rows[example["index"]], example["image"], (0.0, 0.0, 1.0, 1.0)
        if subject.takes_any_size:
            side = ch_resize or 2 * subject.image_size
            view = geometry.resize_image(image, geometry.whole_view(*image.shape[:2], side))
        else:
            view, box = _center(image, subject.image_size)
        label, predicted, mistake = int(example["label"]), int(columns["predicted"][row]), None
        heatmap = subject.explain(view[None], tf.constant([label]))[0].numpy()
        says = f"says {readable(subject.class_names[predicted])}"
        if predicted == label:
            caption = "right"
        elif subject.takes_any_class:
            caption = f"label {readable(subject.class_names[label])}"
            of_predicted = subject.explain(view[None], tf.constant([predicted]))[0].numpy()
            mistake = {"heatmap": of_predicted, "box": box, "caption": says}
        else:
            caption = says
        share = float(columns["content_heatmap"][row]) if "content_heatmap" in columns else float("nan")
        if not np.isnan(share):
            caption += f", CH {100 * share:.0f}"
        answer = {"heatmap": heatmap, "box": box, "content_heatmap": share, "caption": caption, "mistake": mistake}
        answers.append(answer)
    return answers


def rows_of_figure(answers):
    """The rows of a figure, {name: a list of answers}: a subject's, and below them the mistakes that it makes, if any.

    Args:
        answers: {subject's name: what `explain` gives}.
    """
    rows = {}
    for name, each in answers.items():
        rows[name] = each
        if any(answer["mistake"] for answer in each):
            rows[f"{name}, its mistakes"] = [answer["mistake"] for answer in each]
    return rows


def readable(name):
    """A class's name without underscores."""
    return name.replace("_", " ")


def _center(image, size):
    view, box = views.original_view(image, size)
    return view, tuple(box.numpy())
