"""Trains the three objectives under one configuration and several seeds, and tabulates what they are worth.

  python -m benchmarks.objectives --flagfile=configs/demo.flags --seeds=3 --output=runs/objectives

Each run is a process of its own, so that it is the run `train.py` would make; runs that are already there are kept.
Prints mean and standard deviation over the seeds in percent, as Markdown, and draws the first seed's runs side by side.
"""

import dataclasses
import json
import pathlib
import subprocess
import sys

import cgc_tf.quiet  # noqa: F401  # isort: skip
import numpy as np
from absl import flags

from cgc_tf import config as settings
from cgc_tf import errors, evaluation
from cgc_tf.objective import OBJECTIVES

ORDER = ("baseline", "cgc", "cgc_no_negatives")


def main(_):
    base, output = settings.from_flags(), pathlib.Path(flags.FLAGS.output)
    workdirs = {}
    for seed in range(flags.FLAGS.seeds):
        for objective in ORDER:
            workdir = output / f"{objective}-{seed}"
            config = dataclasses.replace(base, objective=objective, seed=seed)
            subprocess.run([sys.executable, "train.py", *config.to_flags(), f"--workdir={workdir}"], check=True)
            workdirs[objective, seed] = workdir
    reports = {}
    for seed in range(flags.FLAGS.seeds):
        group = [workdirs[objective, seed] for objective in ORDER]
        scores, figure = evaluation.evaluate_runs(group)
        reports.update({(report["config"]["objective"], seed): report for report in scores})
        figure.rename(output / f"comparison-{seed}.png")
    print(_table(reports, flags.FLAGS.seeds))
    summary = {f"{objective}-{seed}": report for (objective, seed), report in reports.items()}
    (output / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    print(f"summary: {output}/summary.json\nfigures: {output}/comparison-*.png")


def _table(reports, seeds):
    columns = evaluation.COLUMNS
    lines = ["| objective | " + " | ".join(columns.values()) + " |", "| --- |" + " --- |" * len(columns)]
    for objective in ORDER:
        cells = []
        for key in columns:
            values = [100 * reports[objective, seed][key] for seed in range(seeds)]
            spread = f" ± {np.std(values, ddof=1):.1f}" if seeds > 1 else ""
            cells.append(f"{np.mean(values):.1f}{spread}")
        lines.append(f"| `{objective}` | " + " | ".join(cells) + " |")
    uniform = reports[ORDER[0], 0]["content_heatmap_of_uniform"]
    return "\n".join([*lines, f"A uniform heatmap scores CH {100 * uniform:.1f}."])


if __name__ == "__main__":
    assert set(ORDER) == set(OBJECTIVES)
    settings.define_flags()
    flags.DEFINE_integer("seeds", 3, "How many seeds, from 0.", lower_bound=1)
    flags.DEFINE_string("output", "runs/objectives", "Folder of the runs.")
    errors.run(main)
