"""metrics.csv: a row of a run's metrics for each epoch that a checkpoint holds."""

import csv
import pathlib

import keras

from cgc_tf.common import files

METRICS = "metrics.csv"
SCORE = "val_accuracy"  # the column that chooses the best epoch


def rows(workdir: pathlib.Path) -> list[dict[str, str]]:
    """The rows of a workdir's metrics.csv, dicts of texts; none where there is no such file."""
    path = workdir / METRICS
    return list(csv.DictReader(path.read_text().splitlines())) if path.exists() else []


def forget_rows_after(workdir: pathlib.Path, epochs: int) -> None:
    """Takes out of metrics.csv the epochs that are going to be trained again, because no checkpoint holds them."""
    kept = [row for row in rows(workdir) if row["epoch"] and int(row["epoch"]) <= epochs and None not in row.values()]
    _write(workdir, kept)


class MetricsFile(keras.callbacks.Callback):
    """Adds a row to metrics.csv after each epoch, epochs counted from 1 as on the console."""

    def __init__(self, workdir):
        super().__init__()
        self._workdir = workdir

    def on_epoch_end(self, epoch, logs=None):
        row = {"epoch": epoch + 1, **{name: logs[name] for name in sorted(logs or ())}}
        _write(self._workdir, [*rows(self._workdir), row])


def _write(workdir, table):
    """Writes metrics.csv as a whole: what is measured may change within a run, and the columns with it."""
    with files.whole(workdir / METRICS) as file:
        writer = csv.DictWriter(file, dict.fromkeys(name for row in table for name in row), lineterminator="\n")
        if table:
            writer.writeheader()
        writer.writerows(table)
