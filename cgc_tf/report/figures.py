"""Figures of explanations: grids that set several models side by side, curves, histograms and trade-offs.

Each is a PNG of the path that is given, and a PDF of the same name beside it.
"""

import math
import pathlib
import re
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from cgc_tf.common import lettering
from cgc_tf.common.files import PathLike
from cgc_tf.method.overlay import WHOLE, overlay, show
from cgc_tf.report.results import METRICS
from cgc_tf.report.tables import ARROWS

CELL = 1.9  # inches
CURVES = {  # the title of each, and of its axis
    "insertion": ("insertion", "pixels inserted, %"),
    "deletion": ("deletion", "pixels deleted, %"),
    "road_most_first": ("ROAD, most relevant first", "pixels imputed, %"),
    "road_least_first": ("ROAD, least relevant first", "pixels imputed, %"),
}


def explanations(path: PathLike, images: Sequence[Mapping], rows: Mapping[str, Sequence]) -> None:
    """Draws images with their boxes on top and, below them, one row of overlays for each model, as the paper does.

    Args:
        path: the PNG to write.
        images: a list of dicts: `image` uint8 `[H, W, 3]`, `boxes` `[n, 4]`, `title`.
        rows: {name of the model: a list, parallel to `images`, of dicts: `heatmap` `[h, w]`, `caption` and perhaps
            `box`, as `overlay` takes it; or None for an empty place}.
    """
    captions = [answer["caption"] for explained in rows.values() for answer in explained if answer]
    with lettering.styled([*rows, *captions, *(example["title"] for example in images)]):
        figure = Figure(figsize=(CELL * len(images), CELL * 1.2 * (1 + len(rows))))
        axes = figure.subplots(1 + len(rows), len(images), squeeze=False)
        for axis in axes.flat:
            axis.set_xticks([])
            axis.set_yticks([])
            axis.spines[:].set_visible(False)
        for column, example in enumerate(images):
            show(axes[0, column], example["image"], example["boxes"])
            axes[0, column].set_title(_by_picture(example["title"]), fontsize=7)
        axes[0, 0].set_ylabel("image", fontsize=9)
        for row, (name, explained) in enumerate(rows.items(), 1):
            axes[row, 0].set_ylabel(lettering.fitted(name, 0.9 * CELL, 9), fontsize=9)
            for axis, example, answer in zip(axes[row], images, explained, strict=True):
                if answer is None:
                    continue
                show(axis, overlay(example["image"], answer["heatmap"], answer.get("box", WHOLE)), example["boxes"])
                axis.set_xlabel(_by_picture(answer["caption"]), fontsize=7, labelpad=2)
        _save(figure, path)


def _by_picture(text):
    return lettering.fitted(text, 0.88 * CELL, 7, lines=3)


def curves(path: PathLike, reports: Mapping[str, Mapping]) -> None:
    """Draws curves of the class's probability, the mean over images with a band of two standard errors.

    `reports` are {name: a report's `curves`}, of the same kinds, one or more of `CURVES`.
    """
    kinds = list(next(iter(reports.values())))
    rows, columns = math.ceil(len(kinds) / 2), min(len(kinds), 2)
    with lettering.styled(reports):
        figure = Figure(figsize=(0.6 + 3.3 * columns, (3.2 + 0.17 * len(reports)) * rows))  # the legends are below
        axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for axis, kind in zip(axes.flat, kinds, strict=True):
            is_area = kind in ("insertion", "deletion")
            for color, (name, found) in zip(_colors(reports), reports.items(), strict=True):
                share, mean, error = (np.array(found[kind][key]) for key in ("share", "mean", "standard_error"))
                score = np.trapezoid(mean, share) if is_area else np.mean(mean)
                axis.plot(100 * share, mean, label=f"{_in_legend(name)}, {100 * score:.1f}", color=color)
                axis.fill_between(100 * share, mean - 2 * error, mean + 2 * error, alpha=0.2, linewidth=0, color=color)
            title, below = CURVES[kind]
            axis.set_title(title, fontsize=9)
            axis.set_xlabel(below, fontsize=8)
            axis.tick_params(labelsize=7)
            axis.set_ylim(0, 1)
            axis.set_xlim(0, 100)
            _legend_below(axis, title="area, %" if is_area else "mean, %")
        for axis in axes[:, 0]:
            axis.set_ylabel("probability of the class", fontsize=8)
        _save(figure, path)


def histogram(path: PathLike, shares: Mapping[str, ArrayLike]) -> None:
    """Draws how Content Heatmap is distributed over images; `shares` are {name: float `[N]`}, NaN does not count."""
    with lettering.styled(shares):
        figure = Figure(figsize=(4.6, 3.0 + 0.17 * len(shares)))
        axis = figure.subplots()
        for color, (name, values) in zip(_colors(shares), shares.items(), strict=True):
            known = 100 * np.asarray(values)[~np.isnan(values)]
            axis.hist(known, range(0, 101, 5), histtype="step", linewidth=1.4, label=_in_legend(name), color=color)
            axis.axvline(float(np.mean(known)) if len(known) else 0, linestyle=":", linewidth=1, color=color)
        axis.set_xlabel("Content Heatmap, %; dotted: the mean", fontsize=8)
        axis.set_ylabel("images", fontsize=8)
        axis.yaxis.set_major_locator(MaxNLocator(integer=True))
        axis.tick_params(labelsize=7)
        _legend_below(axis)
        _save(figure, path)


def reliability(path: PathLike, found: Mapping[str, Mapping]) -> None:
    """Draws accuracy over confidence; `found` are {name: what `calibration` gives}. Dots grow with their bins."""
    with lettering.styled(found):
        figure = Figure(figsize=(4.6, 4.0 + 0.17 * len(found)))
        axis = figure.subplots()
        axis.plot([0, 100], [0, 100], linestyle=":", linewidth=1, color="gray")
        for color, (name, its) in zip(_colors(found), found.items(), strict=True):
            keys = "confidence", "accuracy", "examples"
            sure, right, count = np.array([[one[key] for one in its["bins"]] for key in keys])
            axis.plot(100 * sure, 100 * right, label=f"{_in_legend(name)}, {100 * its['ece']:.1f}", color=color)
            axis.scatter(100 * sure, 100 * right, 4 + 60 * count / count.max(), color=[color])
        axis.set_xlabel("confidence, %; dotted: as often right as sure", fontsize=8)
        axis.set_ylabel("right, %", fontsize=8)
        axis.tick_params(labelsize=7)
        _legend_below(axis, title="ECE, %")
        _save(figure, path)


def tradeoff(path: PathLike, groups: Mapping[str, Mapping[str, Mapping]], over: str, titles: Mapping[str, str]) -> None:
    """Draws metrics over another one, a point for each group of runs with its standard deviations.

    Where the groups are numbers, as those of lambda, the points are joined in their order.

    Args:
        path: the PNG to write.
        groups: {name: {metric: what `groups.pooled` gives}}.
        over: the metric of the horizontal axis.
        titles: {metric: its title}, of each that is drawn, `over` among them.
    """
    drawn = [metric for metric in titles if metric != over]
    with lettering.styled(groups):
        figure = Figure(figsize=(0.6 + 3.3 * len(drawn), 3.2 + 0.17 * len(groups)))
        for axis, metric in zip(figure.subplots(1, len(drawn), squeeze=False)[0], drawn, strict=True):
            scales = {key: METRICS[key].scale for key in (over, metric)}
            means = [[scale * its[key]["mean"] for key, scale in scales.items()] for its in groups.values()]
            if all(re.fullmatch(r"[\d.e-]+", name) for name in groups):
                axis.plot(*np.transpose(means), linewidth=1, color="lightgray", zorder=0)
            for color, (name, its), (x, y) in zip(_colors(groups), groups.items(), means, strict=True):
                across, up = (scale * (its[key]["deviation"] or 0) for key, scale in scales.items())
                label = f"{_in_legend(name)}: {y:.1f}"
                axis.errorbar(x, y, up, across, fmt="o", markersize=5, linewidth=1, label=label, color=color)
            across, up = (_with_unit(key, titles[key]) for key in scales)
            axis.set_xlabel(across, fontsize=8)
            axis.set_ylabel(up, fontsize=8)
            axis.tick_params(labelsize=7)
            _legend_below(axis, title=up)
        _save(figure, path)


def _with_unit(metric, title):
    """A metric's title with its unit, and an arrow to what is better."""
    unit = ", %" if METRICS[metric].scale == 100 else ""
    return f"{title}{unit} {ARROWS[METRICS[metric].better]}".strip()


def _in_legend(name):
    return lettering.fitted(name, 2.2, 7)


def _legend_below(axis, title=None):
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.17), "frameon": False}
    axis.legend(fontsize=7, title=title, title_fontsize=7, **below)


def _colors(items):
    return matplotlib.colormaps["tab10"](np.arange(len(items)) % 10)


def _save(figure, path):
    figure.savefig(path)
    figure.savefig(pathlib.Path(path).with_suffix(".pdf"))
