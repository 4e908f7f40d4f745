"""The promise of the same bits, on the demo itself: smaller networks and pictures kept it where the demo did not."""

import pathlib
import subprocess
import sys

import pytest

from cgc_tf.training import checkpoints

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.slow(seconds=120)
def test_two_runs_of_the_demo_are_the_same(tmp_path):
    """After each of two epochs: a checkpoint's name ends with the checksum of all that was trained."""

    def left(name):
        flags = ["--flagfile=configs/demo.flags", "--epochs=2", f"--data_dir={tmp_path}"]
        workdir = tmp_path / name
        subprocess.run([sys.executable, "train.py", *flags, f"--workdir={workdir}"], cwd=ROOT, check=True)
        names = [path.name for path in checkpoints.files(workdir / checkpoints.FOLDER)]
        return names, (workdir / "metrics.csv").read_bytes()

    first = left("first")
    assert len(first[0]) == 2 and left("second") == first
