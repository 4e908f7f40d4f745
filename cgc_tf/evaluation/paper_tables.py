"""The paper's tables: trains what is missing under each seed, evaluates it, and sets the published figures beside."""

import json
import pathlib
import subprocess
import sys
import tomllib

import numpy as np

from cgc_tf.common.errors import UserError
from cgc_tf.evaluation import evaluate
from cgc_tf.report import tables
from cgc_tf.report.results import COLUMNS

FOLDER = pathlib.Path(__file__).parent.parent / "configs" / "tables"
TRAIN = pathlib.Path(__file__).parent.parent / "train.py"


def make(name, dataset="", data_dir="", seeds=0, flags=(), output=None):
    """Makes one of the tables of `configs/tables/`.

    Args:
        name: a file's name there, without its ending.
        dataset: one of those that the table has; "" for its first, the paper's.
        data_dir: as for train.py.
        seeds: how many seeds, from 0; 0 for the table's own number.
        flags: further arguments of train.py, for every run.
        output: folder of the runs; None for runs/table-<name>-<dataset>.

    Returns:
        The table as text, Markdown. It is also written to table.md in the folder, beside summary.json.

    Raises:
        UserError: there is no such table or dataset; or what the data needs, in the words of train.py.
    """
    known = sorted(path.stem for path in FOLDER.glob("*.toml"))
    if name not in known:
        raise UserError(f"--table={name} is not known; there are {', '.join(known)}")
    table = tomllib.loads((FOLDER / f"{name}.toml").read_text())
    dataset = dataset or next(iter(table["datasets"]))
    if dataset not in table["datasets"]:
        raise UserError(f"--table={name} --dataset={dataset}: it has {', '.join(table['datasets'])}")
    chosen = table["datasets"][dataset]
    output = pathlib.Path(output or f"runs/table-{name}-{dataset}")
    common = [f"--flagfile={FOLDER.parent.parent / chosen['flagfile']}", *chosen.get("flags", ()), *flags]
    if data_dir:
        common.append(f"--data_dir={data_dir}")
    runs = {row["objective"]: [*common, f"--objective={row['objective']}"] for row in table["rows"]}
    published = {row["objective"]: row["published"] for row in table["rows"]}
    try:
        reports = evaluated(runs, range(seeds or chosen["seeds"]), output)
    except UserError as error:
        lines = tables.markdown(*summary({}, runs, range(0), published))
        raise UserError(f"{table['source']}:\n\n{lines}\nnot run here: {error}") from None
    lines = [f"{table['title']}: {dataset}, {output}", ""]
    lines += [tables.markdown(*summary(reports, runs, range(seeds or chosen["seeds"]), published))]
    lines += [what_it_is_of(reports), "", f"Published: {table['source']}."]
    if not chosen.get("has_published"):
        lines[-1] += f" Another dataset than {dataset}: compare the order, not the numbers."
    text = "\n".join(lines)
    (output / "table.md").write_text(text + "\n")
    return text


def evaluated(runs, seeds, output):
    """Trains what is missing of {name: arguments of train.py} under each seed, and evaluates it seed by seed.

    Each run is a process of its own, so that it is the run train.py would make; a trained one is kept as it is. The
    comparison of a seed's runs goes into the folder of that seed, their reports into summary.json.

    Returns:
        {(name, seed): report}.

    Raises:
        UserError: a training did not succeed; the message is its last line.
    """
    output = pathlib.Path(output)
    folders = {(name, seed): output / f"seed-{seed}" / name for seed in seeds for name in runs}
    for (name, seed), folder in folders.items():
        command = [sys.executable, str(TRAIN), *runs[name], f"--seed={seed}", f"--workdir={folder}"]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["interrupted"]
            raise UserError(lines[-1].removeprefix("error: "))
    reports = {}
    for seed in seeds:
        found = evaluate.evaluate_runs([folders[name, seed] for name in runs]).reports
        reports |= {(name, seed): report for name, report in zip(runs, found, strict=True)}
    kept = {f"{name}-{seed}": report for (name, seed), report in reports.items()}
    (output / "summary.json").write_text(json.dumps(kept, indent=2) + "\n")
    return reports


def summary(reports, names, seeds, published=None):
    """Mean and standard deviation over the seeds, in percent: `(head, rows)` as `tables.markdown` takes them.

    Args:
        reports: {(name, seed): report}, as `evaluated` gives them.
        names: the runs, in order.
        seeds: the seeds.
        published: {name: {metric: percent}}, put beside; None for no such columns.
    """
    columns, rows = tables.columns(reports.values()) if reports else COLUMNS, []
    beside = [key for key in columns if any(key in row for row in (published or {}).values())]
    for name in names:
        cells = [_over_seeds([reports[name, seed][key] for seed in seeds]) for key in columns]
        rows.append([f"`{name}`", *cells, *(f"{published[name][key]:.2f}" for key in beside)])
    return ["run", *columns.values(), *(f"{columns[key]}, published" for key in beside)], rows


def what_it_is_of(reports):
    """What the numbers of `summary` are of, in a sentence."""
    seeds = {seed for _, seed in reports}
    measured_on = tables.measured_on(next(iter(reports.values())))
    return f"Mean ± standard deviation of {len(seeds)} seeds, in percent: {measured_on}."


def _over_seeds(values):
    if not values or None in values:
        return "-"
    percent = 100 * np.array(values)
    spread = f" ± {np.std(percent, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{np.mean(percent):.1f}{spread}"
