"""Tables of groups of runs: pooled scores, the best in bold, and the tests of their differences."""

from collections.abc import Mapping, Sequence

from cgc_tf.report import groups as statistics
from cgc_tf.report import tables
from cgc_tf.report.groups import Run
from cgc_tf.report.results import COLUMNS, METRICS
from cgc_tf.report.uncertainty import RESAMPLES

Groups = Mapping[str, Sequence[Run]]


def scores(groups: Groups, published: Mapping[str, Mapping] | None = None, resamples: int = RESAMPLES) -> tables.Table:
    """Mean ± standard deviation over the runs, and the 95% interval; `(head, rows)`, a row for each group.

    Args:
        groups: {name: its runs}; none where nothing was run.
        published: {name: {metric: percent}}, put beside; None for no such columns.
        resamples: of the intervals.
    """
    reports = [run.report for runs in groups.values() for run in runs]
    columns = tables.columns(reports) if reports else COLUMNS
    beside = [key for key in columns if any(key in row for row in (published or {}).values())]
    cells = {key: _cells(groups, key, resamples) for key in columns}
    rows = []
    for name in groups:
        others = (f"{published[name][key]:.2f}" for key in beside) if published else ()
        rows.append([name, str(len(groups[name])), *(cells[key][name] for key in columns), *others])
    return ["", "runs", *columns.values(), *(f"{columns[key]}, published" for key in beside)], rows


def _cells(groups, key, resamples):
    found = {name: statistics.pooled(runs, key, resamples) if runs else None for name, runs in groups.items()}
    better = METRICS[key].better
    known = {name: better * one["mean"] for name, one in found.items() if one}
    best = max(known.values()) if better and len(known) > 1 else None
    return {
        name: _cell(one, METRICS[key].scale, known.get(name) == best) if one else "-" for name, one in found.items()
    }


def _cell(found, scale, is_best):
    mean = f"{scale * found['mean']:.1f}"
    if found["deviation"] is not None:
        mean += f" ± {scale * found['deviation']:.1f}"
    low, high = (scale * end for end in found["interval"])
    return f"{f'**{mean}**' if is_best else mean} [{low:.1f}, {high:.1f}]"


def differences(found: Sequence[Mapping]) -> tables.Table:
    """What `groups.differences` found, `(head, rows)`."""
    rows = []
    for one in found:
        scale = METRICS[one["metric"]].scale
        difference, low, high = (scale * value for value in (one["difference"], *one["interval"]))
        change = f"{difference:+.1f} [{low:+.1f}, {high:+.1f}]"
        which = f"{one['second']} - {one['first']}", METRICS[one["metric"]].title
        p_values = ("-" if one[name] is None else f"{one[name]:.2g}" for name in ("p", "p_holm"))
        rows.append([*which, change, *p_values, one["paired_over"]])
    return ["groups", "metric", "difference [95% interval]", "p", "p, Holm", "paired over"], rows


def what_it_is_of(groups: Groups) -> str:
    """What the numbers are of: the images, what was drawn, and what else differs between the runs."""
    runs = [run for each in groups.values() for run in each]
    configs = [run.report["config"] for run in runs]
    told = (
        f"Mean ± standard deviation over runs, in percent except a rank: {tables.measured_on(runs[0].report)}. "
        "[95% intervals] of a bootstrap over runs and images."
    )
    if len(groups) > 1:
        told += " p of paired t-tests, and corrected by Holm for all of them; - where every change is the same."
    within = {
        key
        for each in groups.values()
        for key in each[0].report["config"]
        if key != "seed" and any(run.report["config"][key] != each[0].report["config"][key] for run in each)
    }
    if within:
        told += f" Runs of one group differ in {', '.join(key for key in configs[0] if key in within)}."
    return told
