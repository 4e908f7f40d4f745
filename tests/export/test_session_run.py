"""An exported version under `Session::Run`, as TensorFlow Serving calls it: no input ends the process."""

import collections
import itertools
import pathlib
import pickle
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow
REPEATS = 2000
WORKER = pathlib.Path(__file__).parents[1] / "helpers/session_worker.py"
ENCODED = ("serving_default", "explain", "explain_class", "explain_checked", "overlay")
TENSORS = {"predict_tensor": "f4", "explain_tensor": "f4", "predict_tensor_uint8": "u1", "explain_tensor_uint8": "u1"}
SHAPES = [
    *[(), (8,), (8, 8), (64, 64, 3), (64, 64, 1), (1, 1, 64, 64, 3), (1,) * 9],  # another rank
    *[(1, 64, 64, 0), (1, 64, 64, 1), (1, 64, 64, 4), (1, 3, 64, 64)],  # other channels
    *[(0, 64, 64, 3), (0, 0, 0, 3), (1, 0, 0, 3), (1, 0, 8, 3), (1, 8, 0, 3), (0, 1 << 30, 1 << 20, 3)],  # nothing
]


def strings(*values):
    return np.array(values, object)


def wrong_calls(png):
    """Every signature with every wrong rank, dtype and size."""
    wrong = [strings(png).reshape(()), strings(png).reshape(1, 1), strings(png, png).reshape(2, 1, 1), strings()]
    wrong += [np.zeros([1], "f4"), np.zeros([1], "i4"), np.zeros([1, 48, 48, 3], "f4")]
    for signature, value in itertools.product(ENCODED, wrong):
        more = {"class_id": np.zeros(len(value) if value.ndim else 1, "i4")} if signature == "explain_class" else {}
        yield signature, {"image_bytes": value, **more}
    for shape, dtype in [((), "i4"), ((1, 1), "i4"), ((2,), "i4"), ((0,), "i4"), ((1,), "i8"), ((1,), "f4")]:
        yield "explain_class", {"image_bytes": strings(png), "class_id": np.zeros(shape, dtype)}
    for (signature, dtype), shape in itertools.product(TENSORS.items(), SHAPES):
        yield signature, {"images": np.zeros(shape, dtype)}
    for signature, dtype in TENSORS.items():
        yield signature, {"images": np.zeros([1, 48, 48, 3], "u1" if dtype == "f4" else "f4")}
    yield "predict_tensor_uint8", {"images": np.zeros([1, 6000, 6000, 3], "u1")}
    yield "explain_tensor_uint8", {"images": np.zeros([1, 6000, 6000, 3], "u1")}


def bad_examples(good):
    """`(signature, inputs)` of batches of which the second example, of three, is at fault."""
    image = np.random.default_rng(0).uniform(0, 255, [3, 48, 48, 3]).astype("f4")
    for class_id in (-1, 3, 2**31 - 1):
        yield "explain_class", {"image_bytes": strings(good, good, good), "class_id": np.array([0, class_id, 2], "i4")}
    for signature in ENCODED[:2] + ENCODED[3:]:
        yield signature, {"image_bytes": strings(good, b"no picture", good)}
    values = np.nan, np.inf, -np.inf, 3e38, 511, -256
    for signature, value in itertools.product(("predict_tensor", "explain_tensor"), values):
        images = image.copy()
        images[1, 7:40, 7:40] = value
        yield signature, {"images": images}


def pixels():
    """The smallest images there are."""
    for (signature, dtype), shape in itertools.product(TENSORS.items(), [(1, 1, 1, 3), (2, 1, 1, 3), (1, 2, 300, 3)]):
        yield signature, {"images": np.ones(shape, dtype)}


def mixed(files):
    """What eight threads ask at once: the fourth and the seventh are refused, the third and the fifth have blanks."""
    good, image = [path.read_bytes() for path in files], np.asarray(Image.open(files[0]).convert("RGB"))[None]
    return [
        ("serving_default", {"image_bytes": strings(*good)}),
        ("explain", {"image_bytes": strings(good[0])}),
        ("explain", {"image_bytes": strings(good[1], b"no picture")}),
        ("explain", {"image_bytes": strings(good[1]).reshape(1, 1)}),
        ("explain_class", {"image_bytes": strings(good[1]), "class_id": np.array([7], "i4")}),
        ("explain_tensor", {"images": image.astype("f4")}),
        ("predict_tensor_uint8", {"images": image[0]}),
        ("predict_tensor_uint8", {"images": image}),
    ]


@pytest.fixture(scope="module")
def calls(files):
    """{group: a list of `(signature, inputs)`}."""
    png = files[2].read_bytes()
    bad = list(bad_examples(png))
    others = [(signature, {name: value[[0, 2]] for name, value in inputs.items()}) for signature, inputs in bad]
    return {"wrong": list(wrong_calls(png)), "bad": bad, "others": others, "pixels": [*pixels()], "load": mixed(files)}


@pytest.fixture(scope="module")
def answers(exported, calls, tmp_path_factory):
    """{group: a list of `(status, outputs)`}, and "left", of one process."""
    folder = tmp_path_factory.mktemp("session")
    (folder / "calls").write_bytes(pickle.dumps(calls))
    command = [sys.executable, WORKER, exported, folder / "calls", folder / "answers", str(REPEATS)]
    run = subprocess.run(command, capture_output=True, text=True)
    found = collections.defaultdict(list)
    with (folder / "answers").open("rb") as file:
        while file.peek(1):
            group, answer = pickle.load(file)
            found[group].append(answer)
    count = {group: len(answers) for group, answers in found.items()}
    assert run.returncode == 0, f"ended after {count} with {run.returncode}: {run.stderr[-500:]}"
    return found


def test_every_wrong_input_is_an_invalid_argument(calls, answers):
    taken = [
        (signature, {name: (value.shape, value.dtype) for name, value in inputs.items()}, status)
        for (signature, inputs), (status, _) in zip(calls["wrong"], answers["wrong"], strict=True)
        if status != "InvalidArgumentError"
    ]
    assert not taken


def test_a_bad_example_is_blank_and_the_others_are_as_ever(calls, answers):
    for (signature, _), (status, outputs), (_, expected) in zip(
        calls["bad"], answers["bad"], answers["others"], strict=True
    ):
        assert status == "OK", signature
        for name, value in outputs.items():
            if value.dtype == object:
                assert set(np.ravel(value[1])) == {b""} and (value[[0, 2]] == expected[name]).all()
            else:
                empty = -1 if name.endswith("class_id") else 0
                assert (value[1] == empty).all(), (signature, name)
                np.testing.assert_allclose(value[[0, 2]], expected[name], atol=1e-5)


def test_one_pixel_is_enough(answers):
    for status, outputs in answers["pixels"]:
        assert status == "OK" and np.isfinite(outputs["probabilities"]).all()


def test_eight_threads_get_the_same_answers_and_leave_nothing(answers):
    assert [status for status, _ in answers["load"]].count("OK") == 6
    (left,) = answers["left"]
    assert left["different"] == 0
    assert left["memory"][1] < 1.05 * left["memory"][0]
    assert left["threads"][1] < left["threads"][0] + 8, left
