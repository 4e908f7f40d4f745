"""Groups of evaluated runs, such as an objective under several seeds: pooled scores, tested differences, tables."""

import csv
import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from cgc_tf.common import files
from cgc_tf.common.errors import UserError, first_line
from cgc_tf.report import results, tables
from cgc_tf.report.results import METRICS, PER_IMAGE, REPORT
from cgc_tf.report.uncertainty import AT_ONCE, RESAMPLES

ROUNDING = 1e-12  # of means of scores
UNREAD = object()  # in place of a setting's value: the run does not read it
OF_NO_SCORE = ("curves", "randomization", "resamples", "data_dir")  # what of a protocol changes no score, or only adds


@dataclasses.dataclass(frozen=True)
class Run:
    """An evaluated run: its report, the ids of its images, and {metric: float `[N]`}, NaN where an image has none."""

    report: dict
    ids: tuple[str, ...]
    values: dict[str, np.ndarray]


def read(workdir: files.PathLike, variant: str = "") -> Run:
    """What an evaluation of the whole test split left in a run's folder; `variant` is as for `results.file`.

    Raises:
        UserError: it cannot be read.
    """
    folder = pathlib.Path(workdir)
    try:
        report = json.loads(results.file(folder, REPORT, variant).read_text("utf-8"))
        with results.file(folder, PER_IMAGE, variant).open(encoding="utf-8", newline="") as stream:
            rows = sorted(csv.DictReader(stream), key=lambda row: int(row["index"]))
        values = {name: np.array([float(row[name] or "nan") for row in rows]) for name in METRICS if name in rows[0]}
        return Run(report, tuple(row["id"] for row in rows), values)
    except (OSError, ValueError, LookupError) as error:
        raise UserError(
            f"{folder} has no evaluation that can be read ({first_line(error)}): python evaluate.py --workdir={folder}"
        ) from error


def group(runs: Sequence[Run], names: Sequence[str]) -> dict[str, list[Run]]:
    """{group: its runs}, in the order of the runs, of which each has the name of its group.

    Raises:
        UserError: the runs were not measured on the same.
    """
    found = {}
    for run, name in zip(runs, names, strict=True):
        if different := _different(runs[0], run):
            both = f"{runs[0].report['workdir']} and {run.report['workdir']}"
            raise UserError(
                f"{both} were not measured alike, but with other {', '.join(different)}: evaluate them again"
            )
        found.setdefault(name, []).append(run)
    return found


def names(configs: Sequence[Mapping], key: str) -> list[str]:
    """The name of each run's group: its values of the settings `key`, such as "a" or "a,b".

    Args:
        configs: the runs' settings, `UNREAD` being the value of one that the run does not read.
        key: the settings.

    Raises:
        UserError: there is no such setting, or two runs of a group share a seed.
    """
    settings, found = key.split(","), {}
    if unknown := [name for name in settings if name not in configs[0]]:
        differ = ", ".join(_in_which_differ(configs)) or "nothing"
        raise UserError(f"--group_by={key}: {unknown[0]!r} is no setting of a run; these runs differ in {differ}")
    values = [[str(config[name]) for name in settings if config[name] is not UNREAD] for config in configs]
    each = [", ".join(its) or "-" for its in values]
    for name, config in zip(each, configs, strict=True):
        if (run := (name, config["seed"])) in found:
            differ = ", ".join(_in_which_differ([found[run], config]))
            hint = f"; they differ in {differ}, which --group_by=A,B can name, too" if differ else ""
            raise UserError(f"--group_by={key}: two runs of {name} have the seed {config['seed']}{hint}")
        found[run] = config
    return each


def _in_which_differ(configs):
    values = {name: [config.get(name) for config in configs if config.get(name) is not UNREAD] for name in configs[0]}
    return [name for name, read in values.items() if any(value != read[0] for value in read)]


def _different(first, second):
    """What two runs were not both measured on, or by."""
    both = [
        {"dataset": run.report["dataset"], "split": run.report["split"], **run.report["protocol"]}
        for run in (first, second)
    ]
    names = [name for name in both[0] if name not in OF_NO_SCORE and both[0][name] != both[1].get(name)]
    return names or ([] if first.ids == second.ids else ["pictures"])


def _seed(run):
    return run.report["config"]["seed"]


def pooled(runs: Sequence[Run], metric: str, resamples: int = RESAMPLES, seed: int = 0) -> dict | None:
    """A metric of a group: `mean` over its runs, their standard `deviation` (None of one), and a 95% `interval`.

    The interval is of a bootstrap that draws runs and images, both with replacement, the same images for every run. Of
    few runs it is too narrow. None where a run has no such metric.
    """
    values = _values(runs, metric)
    if values is None:
        return None
    means = np.nanmean(values, 1)
    deviation = float(np.std(means, ddof=1)) if len(means) > 1 else None
    return {"mean": float(np.mean(means)), "deviation": deviation, "interval": _interval([values], resamples, seed)}


def _values(runs, metric):
    if any(run.report.get(metric) is None for run in runs):
        return None
    return np.stack([run.values[metric] for run in runs])


def _interval(groups, resamples, seed):
    """The interval of the last group's mean, less that of the first where these are two; groups are `[runs, N]`."""
    rng, count, found = np.random.default_rng(seed), groups[0].shape[1], []
    for start in range(0, resamples, batch := max(1, AT_ONCE // count)):
        size = min(batch, resamples - start)
        weights = np.stack([np.bincount(rng.integers(count, size=count), minlength=count) for _ in range(size)])
        means = []
        for values in groups:
            known = ~np.isnan(values)
            each = weights @ np.where(known, values, 0).T / np.maximum(weights @ known.T.astype(float), 1)
            means.append(np.take_along_axis(each, rng.integers(len(values), size=each.shape), 1).mean(1))
        found.append(means[-1] - (means[0] if len(groups) > 1 else 0))
    return np.percentile(np.concatenate(found), [2.5, 97.5]).tolist()


def differences(groups: Mapping[str, Sequence[Run]], resamples: int = RESAMPLES, seed: int = 0) -> list[dict]:
    """Each group against the first, by each metric of the tables.

    Returns:
        Dicts: `first`, `second`, the names; `metric`; `difference` of the means over the images that all runs of the
        two have a value of, and its `interval`, drawn as for `pooled`; `p` of a paired t-test over `paired_over`, the
        seeds that both have, or over images where these are fewer than two, which says nothing of other seeds; and
        `p_holm`, corrected for all of the tests by Holm (1979). Both are None where every change is the same, not zero.
    """
    (name, first), *others = groups.items()
    reports = [run.report for runs in groups.values() for run in runs]
    found = []
    for other, second in others:
        for metric in tables.columns(reports):
            pair = _both(_values(first, metric), _values(second, metric))
            if not pair:
                continue
            difference = float(np.mean(pair[1]) - np.mean(pair[0]))
            interval = _interval(pair, resamples, seed)
            told = {"first": name, "second": other, "metric": metric, "difference": difference, "interval": interval}
            found.append(told | _test(first, second, *pair))
    tested = [one for one in found if one["p"] is not None]
    for one, corrected in zip(tested, holm([one["p"] for one in tested]), strict=True):
        one["p_holm"] = float(corrected)
    return found


def _both(first, second):
    """What two groups have of the images that all of their runs have a value of; None where there is none."""
    if first is None or second is None:
        return None
    known = ~np.isnan([*first, *second]).any(0)
    return (first[:, known], second[:, known]) if known.any() else None


def _test(first, second, of_first, of_second):
    of = {_seed(run): float(np.mean(values)) for run, values in zip(first, of_first, strict=True)}
    to = {_seed(run): float(np.mean(values)) for run, values in zip(second, of_second, strict=True)}
    seeds = [seed for seed in of if seed in to]
    change, over = np.array([to[seed] - of[seed] for seed in seeds]), f"{len(seeds)} seeds"
    if len(seeds) < 2:
        change = of_second.mean(0) - of_first.mean(0)
        over = f"{len(change)} images"
    if np.ptp(change) > ROUNDING:
        p = float(stats.ttest_1samp(change, 0).pvalue)
    else:  # a t-test would say 0, however few they are
        p = 1.0 if abs(change[0]) <= ROUNDING else None
    return {"p": p, "p_holm": None, "paired_over": over}


def holm(p: ArrayLike) -> np.ndarray:
    """P-values, `[n]`, corrected for n tests (Holm, "A simple sequentially rejective multiple test procedure", 1979).

    >>> print(holm([0.01, 0.04, 0.03, 0.005]))
    [0.03 0.06 0.06 0.02]
    """
    p = np.asarray(p, np.float64)
    order = np.argsort(p, kind="stable")
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(1, np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order]))
    return corrected
