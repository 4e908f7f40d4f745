"""The programs as a user starts them: what they teach, and how they answer a mistake."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent


def run(*command):
    return subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["train.py", "--flagfile=configs/aircraft.flags"], "FGVC-Aircraft's builder is not part of this version yet"),
        (["train.py", "--backbone=resnet51"], "unknown --backbone=resnet51"),
        (["train.py", "--backbone=resnet18", "--image_size=32"], "a heatmap needs 2x2 or more"),
        (["train.py", "--temperature=0"], "--temperature should be above 0. Received: 0.0"),
        (["train.py", "configs/demo.flags"], "flags start with --. Received: configs/demo.flags"),
        (["evaluate.py", "--workdir=absent"], "absent is no workdir"),
        (["-m", "export.saved_model", "--workdir=absent"], "absent is no workdir"),
        (["-m", "export.client", "--image=absent.jpg"], "absent.jpg"),
    ],
)
def test_a_mistake_is_one_line(command, message):
    done = run(*command)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("error: ")


def test_a_flag_that_is_none_of_ours():
    done = run("train.py", "--objective=gcg")
    assert done.returncode == 1
    assert "value should be one of <cgc|baseline|cgc_no_negatives>" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_teaches():
    text = run("train.py", "--help").stdout
    for expected in ("python train.py --flagfile=configs/demo.flags", "--lambda_cgc", "--workdir", "toy_aircraft"):
        assert expected in text


def test_every_configuration_is_valid():
    """Each flag file parses into a configuration; only the dataset that is to come is refused."""
    code = (
        "import sys; from absl import flags; from cgc_tf import config; config.define_flags();"
        "flags.FLAGS(sys.argv); print(config.from_flags().objective)"
    )
    files = sorted(path for path in (ROOT / "configs").glob("*.flags") if path.stem != "aircraft")
    assert len(files) >= 3
    for path in files:
        extra = ["--data_dir=somewhere"] if path.stem == "folder" else []
        done = run("-c", code, f"--flagfile={path}", *extra)
        assert done.stdout.strip() == "cgc", done.stderr
