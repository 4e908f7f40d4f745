"""A copy of the project, made small, in whose shell commands are typed; its `python` is `program_client.py`."""

import contextlib
import csv
import json
import os
import re
import shutil
import signal
import subprocess

from PIL import Image

INHERITED = ("PYTHONPATH", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")  # of the `make` that runs the tests
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
    "benchmarks.serving": ["--backbone=resnet8", "--rounds=1", "--load_seconds=1"],
    "benchmarks.workers": ["--backbone=resnet8", "--rounds=1", "--batch_size=2"],
    "benchmarks.checkpoints": ["--backbone=resnet8", "--rounds=1"],
}


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
    sizes = 'SPLIT_SIZES = {"train": 48, "validation": 16, "test": 16}'
    builder.write_text(re.sub(r"SPLIT_SIZES = \{.*\}", sizes, builder.read_text(), count=1))


class Sandbox:
    """A shell in a copy of the project, its `python` being `program_client.py`."""

    def __init__(self, root, programs):
        self.root, self._serving, self._smaller = root, None, root.parent / "smaller.json"
        own = {
            **programs.environment,
            "SMALLER": str(self._smaller),
            "PYTHON": str(root / "bin/python"),
            "EAGERLY": "train.py,cgc_tf.programs.cgc",  # a table starts its trainings by the latter
        }
        outside = {name: value for name, value in os.environ.items() if name not in INHERITED}
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

    @contextlib.contextmanager
    def runs_of_seeds(self):
        """Within it runs/ holds copies of runs/A alone, each of a seed of its own and not evaluated."""
        runs, kept = self.root / "runs", self.root / "runs_kept"
        runs.rename(kept)
        for seed in range(3):
            copied = shutil.copytree(kept / "A", runs / f"seed-{seed}", ignore=shutil.ignore_patterns("evaluation*"))
            config = copied / "config.json"
            config.write_text(json.dumps({**json.loads(config.read_text()), "seed": seed}))
        try:
            yield
        finally:
            shutil.rmtree(runs)
            kept.rename(runs)

    def _options(self, started=False):
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} if started else {"capture_output": True}
        return {**streams, "cwd": self.root, "env": self._environment, "text": True}

    def stop(self, process):
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        return process.stderr.read()
