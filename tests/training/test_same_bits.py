"""The promise of the same bits, on the demo itself: smaller networks and pictures kept it where the demo did not."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.slow(seconds=120)
def test_two_runs_of_the_demo_are_the_same(tmp_path):
    def metrics(name):
        flags = [
            "--flagfile=configs/demo.flags",
            "--epochs=2",
            f"--data_dir={tmp_path}",
            f"--workdir={tmp_path / name}",
        ]
        subprocess.run([sys.executable, "train.py", *flags], cwd=ROOT, check=True)
        return (tmp_path / name / "metrics.csv").read_bytes()

    assert metrics("first") == metrics("second")
