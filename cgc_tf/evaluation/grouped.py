"""Runs as groups, such as an objective under several seeds: evaluates what is missing, tests, and writes a table."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping, Sequence

from cgc_tf.common import files
from cgc_tf.common.errors import UserError, first_few
from cgc_tf.evaluation import evaluate
from cgc_tf.evaluation.protocol import Protocol
from cgc_tf.report import figures, group_tables, groups, results, tables
from cgc_tf.report.groups import Run
from cgc_tf.report.results import PER_IMAGE, REPORT
from cgc_tf.report.uncertainty import RESAMPLES
from cgc_tf.training import read_by
from cgc_tf.training.config import Config

PROTOCOL = Protocol()
OVER, UP = "top1", ("content_heatmap", "pixel_ap", "retrieval_rank")  # metrics that are drawn


def make(paths: Sequence[str], key: str, output: files.PathLike | None = None, protocol: Protocol = PROTOCOL) -> str:
    """Pools runs by a setting, and returns what `write` does; what is no run's folder is named and left out.

    Args:
        paths: folders of trained runs; those without an evaluation of their whole test split are evaluated.
        key: the settings that tell the groups apart, such as "objective" or "objective,similarity".
        output: the folder of the tables; None for the one that the runs have in common.
        protocol: how the runs are measured, and the resamples of the intervals.

    Raises:
        UserError: there is nothing to group, or the runs cannot be compared.
    """
    workdirs = [path for path in paths if os.path.isfile(os.path.join(path, "config.json"))]
    if not workdirs:
        raise UserError(f"--group_by={key} needs folders of trained runs: python evaluate.py --group_by={key} runs/*")
    if others := [path for path in paths if path not in workdirs]:
        print(f"left out, not folders of runs: {first_few(others)}")
    names = groups.names([_settings_read(Config.load(path)) for path in workdirs], key)  # before minutes of evaluation
    found = groups.group(evaluated(workdirs, protocol), names)
    folder = pathlib.Path(output or os.path.commonpath([pathlib.Path(path).resolve().parent for path in workdirs]))
    stem = results.file(folder, f"by-{key.replace(',', '-')}", protocol.variant({}))
    return write(stem, found, resamples=protocol.resamples)


def _settings_read(config):
    return {**dataclasses.asdict(config), **dict.fromkeys(read_by.unread(config), groups.UNREAD)}


def evaluated(workdirs: Sequence[files.PathLike], protocol: Protocol) -> list[Run]:
    """Reads what was measured of runs by a protocol, and measures it first where it is missing."""
    variant = protocol.variant({})
    for workdir in map(pathlib.Path, workdirs):
        if not all(results.file(workdir, name, variant).exists() for name in (REPORT, PER_IMAGE)):
            print(f"evaluating {workdir}, which was not measured so yet", flush=True)
            evaluate.evaluate([workdir], protocol=protocol)
    return [groups.read(workdir, variant) for workdir in workdirs]


def write(
    stem: pathlib.Path,
    found: Mapping[str, Sequence[Run]],
    published: Mapping[str, Mapping] | None = None,
    resamples: int = RESAMPLES,
) -> str:
    """Writes the tables of groups into STEM.md, STEM.tex and STEM.json, and returns the first, a text.

    STEM.png and STEM.pdf draw Content Heatmap, pixel AP and rank over top-1, those that all groups have.

    Raises:
        UserError: they cannot be written.
    """
    tested = groups.differences(found, resamples)
    both = [group_tables.scores(found, published, resamples)]
    if tested:
        both.append(group_tables.differences(tested))
    text = "\n".join([*(tables.markdown(*table) for table in both), group_tables.what_it_is_of(found)])

    def named(ending):  # as it stands: "heatmap_power-1.5" has no suffix
        return stem.with_name(stem.name + ending)

    with files.reported(stem.parent):
        stem.parent.mkdir(parents=True, exist_ok=True)
        files.write(named(".md"), text + "\n")
        files.write(named(".tex"), tables.latex_document(*both))
        reports = {name: [run.report for run in runs] for name, runs in found.items()}
        files.write(named(".json"), json.dumps({"differences": tested, "reports": reports}, indent=2) + "\n")
        _draw(named(".png"), found, resamples)
    return text


def _draw(path, found, resamples):
    """Draws what of `UP` is known of all groups, where there are several, over top-1."""
    columns = tables.columns([run.report for runs in found.values() for run in runs])
    known = {name: _pooled(runs, resamples) for name, runs in found.items() if runs}
    titles = {metric: title for metric, title in columns.items() if all(metric in its for its in known.values())}
    if len(known) > 1 and OVER in titles and len(titles) > 1:
        figures.tradeoff(path, known, OVER, titles)


def _pooled(runs, resamples):
    every = ((metric, groups.pooled(runs, metric, resamples)) for metric in (OVER, *UP))
    return {metric: pooled for metric, pooled in every if pooled}
