"""What a GPU has to do: a table of steps, the same bits twice, and the demo's whole way. `make test-gpu` runs these.

Without a GPU they are skipped. `CGC_TEST_GPU_ON=CPU` runs them on the CPU, small, to try the tests themselves.
"""

import os
import pathlib
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import step
from cgc_tf.common import environment
from cgc_tf.training import device

ROOT = pathlib.Path(__file__).parent.parent
HAS_GPU = bool(tf.config.list_physical_devices("GPU"))
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not HAS_GPU and os.environ.get("CGC_TEST_GPU_ON") != "CPU", reason=f"no GPU: {environment.device()}"
    ),
]
NETWORK, BATCH, STEPS = ("resnet50", 32, 10) if HAS_GPU else ("resnet8", 2, 2)


@pytest.fixture(scope="module")
def table():
    """Lines of a table, printed when all are there."""
    lines = [
        f"{environment.device()}; {NETWORK}, {step.SIZE} pixels, batch {BATCH}",
        "| step | pictures a second |",
        "| --- | --- |",
    ]
    yield lines
    print("\n" + "\n".join(lines))


@pytest.mark.parametrize("xla", [False, True])
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("objective", ["baseline", "cgc"])
def test_a_step(objective, precision, xla, table):
    """Its loss is finite and falls on one batch again and again; the table says how fast it is."""
    model, batch = step.build(NETWORK, objective, precision), step.random_batch(BATCH)
    train = tf.function(model.train_step, jit_compile=xla)
    losses = [float(train(batch)["loss"]) for _ in range(2)]
    start = time.perf_counter()
    losses += [float(train(batch)["loss"]) for _ in range(STEPS)]
    seconds = (time.perf_counter() - start) / STEPS
    table.append(f"| {objective}, {precision}{', XLA' if xla else ''} | {BATCH / seconds:.1f} |")
    assert np.isfinite(losses).all() and losses[-1] < losses[0]


def test_the_reference_step_in_pytorch(table):
    """The same work in plain PyTorch, for comparison: three views through torchvision's ResNet50, one update."""
    torch, torchvision = pytest.importorskip("torch"), pytest.importorskip("torchvision")
    where = "cuda" if HAS_GPU and torch.cuda.is_available() else "cpu"
    model = torchvision.models.resnet50(num_classes=100).to(where)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9)
    views, labels = torch.rand(3, BATCH, 3, step.SIZE, step.SIZE, device=where), torch.arange(BATCH, device=where)

    def update():
        optimizer.zero_grad()
        loss = sum(torch.nn.functional.cross_entropy(model(view), labels) for view in views)
        loss.backward()
        optimizer.step()
        return float(loss)

    update()
    start = time.perf_counter()
    losses = [update() for _ in range(STEPS)]
    table.append(
        f"| three-view cross-entropy in PyTorch, float32 | {BATCH * STEPS / (time.perf_counter() - start):.1f} |"
    )
    assert np.isfinite(losses).all()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs of the demo's training, by the same flags."""
    folder = tmp_path_factory.mktemp("runs")
    size = [] if HAS_GPU else ["--image_size=48", "--labeled_fraction=0.1"]
    for name in ("a", "b"):
        run("train.py", "--flagfile=configs/demo.flags", "--epochs=2", f"--workdir={folder / name}", *size)
    return folder


def run(*command):
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True)


def test_the_same_seed_gives_the_same_bits(runs):
    first, second = ((runs / name / "metrics.csv").read_bytes() for name in ("a", "b"))
    assert first == second


def test_evaluates_exports_and_verifies(runs):
    run("evaluate.py", f"--workdir={runs / 'a'}", "--limit=64")
    run("-m", "export.saved_model", f"--workdir={runs / 'a'}", f"--output={runs / 'exported'}")
    run("-m", "export.verify", f"--model_dir={runs / 'exported'}")


def test_deterministic_operations_have_gradients():
    """A `cgc` step of deterministic operations: one without such a kernel is an error here."""
    device.make_deterministic(0)
    model = step.build(NETWORK, "cgc")
    assert np.isfinite(float(tf.function(model.train_step)(step.random_batch(BATCH))["loss"]))
