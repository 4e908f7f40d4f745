"""Trains several configurations under several seeds, evaluates them, and prints them as a table."""

import dataclasses
import json
import pathlib
import subprocess
import sys

import numpy as np
from absl import flags

from cgc_tf import evaluation


def define_flags(output):
    """The flags of every comparison; `output` is the default folder."""
    flags.DEFINE_integer("seeds", 3, "How many seeds, from 0.", lower_bound=1)
    flags.DEFINE_string("output", output, "Folder of the runs.")


def compare(configs):
    """Trains each of {name: Config} with each seed, and prints mean and standard deviation over the seeds in percent.

    Each run is a process of its own, so that it is the run `train.py` would make; a run that is already there is kept.
    Writes summary.json and one figure for each seed into the folder of the runs.
    """
    output, seeds = pathlib.Path(flags.FLAGS.output), range(flags.FLAGS.seeds)
    for seed in seeds:
        for name, config in configs.items():
            arguments = dataclasses.replace(config, seed=seed).to_flags()
            command = [sys.executable, "train.py", *arguments, f"--workdir={output / f'{name}-{seed}'}"]
            subprocess.run(command, check=True)
    reports = {}
    for seed in seeds:
        found, figure = evaluation.evaluate_runs([output / f"{name}-{seed}" for name in configs])
        reports |= {(name, seed): report for name, report in zip(configs, found, strict=True)}
        figure.rename(output / f"comparison-{seed}.png")
    print(_table(reports, list(configs), seeds))
    summary = {f"{name}-{seed}": report for (name, seed), report in reports.items()}
    (output / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    print(f"summary: {output}/summary.json\nfigures: {output}/comparison-*.png")


def _table(reports, names, seeds):
    columns = evaluation.COLUMNS
    lines = ["| run | " + " | ".join(columns.values()) + " |", "| --- |" + " --- |" * len(columns)]
    for name in names:
        cells = []
        for key in columns:
            values = [100 * reports[name, seed][key] for seed in seeds]
            spread = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.1f}{spread}")
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    uniform = reports[names[0], 0]["content_heatmap_of_uniform"]
    return "\n".join([*lines, f"A uniform heatmap scores CH {100 * uniform:.1f}."])
