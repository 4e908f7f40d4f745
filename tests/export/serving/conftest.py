"""One server of two versions of a small model, for the tests of every protocol."""

import io

import grpc
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import prediction_service_pb2_grpc
from toy_model import LABELS, write_version

from export.serving.loopback import Server
from export.serving.versions import Model


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory):
    """Versions 2 and 10, so that the highest number is not the last name."""
    root = tmp_path_factory.mktemp("models")
    (root / "labels.txt").write_text("".join(f"{label}\n" for label in LABELS))
    for version in (2, 10):
        write_version(root, version)
    (root / "notes").mkdir()
    return root


@pytest.fixture(scope="session")
def server(model_dir):
    with Server(Model(model_dir)) as running:
        yield running


@pytest.fixture(scope="session")
def stub(server):
    with grpc.insecure_channel(server.grpc_url.removeprefix("grpc://")) as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(scope="session")
def pictures():
    """Encoded pictures of several sizes and both formats."""
    noise = np.random.default_rng(0)
    encoded = []
    for size, kind in [((60, 40), "PNG"), ((33, 91), "JPEG"), ((8, 8), "PNG")]:
        color = noise.integers(0, 255, 3)
        pixels = np.clip(noise.normal(color, 40, (*size, 3)), 0, 255).astype(np.uint8)
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, kind)
        encoded.append(stream.getvalue())
    return encoded


@pytest.fixture(scope="session")
def expected(model_dir, pictures):
    """What the SavedModel answers when it is called directly."""
    loaded = tf.saved_model.load(str(model_dir / "10"))
    answer = loaded.signatures["explain"](image_bytes=tf.constant(pictures))
    answer = {name: value.numpy() for name, value in answer.items()}
    for name in ("label", "top5_label"):
        answer[name] = np.char.decode(answer[name].astype(bytes), "utf-8")
    return answer
