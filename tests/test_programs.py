"""The programs as a user starts them: what they teach, and how they answer a mistake."""

import pathlib
import subprocess
import sys

import pytest

from cgc_tf.common import program
from cgc_tf.common.errors import UserError

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture
def run(programs):
    return programs.run


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["train.py", "--backbone=resnet51"], "unknown --backbone=resnet51"),
        (["train.py", "--backbone=resnet18", "--image_size=32"], "a heatmap needs 2x2 or more"),
        (["train.py", "--temperature=0"], "--temperature should be above 0. Received: 0.0"),
        (["train.py", "configs/demo.flags"], "flags start with --. Received: configs/demo.flags"),
        (["evaluate.py", "--workdir=absent"], "absent is not a run folder"),
        (["evaluate.py", "--group_by=", "runs/A"], "--group_by wants a setting"),
        (["-m", "export.saved_model", "--workdir=absent"], "absent is not a run folder"),
        (["-m", "export.client", "--image=absent.jpg"], "absent.jpg"),
        (["-m", "export.verify", "--model_dir=absent"], "absent holds no version"),
        (["-m", "export.onnx_model", "--workdir=absent"], "absent is not a run folder"),
    ],
)
def test_a_mistake_is_one_line(command, message, run):
    done = run(*command)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("error: ")


@pytest.mark.parametrize("module", ["export.client", "export.verify", "export.server"])
def test_a_missing_input_is_told_before_tensorflow_is_loaded(module):
    command = [sys.executable, "-X", "importtime", "-m", module]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and " is missing: " in done.stderr and "tensorflow" not in done.stderr


@pytest.mark.parametrize(
    ("typed", "first", "expected"),
    [
        (["python", "train.py"], "train.py", "python evaluate.py, python -m export.server"),
        ([".venv/bin/python", "-u", "train.py"], "train.py", ".venv/bin/python evaluate.py, .venv/bin/python -m"),
        (["python3", "../cgc/train.py"], "../cgc/train.py", "python3 ../cgc/evaluate.py, python3 -m"),
        (["a b/python", "a b/train.py"], "a b/train.py", "'a b/python' 'a b/evaluate.py', 'a b/python' -m"),
        (["python3", "-m", "export.saved_model"], "/cgc/export/saved_model.py", "python3 evaluate.py, python3 -m"),
        (["/bin/python", "/bin/cgc"], "cgc train", "cgc evaluate, cgc serve"),
    ],
)
def test_a_command_that_is_taught_can_be_typed_where_the_program_was(typed, first, expected, monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", typed)
    monkeypatch.setattr(sys, "argv", [first])
    assert program.as_started("python evaluate.py, python -m export.server").startswith(expected)


def test_train_without_flags_says_how_to_begin(run):
    done = run("train.py")
    assert done.returncode == 2 and "python train.py --flagfile=configs/demo.flags" in done.stdout


def test_a_flag_that_is_none_of_ours(run):
    done = run("train.py", "--objective=gcg")
    assert done.returncode == 2
    assert "value should be one of <cgc|baseline|cgc_no_negatives>" in done.stderr
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("error: ")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (
            ["train.py"],
            [
                "python train.py --flagfile=configs/demo.flags",
                "\nThe run:\n  --workdir=TEXT\n",
                "\nData:\n  --dataset=TEXT\n",
                "\nNetwork:\n",
                "\nObjective:\n  --objective=cgc|baseline|",
                "\nOptimization:\n",
                "\nRunning:\n",
                "Weight of the consistency term. (default: 0.5)",
                "--[no]dry_run",
            ],
        ),
        (["evaluate.py"], ["\nModels:\n  --workdir=A,B,...\n", "\nDrawing:\n", "shorter side of the whole image"]),
        (["-m", "cgc_tf.programs.cgc", "query"], ["  cgc query --image=cat.jpg", "\nFlags:\n  --image=TEXT\n"]),
        (["-m", "cgc_tf.programs.cgc"], ["cgc train --flagfile=configs/demo.flags", "cgc export", "cgc inspect"]),
    ],
)
def test_help_teaches(command, expected, run):
    """The docstring, the program's own flags by subject, and nothing of the libraries that it loads."""
    done = run(*command, "--help")
    assert done.returncode == 0
    for text in expected:
        assert text in done.stdout
    assert "--alsologtostderr" not in done.stdout and "test_srcdir" not in done.stdout


def test_the_dispatcher_says_what_there_is(run):
    done = run("-m", "cgc_tf.programs.cgc", "explode")
    assert done.returncode == 2 and done.stderr.startswith("error: cgc explode is not known; there are train, evaluate")
    taught = run("-m", "cgc_tf.programs.cgc").stdout
    assert [name for name in program.MODULES if f"cgc {name} " not in taught] == []


@pytest.fixture
def project(tmp_path):
    """Another project, whose configurations include each other."""
    (tmp_path / "configs").mkdir()
    for name, lines in {
        "base": ["# a comment", "", "--epochs=3", "--seed=1"],
        "mine": ["--flagfile=configs/base.flags", "--epochs=4"],
        "ours": ["--flagfile", "configs/cars196.flags"],
        "circle": ["--flagfile=configs/back.flags"],
        "back": ["--flagfile=configs/circle.flags"],
    }.items():
        (tmp_path / f"configs/{name}.flags").write_text("\n".join(lines))
    return tmp_path


def test_a_flagfile_is_found_from_any_folder(project, tmp_path_factory, monkeypatch):
    """As it is given, from the project of the file that includes it, or among our own."""
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    given = list(program.expanded(["--seed=2", f"--flagfile={project}/configs/mine.flags", "--xla"]))
    assert given == ["--seed=2", "--epochs=3", "--seed=1", "--epochs=4", "--xla"]
    assert list(program.expanded(["--flagfile", f"{project}/configs/base.flags"])) == ["--epochs=3", "--seed=1"]
    assert "--dataset=cars196" in program.expanded([f"--flagfile={project}/configs/ours.flags"])
    assert "--dataset=cars196" in program.expanded(["--flagfile=configs/cars196.flags"])
    monkeypatch.chdir(project)
    assert list(program.expanded(["--flagfile=configs/base.flags"])) == ["--epochs=3", "--seed=1"]
    for name, message in (("absent", "does not exist"), ("circle", "includes itself")):
        with pytest.raises(UserError, match=message):
            list(program.expanded([f"--flagfile=configs/{name}.flags"]))


def test_missing_files_are_one_line(tmp_path, run):
    done = run("train.py", "--dataset=cars196", "--backbone=resnet8", "--image_size=48", f"--data_dir={tmp_path}")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: cars196 cannot be prepared: missing cars_train, ")


def test_every_configuration_is_valid(run):
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
        named_otherwise = {"base": "toy_aircraft", "demo": "toy_aircraft", "birds": "folder"}
        assert line.split() == [named_otherwise.get(dataset, dataset), objective]
