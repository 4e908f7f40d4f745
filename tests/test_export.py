"""Train, export, serve and ask: the SavedModel elsewhere, and over real sockets."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from cgc_tf import data, folder, runs
from cgc_tf.errors import UserError
from export import saved_model
from export.client import Client
from export.servable import Servable
from export.server import Server

ELSEWHERE = """
import json, sys
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
pictures = tf.constant([open(path, "rb").read() for path in sys.argv[2:]])
answer = {name: model.signatures[name](image_bytes=pictures) for name in ("serving_default", "explain")}
assert not any(name.split(".")[0] in ("cgc_tf", "export") for name in sys.modules)
decode = lambda array: [x.decode() for x in array] if array.dtype == object else array.tolist()
print(json.dumps({name: {key: decode(value.numpy()) for key, value in each.items()} for name, each in answer.items()}))
"""


@pytest.fixture(scope="module")
def exported(workdir, tmp_path_factory):
    return saved_model.export(workdir, tmp_path_factory.mktemp("exported"))


@pytest.fixture(scope="module")
def files(pictures):
    """Three test pictures of three sizes, JPEG and PNG."""
    return [pictures / f"test/red_wings/{name}" for name in ("000.jpg", "001.jpg", "003.png")]


@pytest.fixture(scope="module")
def expected(workdir, small_config, files):
    """What the trained model itself answers."""
    model = runs.trained_model(small_config, workdir)
    views = [data.original_view(folder.decode_image(path.read_bytes()), 48) for path in files]
    answer = model.explain(tf.stack([view for view, _ in views]))
    heatmap = answer["heatmap"] / tf.reduce_max(answer["heatmap"], [1, 2], keepdims=True)
    return {
        "probabilities": answer["probabilities"],
        "class_id": answer["class_id"],
        "score": tf.reduce_max(answer["probabilities"], -1),
        "heatmap": heatmap,
        "heatmap_box": tf.stack([box for _, box in views]),
    }


def check(answer, expected, names=None):
    for name in names or expected:
        np.testing.assert_allclose(answer[name], expected[name], atol=1e-5, err_msg=name)


def test_same_numbers_in_a_process_without_this_package(exported, files, expected, workdir, tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, exported, *files], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    answer = json.loads(run.stdout)
    check(answer["explain"], expected)
    check(answer["serving_default"], expected, ["probabilities", "class_id", "score"])
    assert set(answer["serving_default"]) == {"probabilities", "class_id", "score", "label"}
    names = runs.class_names(workdir)
    assert answer["explain"]["label"] == [names[i] for i in expected["class_id"]]


def test_artifact(exported, workdir):
    """A numbered version, no partial one beside it, and weights stored once."""
    assert exported.name == "1" and [entry.name for entry in exported.parent.iterdir()] == ["1"]
    weights = sum(
        4 * int(np.prod(shape))
        for name, shape in tf.train.list_variables(str(exported / "variables/variables"))
        if name != "_CHECKPOINTABLE_OBJECT_GRAPH"
    )
    model_bytes = 4 * runs.trained_model(saved_model.settings.Config.load(workdir), workdir).count_params()
    assert weights == model_bytes
    second = saved_model.export(workdir, exported.parent)
    assert second.name == "2"


def test_serve_and_ask(exported, files, expected, tmp_path):
    """REST and gRPC answer what the model does, and the client's program draws it."""
    with Server(Servable(exported.parent)) as server:
        for url in (server.rest_url, server.grpc_url):
            check(Client(url).explain([path.read_bytes() for path in files]), expected)
            output = tmp_path / "drawn.png"
            run = subprocess.run(
                [sys.executable, "-m", "export.client", f"--image={files[1]}", f"--url={url}", f"--output={output}"],
                cwd=pathlib.Path(__file__).parent.parent, capture_output=True, text=True, check=True,
            )  # fmt: skip
            assert "score" in run.stdout
            with Image.open(output) as drawn, Image.open(files[1]) as picture:
                assert drawn.size == picture.size
                assert (np.asarray(drawn) != np.asarray(picture)).any()
            output.unlink()


def test_what_cannot_be_exported(tmp_path, workdir):
    with pytest.raises(UserError, match="is no workdir"):
        saved_model.export(tmp_path, tmp_path / "out")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        saved_model.export(workdir, tmp_path / "file")
