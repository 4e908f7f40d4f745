"""What the runs on photographs came to, from docs/research.csv: tables over seeds, and the documentation's figures.

  python -m benchmarks.research

Prints the test splits of birds, butterflies and animals as Markdown, of recipes with two seeds or more: means and
standard deviations over seeds, and differences, paired by seed, with Student's 95% intervals. Draws the birds' over
top-1 (tradeoff.png), and what was searched on their validation part, over the rank (recipes.png).
"""

import collections
import csv
import itertools
import pathlib

import cgc_tf.common.quiet_tensorflow  # noqa: F401  # isort: skip
import numpy as np
from absl import flags
from scipy import stats

from cgc_tf.common import files, program
from cgc_tf.report import figures, tables
from cgc_tf.report.results import METRICS

RESULTS = pathlib.Path(__file__).parents[1] / "docs/research.csv"
MEASURED = [name for name in METRICS if name in RESULTS.read_text().partition("\n")[0].split(",")]
TITLES = {name: METRICS[name].title for name in MEASURED}
SCALES = np.array([METRICS[name].scale for name in MEASURED])
# Which runs on a test split count. A seed gives the same bits on one processor alone, and some were run on several.
TESTED = {
    "birds27": {"processor": "Intel Xeon 2.80GHz"},
    "leeds_butterfly": {"processor": "Intel Xeon 2.80GHz"},
    "tiny_animals30": {},
}


def main(_):
    folder = pathlib.Path(flags.FLAGS.output or RESULTS.parent)
    tested = {data: results(data=data, split="test", **which) for data, which in TESTED.items()}
    for data, found in tested.items():
        found = {name: runs for name, runs in found.items() if len(runs) > 1}  # of one there is no deviation
        print(f"{data}:\n\n{tables.markdown(*means(found))}\n{tables.markdown(*differences(found))}")
    trained = {name: runs for name, runs in tested["birds27"].items() if "power" not in name}
    searched = results(data="birds27", split="validation", heatmap_power="1.0")
    with files.reported(folder):
        folder.mkdir(parents=True, exist_ok=True)
        draw(folder / "tradeoff.png", trained, "top1", "content_heatmap", "pixel_ap", "retrieval_rank")
        draw(folder / "recipes.png", searched, "retrieval_rank", "pixel_ap", "entropy")


def results(**same):
    """{recipe: {(seed, processor): `[MEASURED]`}} of the rows with these values; NaN is what was not measured."""
    found = collections.defaultdict(dict)
    with RESULTS.open(newline="") as stream:
        for row in csv.DictReader(stream):
            if all(row[name] == value for name, value in same.items()):
                values = np.array([float(row[name] or "nan") for name in MEASURED])
                found[recipe(row)][row["seed"], row["processor"]] = values
    return found


def recipe(row):
    """What a row's run was trained by, and to which power its heatmaps were raised, in words."""
    words = [row["objective"]]
    if row["similarity"] == "correlation":
        words.append("correlation")
    if row["lambda_cgc"] not in ("", "0.5"):
        words.append(f"lambda {float(row['lambda_cgc']):g}")
    if row["lambda_warmup_steps"] not in ("", "0"):
        words.append("rising")
    if row["heatmap_power"] != "1.0":
        words.append(f"power {row['heatmap_power']}")
    return ", ".join(words)


def means(found):
    """Mean ± standard deviation over seeds, `(head, rows)`."""
    rows = []
    for name, runs in found.items():
        values = SCALES * np.array(list(runs.values()))
        both = zip(values.mean(0), values.std(0, ddof=1), strict=True)
        rows.append([name, str(len(runs)), *("" if np.isnan(mean) else f"{mean:.1f} ± {sd:.1f}" for mean, sd in both)])
    return ["recipe", "seeds", *TITLES.values()], rows


def differences(found):
    """Of each pair of recipes, the second less the first, over the seeds of both, `(head, rows)`."""
    rows = []
    for (first, its), (second, others) in itertools.combinations(found.items(), 2):
        change = SCALES * np.array([others[seed] - its[seed] for seed in its if seed in others])
        half = stats.t.ppf(0.975, len(change) - 1) * stats.sem(change)
        each = zip(change.mean(0), half, strict=True)
        cells = ("" if np.isnan(mean) else f"{mean:+.1f} [{mean - h:+.1f}, {mean + h:+.1f}]" for mean, h in each)
        rows.append([f"{second} - {first}", *cells])
    return ["difference", *TITLES.values()], rows


def draw(path, found, *metrics):
    """Draws metrics over the first of them, of the recipes that have all."""
    points = {}
    for name, runs in found.items():
        values = {metric: [run[MEASURED.index(metric)] for run in runs.values()] for metric in metrics}
        if not np.isnan([*values.values()]).any():
            points[name] = {
                metric: {"mean": np.mean(of), "deviation": np.std(of, ddof=1) if len(of) > 1 else None}
                for metric, of in values.items()
            }
    figures.tradeoff(path, points, metrics[0], {metric: TITLES[metric] for metric in metrics})
    path.with_suffix(".pdf").unlink()
    print(f"figure: {path}")


def define_flags():
    """Defines the flags: where the figures go."""
    flags.DEFINE_string("output", None, "Folder to write the figures to (default: the project's docs).")


if __name__ == "__main__":
    program.run(main)
