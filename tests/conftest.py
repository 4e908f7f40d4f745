"""One seed, one TensorFlow configuration, and small real data for every test.

What loads TensorFlow is imported where it is used: pytest-xdist's first process, which runs no test, starts the others
without.
"""

import collections
import csv
import gc
import os
import pathlib
import shutil

import filelock
import numpy as np
import pytest
from PIL import Image
from programs import Programs

DATA = pathlib.Path(__file__).parent / "testdata"
CLASSES = (0, 3, 6)


def pytest_configure(config):
    if config.getoption("numprocesses", None):
        return  # pytest-xdist's first process
    import cgc_tf.common.quiet_tensorflow  # noqa: F401  # isort: skip
    import tensorflow as tf

    # Before anything runs, as `device.make_deterministic` wants it.
    tf.config.threading.set_inter_op_parallelism_threads(1)


@pytest.hookimpl(tryfirst=True)  # before those are left out that the command line does not ask for
def pytest_collection_modifyitems(items):
    """Files that take longest first, so that no process is left alone with one at the end of `make test-all`.

    A slow test counts as ten seconds, unless its mark says otherwise: `@pytest.mark.slow(seconds=120)`.
    """
    mark_all_but_the_first(items)
    seconds = collections.Counter()
    for item in items:
        if mark := item.get_closest_marker("slow"):
            seconds[item.path] += mark.kwargs.get("seconds", 10)
    items.sort(key=lambda item: -seconds[item.path])


def mark_all_but_the_first(items):
    """Makes each case of a `sampled` test slow but its first."""
    seen = set()
    for item in items:
        name = item.path, item.originalname
        if item.get_closest_marker("sampled") and name in seen:
            item.add_marker("slow")
        seen.add(name)


@pytest.fixture(autouse=True)
def _seeded():
    import keras

    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True, scope="module")
def _collected():
    """Takes down what the tests of a module leave. Of many modules at once, TensorFlow's graphs took a minute."""
    yield
    gc.collect()
    gc.freeze()  # what is left stays, and need not be looked through again


@pytest.fixture(scope="session")
def golden_folder():
    """Where small recorded facts and files lie."""
    return DATA


@pytest.fixture(scope="session")
def golden():
    """Values computed by the reference implementation: `golden("cgc_loss")["loss"]`."""
    return lambda name: dict(np.load(DATA / f"{name}.npz"))


def draw_pictures(root, counts):
    """Writes DIR/{split}/<class>/*.{jpg,png} of three classes, of several sizes, and boxes.csv; returns the folder."""
    from cgc_tf.data.datasets.toy_aircraft import drawing

    root.mkdir()
    with (root / "boxes.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "ymin", "xmin", "ymax", "xmax"])
        for split, count in counts.items():
            for label in CLASSES:
                folder = root / split / drawing.CLASSES[label]
                folder.mkdir(parents=True)
                for index in range(count):
                    rng = np.random.default_rng([len(split), label, index])
                    image, mask = drawing.draw(rng, label, index % 8)
                    size = [(128, 128), (160, 120), (100, 140)][index % 3]
                    path = folder / f"{index:03d}.{'png' if index % 4 == 3 else 'jpg'}"
                    Image.fromarray(image).resize(size).save(path)
                    rows.writerow([path.relative_to(root).as_posix(), *drawing.bounding_box(mask)])
    return root


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """Makes a folder once for all processes of a test run, which only read it: `once("name", make)`."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent

    def once(name, make):
        with filelock.FileLock(root / f"{name}.lock"):
            if not (root / f"{name}.made").exists():
                make(root / name)
                (root / f"{name}.made").touch()
        return root / name

    return once


@pytest.fixture(scope="session")
def pictures(once):
    """A folder of real JPEG and PNG files: 24 to train on, 12 to test on, with boxes."""
    return once("pictures", lambda folder: draw_pictures(folder, {"train": 8, "test": 4}))


@pytest.fixture(scope="session")
def draw_folder():
    """`draw_pictures` itself: `draw_folder(path, {"train": 8, "test": 4})`."""
    return draw_pictures


@pytest.fixture(scope="session")
def small_config(pictures):
    """A configuration that trains in seconds."""
    from cgc_tf.training import config

    return config.Config(
        dataset="folder",
        data_dir=str(pictures),
        backbone="resnet8",
        image_size=48,
        epochs=2,
        batch_size=8,
        validation_examples=12,
    )


@pytest.fixture(scope="session")
def unevaluated(small_config, once):
    """A run trained on `pictures`, as training left it: it is only read."""
    from cgc_tf.training import train

    return once("small", lambda folder: train.train(small_config, folder))


@pytest.fixture(scope="session")
def workdir(unevaluated, tmp_path_factory):
    """A copy of `unevaluated` of this process's own, which tests evaluate."""
    return shutil.copytree(unevaluated, tmp_path_factory.mktemp("runs") / "small")


@pytest.fixture(scope="session")
def exported(unevaluated, once):
    """The first version of `unevaluated` as a SavedModel, alone in its folder."""
    from export import saved_model

    return once("exported", lambda folder: saved_model.export(unevaluated, folder)) / "1"


@pytest.fixture(scope="session")
def programs(tmp_path_factory):
    """Starts programs as a user does, but with TensorFlow loaded already: `programs.run("train.py", "--help")`."""
    started = Programs(tmp_path_factory.mktemp("programs"))
    yield started
    started.close()


@pytest.fixture(scope="session")
def files(pictures):
    """Three test pictures of three sizes, JPEG and PNG."""
    return [pictures / f"test/red_wings/{name}" for name in ("000.jpg", "001.jpg", "003.png")]


@pytest.fixture(scope="module")
def browser():
    """A real headless browser, playwright's `Browser`; what needs one is skipped where there is none."""
    from playwright import sync_api

    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_api.sync_playwright() as playwright:
        try:
            opened = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        except sync_api.Error as error:
            pytest.skip(f"no browser: install chromium ({str(error).splitlines()[0]})")
        yield opened
        opened.close()
