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
        (["train.py", "--backbone=resnet51"], "unknown --backbone=resnet51"),
        (["train.py", "--backbone=resnet18", "--image_size=32"], "a heatmap needs 2x2 or more"),
        (["train.py", "--temperature=0"], "--temperature should be above 0. Received: 0.0"),
        (["train.py", "configs/demo.flags"], "flags start with --. Received: configs/demo.flags"),
        (["evaluate.py", "--workdir=absent"], "absent is not a run folder"),
        (["-m", "export.saved_model", "--workdir=absent"], "absent is not a run folder"),
        (["-m", "export.client", "--image=absent.jpg"], "absent.jpg"),
        (["-m", "export.verify", "--model_dir=absent"], "absent holds no version"),
        (["-m", "export.onnx_model", "--workdir=absent"], "absent is not a run folder"),
    ],
)
def test_a_mistake_is_one_line(command, message):
    done = run(*command)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("error: ")


def test_a_flag_that_is_none_of_ours():
    done = run("train.py", "--objective=gcg")
    assert done.returncode == 2
    assert "value should be one of <cgc|baseline|cgc_no_negatives>" in done.stderr
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("error: ")


def test_help_teaches():
    text = run("train.py", "--help").stdout
    for expected in ("python train.py --flagfile=configs/demo.flags", "--lambda_cgc", "--workdir", "toy_aircraft"):
        assert expected in text


def test_missing_files_are_one_line(tmp_path):
    done = run("train.py", "--dataset=cars196", "--backbone=resnet8", "--image_size=48", f"--data_dir={tmp_path}")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: cars196 cannot be prepared: missing cars_train, ")


def test_every_configuration_is_valid():
    """Each flag file parses into a configuration of the dataset and objective that its name says."""
    code = (
        "import sys; from absl import flags; from cgc_tf.common import program; from cgc_tf.training import config\n"
        "config.define_flags()\n"
        "for path in sys.argv[1:]:\n"
        "    for name in flags.FLAGS: flags.FLAGS[name].unparse()\n"
        "    flags.FLAGS(['train.py', *program.expanded([f'--flagfile={path}']), '--data_dir=somewhere'])\n"
        "    settings = config.from_flags(); print(settings.dataset, settings.objective)"
    )
    files = sorted((ROOT / "configs").glob("*.flags"))
    assert len(files) >= 20
    done = run("-c", code, *map(str, files))
    assert done.returncode == 0, done.stderr
    for path, line in zip(files, done.stdout.splitlines(), strict=True):
        dataset, _, ending = path.stem.partition("_")
        objective = {"baseline": "baseline", "no_negatives": "cgc_no_negatives"}.get(ending, "cgc")
        assert line.split() == [{"base": "toy_aircraft", "demo": "toy_aircraft"}.get(dataset, dataset), objective]
