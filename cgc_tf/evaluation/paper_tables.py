"""The paper's tables: trains what is missing under each seed, evaluates it, and sets the published figures beside."""

import os
import pathlib
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence

from cgc_tf.common import files, program
from cgc_tf.common.errors import UserError
from cgc_tf.evaluation import evaluate, grouped
from cgc_tf.report import group_tables, groups, tables


def make(
    name: str, dataset: str = "", data_dir: str | None = None, seeds: int = 0, output: files.PathLike | None = None
) -> str:
    """Makes one of the tables of `configs/tables/`, and returns it as Markdown; in its folder it is table.md.

    Args:
        name: a file's name there, without its ending.
        dataset: one of those that the table has; "" for its first, the paper's.
        data_dir: as for train.py.
        seeds: how many seeds, from 0; 0 for the table's own number.
        output: folder of the runs; None for runs/table-<name>-<dataset>.

    Raises:
        UserError: there is no such table or dataset; or what the data needs, in the words of train.py.
    """
    table = read(name)
    dataset = dataset or next(iter(table["datasets"]))
    if dataset not in table["datasets"]:
        raise UserError(f"--table={name} --dataset={dataset}: the table is made for {', '.join(table['datasets'])}")
    chosen = table["datasets"][dataset]
    output = pathlib.Path(output or f"runs/table-{name}-{dataset}")
    common = [f"--flagfile={program.config_folder().parent / chosen['flagfile']}", *chosen.get("flags", ())]
    if data_dir:
        common.append(f"--data_dir={data_dir}")
    runs = {row["objective"]: [*common, f"--objective={row['objective']}"] for row in table["rows"]}
    published = {row["objective"]: row["published"] for row in table["rows"]}
    numbers = range(seeds or chosen["seeds"])
    try:
        found = evaluated(runs, numbers, output)
    except UserError as error:
        empty = tables.markdown(*group_tables.scores({name: () for name in runs}, published))
        raise UserError(f"{table['source']}:\n\n{empty}\nnot run here: {error}") from None
    origin = f"Published: {table['source']}."
    if not chosen.get("has_published"):
        origin += f" Another dataset than {dataset}: compare the order, not the numbers."
    filled = grouped.write(output / "table", found, published)
    text = f"{table['title']}: {dataset}, {output}\n\n{filled}\n\n{origin}"
    with files.reported(output):
        files.write(output / "table.md", text + "\n")
    return text


def read(name: str) -> dict:
    """What a table's file says; raises `UserError` where there is no such table."""
    files_of = {path.stem: path for path in program.config_folder().glob("tables/*.toml")}
    if name not in files_of:
        raise UserError(f"--table={name} is not known; there are {', '.join(sorted(files_of))}")
    return tomllib.loads(files_of[name].read_text())


def evaluated(
    runs: Mapping[str, Sequence[str]], seeds: Iterable[int], output: files.PathLike
) -> dict[str, list[groups.Run]]:
    """Trains what is missing of {name: arguments of train.py} under each seed, and evaluates it seed by seed.

    Each run is a process of its own, so that it is the run train.py would make; a trained one is kept as it is. The
    comparison of a seed's runs goes into the folder of that seed.

    Returns:
        {name: its runs, by seed}.

    Raises:
        UserError: a training did not succeed; the message is its last line.
    """
    output = pathlib.Path(output)
    folders = {(name, seed): output / f"seed-{seed}" / name for seed in seeds for name in runs}
    for (name, seed), workdir in folders.items():
        _train([*runs[name], f"--seed={seed}", f"--workdir={workdir}"])
    for seed in seeds:
        evaluate.evaluate([folders[name, seed] for name in runs])
    return {name: [groups.read(folders[name, seed]) for seed in seeds] for name in runs}


def _train(arguments):
    """Runs `cgc train` in a process that finds this package where this process does."""
    command = [sys.executable, "-m", "cgc_tf.programs.cgc", "train", *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["interrupted"]
        raise UserError(lines[-1].removeprefix("error: "))
