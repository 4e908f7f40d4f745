"""The server and the client over real sockets, against a small SavedModel called directly."""

import base64
import io
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from cgc_tf.errors import UserError
from export.client import Client
from export.servable import Servable
from export.server import MAX_BYTES, Server

ROOT = pathlib.Path(__file__).parent.parent
CLASSES, HEATMAP = 6, 7
PREDICTIONS = {"probabilities", "class_id", "score", "label"}
EXPLANATIONS = PREDICTIONS | {"heatmap", "heatmap_box"}


class Classifier(tf.Module):
    """The signatures that `export.saved_model` writes, over a linear model of mean colours."""

    def __init__(self, seed):
        super().__init__()
        self.weights = tf.Variable(tf.random.stateless_normal([3, CLASSES], [seed, 1]) * 9)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")])
    def explain(self, image_bytes):
        def look(data):
            image = tf.io.decode_image(data, channels=3, expand_animations=False)
            return tf.image.resize(tf.cast(image, tf.float32) / 255, [HEATMAP, HEATMAP])

        pixels = tf.map_fn(look, image_bytes, fn_output_signature=tf.float32)
        pixels = tf.ensure_shape(pixels, [None, HEATMAP, HEATMAP, 3])
        probabilities = tf.nn.softmax(tf.reduce_mean(pixels, [1, 2]) @ self.weights)
        class_id = tf.argmax(probabilities, -1, tf.int32)
        return {
            "probabilities": probabilities,
            "class_id": class_id,
            "score": tf.reduce_max(probabilities, -1),
            "label": tf.gather(tf.constant(["ä", "b", "c", "d", "e", "f"]), class_id),
            "heatmap": tf.reduce_mean(pixels, -1),
            "heatmap_box": tf.tile([[0.0, 0.25, 1.0, 0.75]], [tf.size(class_id), 1]),
        }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")])
    def serving_default(self, image_bytes):
        answer = self.explain(image_bytes)
        return {name: answer[name] for name in sorted(PREDICTIONS)}

    @tf.function(input_signature=[tf.TensorSpec([None, 2]), tf.TensorSpec([None], tf.int32)])
    def add(self, a, b):
        return {"total": tf.reduce_sum(a, -1) + tf.cast(b, tf.float32)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")])
    def echo(self, text):
        return {"echo_bytes": text, "length": tf.reshape(tf.size(text), [1])}


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    """Versions 2 and 10, so that the highest number is not the last name."""
    root = tmp_path_factory.mktemp("models")
    for version in (2, 10):
        module = Classifier(seed=version)
        names = ("serving_default", "explain", "add", "echo")
        signatures = {name: getattr(module, name) for name in names}
        tf.saved_model.save(module, str(root / str(version)), signatures)
    (root / "notes").mkdir()
    return root


@pytest.fixture(scope="module")
def server(model_dir):
    with Server(Servable(model_dir)) as running:
        yield running


@pytest.fixture(scope="module")
def stub(server):
    with grpc.insecure_channel(server.grpc_url.removeprefix("grpc://")) as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(scope="module")
def pictures():
    """Encoded pictures of several sizes and both formats."""
    noise = np.random.default_rng(0)
    encoded = []
    for size, kind in [((60, 40), "PNG"), ((33, 91), "JPEG"), ((8, 8), "PNG")]:
        colour = noise.integers(0, 255, 3)
        pixels = np.clip(noise.normal(colour, 40, (*size, 3)), 0, 255).astype(np.uint8)
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, kind)
        encoded.append(stream.getvalue())
    return encoded


@pytest.fixture(scope="module")
def expected(model_dir, pictures):
    """What the SavedModel answers when it is called directly."""
    loaded = tf.saved_model.load(str(model_dir / "10"))
    answer = loaded.signatures["explain"](image_bytes=tf.constant(pictures))
    answer = {name: value.numpy() for name, value in answer.items()}
    answer["label"] = np.char.decode(answer["label"].astype(bytes), "utf-8")
    return answer


def b64(data):
    return {"b64": base64.b64encode(data).decode()}


def post(server, body, path="/v1/models/cgc:predict"):
    body = body if isinstance(body, bytes | str) else json.dumps(body)
    response = requests.post(server.rest_url + path, data=body, timeout=20)
    return response.status_code, response.json()


def request_for(images, signature="", **spec):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = spec.get("name", "cgc")
    request.model_spec.signature_name = signature
    if "version" in spec:
        request.model_spec.version.value = spec["version"]
    request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(images))
    return request


def assert_same(answer, expected, names):
    assert set(answer) == names
    for name, value in answer.items():
        assert value.shape == expected[name].shape
        assert value.dtype == expected[name].dtype
        if value.dtype.kind == "f":
            np.testing.assert_allclose(value, expected[name], atol=1e-6)
        else:
            np.testing.assert_array_equal(value, expected[name])


@pytest.mark.parametrize("protocol", ["rest_url", "grpc_url"])
def test_client_gets_what_the_saved_model_answers(server, pictures, expected, protocol):
    client = Client(getattr(server, protocol))
    assert_same(client.explain(pictures), expected, EXPLANATIONS)
    assert_same(client.predict(pictures), expected, PREDICTIONS)


# REST


def test_row_format_takes_bare_and_named_values(server, pictures, expected):
    rows = [b64(pictures[0]), {"image_bytes": b64(pictures[1])}, b64(pictures[2])]
    status, answer = post(server, {"signature_name": "explain", "instances": rows})
    assert status == 200
    assert len(answer["predictions"]) == len(rows)
    assert all(set(row) == EXPLANATIONS for row in answer["predictions"])
    assert [row["label"] for row in answer["predictions"]] == expected["label"].tolist()
    heatmaps = [row["heatmap"] for row in answer["predictions"]]
    np.testing.assert_allclose(heatmaps, expected["heatmap"], atol=1e-6)


def test_column_format_takes_bare_and_named_values(server, pictures):
    values = [b64(picture) for picture in pictures]
    named = post(server, {"inputs": {"image_bytes": values}}, "/v1/models/cgc/versions/10:predict")
    assert named[0] == 200
    assert set(named[1]["outputs"]) == PREDICTIONS
    assert post(server, {"inputs": values}) == named


def test_several_inputs_and_a_single_output(server):
    add = {"signature_name": "add"}
    rows = [{"a": [1, 2.5], "b": 3}, {"a": [0, 0], "b": -1}]
    assert post(server, add | {"instances": rows}) == (200, {"predictions": [6.5, -1.0]})
    columns = {"a": [[1, 2.5], [0, 0]], "b": [3, -1]}
    assert post(server, add | {"inputs": columns}) == (200, {"outputs": [6.5, -1.0]})


def test_strings_are_text_or_bytes_by_the_name_of_the_output(server):
    request = {"signature_name": "echo", "inputs": ["é", b64(b"\xff\x00")]}
    outputs = {"echo_bytes": [b64("é".encode()), b64(b"\xff\x00")], "length": [2]}
    assert post(server, request) == (200, {"outputs": outputs})


def test_status_and_metadata(server):
    url = f"{server.rest_url}/v1/models/cgc"
    ready = {"version": "10", "state": "AVAILABLE"}
    ready["status"] = {"error_code": "OK", "error_message": ""}
    assert requests.get(url, timeout=20).json() == {"model_version_status": [ready]}
    assert requests.get(f"{url}/versions/10", timeout=20).status_code == 200
    metadata = requests.get(f"{url}/metadata", timeout=20).json()
    assert metadata["model_spec"] == {"name": "cgc", "version": "10"}
    signature = metadata["metadata"]["signature_def"]["signature_def"]["explain"]
    assert signature["inputs"]["image_bytes"]["dtype"] == "DT_STRING"
    assert set(signature["outputs"]) == EXPLANATIONS


DEEP = "[" * 900 + "1" + "]" * 900
BAD_BODIES = {
    "empty": b"",
    "truncated": b'{"instances": [',
    "not utf-8": b'{"instances": ["\xff"]}',
    "nested beyond the parser": b"[" * 100_000,
    "not an object": b"[1]",
    "neither": {},
    "both": {"instances": ["a"], "inputs": ["a"]},
    "signature not a string": {"signature_name": 3, "instances": ["a"]},
    "unknown signature": {"signature_name": "nope", "instances": ["a"]},
    "instances not a list": {"instances": "a"},
    "no instances": {"instances": []},
    "unknown input": {"instances": [{"picture": "a"}]},
    "unknown input column": {"inputs": {"picture": ["a"]}},
    "number for bytes": {"instances": [3]},
    "null for bytes": {"instances": [None]},
    "list for bytes": {"instances": [["a"]]},
    "scalar for a batch": {"inputs": "a"},
    "not base64": {"instances": [{"b64": "?"}]},
    "base64 of a number": {"instances": [{"b64": 3}]},
    "lone surrogate": b'{"instances": ["\\ud800"]}',
    "not a picture": {"instances": [{"b64": "AAAA"}]},
    "missing input": {"signature_name": "add", "instances": [{"a": [1, 2]}]},
    "bare value for two inputs": {"signature_name": "add", "inputs": [1]},
    "fraction for an integer": {"signature_name": "add", "instances": [{"a": [1, 2], "b": 0.5}]},
    "integer too large": {"signature_name": "add", "instances": [{"a": [1, 2], "b": 1 << 40}]},
    "ragged": {"signature_name": "add", "inputs": {"a": [[1, 2], [3]], "b": [1, 2]}},
    "nested beyond TensorFlow": f'{{"signature_name": "add", "inputs": {{"a": {DEEP}, "b": [1]}}}}',
    "outputs without rows": {"signature_name": "echo", "instances": ["a", "b"]},
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
def test_bad_body_is_400_with_one_line(server, body):
    status, answer = post(server, body)
    assert status == 400
    assert list(answer) == ["error"]
    assert 5 < len(answer["error"]) < 200
    assert "\n" not in answer["error"]


@pytest.mark.parametrize(
    "path",
    ["/v1/models/other:predict", "/v1/models/cgc/versions/2:predict", "/v1/models/cgc:run", "/"],
)
def test_unknown_model_version_or_path_is_404(server, path):
    status, answer = post(server, {"instances": ["a"]}, path)
    assert status == 404
    assert list(answer) == ["error"]
    response = requests.get(server.rest_url + path.replace(":predict", ""), timeout=20)
    assert response.status_code == 404


@pytest.mark.parametrize(
    "header",
    [f"Content-Length: {MAX_BYTES + 1}", "Content-Length: -3", "Transfer-Encoding: chunked"],
)
def test_broken_and_oversized_requests_leave_the_server_serving(server, header):
    address = server.rest_url.removeprefix("http://").split(":")
    with socket.create_connection(address, timeout=20) as connection:
        head = f"POST /v1/models/cgc:predict HTTP/1.1\r\nHost: a\r\n{header}\r\n\r\n"
        connection.sendall(head.encode() + b"no chunk size\r\n\r\n")
        assert re.match(rb"HTTP/1.1 4\d\d ", connection.recv(100))
    with socket.create_connection(address, timeout=20) as connection:
        connection.sendall(b"POST /v1/models/cgc:predict HTTP/1.1\r\nContent-Length: 99\r\n\r\n{")
    assert requests.get(f"{server.rest_url}/v1/models/cgc", timeout=20).status_code == 200


# gRPC


def test_grpc_echoes_the_model_and_filters_outputs(stub, pictures, expected):
    request = request_for(pictures, "explain")
    request.output_filter.extend(["score", "heatmap"])
    answer = stub.Predict(request)
    spec = answer.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("cgc", 10, "explain")
    outputs = {name: tf.make_ndarray(proto) for name, proto in answer.outputs.items()}
    assert_same(outputs, expected, {"score", "heatmap"})
    assert stub.Predict(request_for(pictures)).model_spec.signature_name == "serving_default"


def _filtered():
    request = request_for([b"a"])
    request.output_filter.append("nope")
    return request


def _extra_input():
    request = request_for([b"a"])
    request.inputs["more"].CopyFrom(tf.make_tensor_proto([1]))
    return request


def _labelled():
    request = request_for([b"a"])
    request.model_spec.version_label = "stable"
    return request


def _without_input():
    request = request_for([b"a"])
    request.inputs.clear()
    return request


def _shaped(*sizes):
    """A tensor whose shape asks for more than its one value."""
    request = request_for([b"a"])
    shape = tf.TensorShape(sizes).as_proto()
    request.inputs["image_bytes"].tensor_shape.CopyFrom(shape)
    return request


BAD_REQUESTS = {
    "unknown model": (request_for([b"a"], name="other"), "NOT_FOUND"),
    "unknown version": (request_for([b"a"], version=2), "NOT_FOUND"),
    "unknown label": (_labelled(), "INVALID_ARGUMENT"),
    "unknown signature": (request_for([b"a"], "nope"), "FAILED_PRECONDITION"),
    "missing input": (_without_input(), "INVALID_ARGUMENT"),
    "unknown input": (_extra_input(), "INVALID_ARGUMENT"),
    "unknown output": (_filtered(), "INVALID_ARGUMENT"),
    "wrong dtype": (request_for([1.0]), "INVALID_ARGUMENT"),
    "wrong rank": (request_for([[b"a"]]), "INVALID_ARGUMENT"),
    "huge shape": (_shaped(1 << 40), "INVALID_ARGUMENT"),
    "open shape": (_shaped(None), "INVALID_ARGUMENT"),
    "high rank": (_shaped(*[1] * 60), "INVALID_ARGUMENT"),
    "empty huge shape": (_shaped(0, 1 << 40, 1 << 40), "INVALID_ARGUMENT"),
    "not a picture": (request_for([b"no picture"]), "INVALID_ARGUMENT"),
}


@pytest.mark.parametrize(("request_", "code"), BAD_REQUESTS.values(), ids=BAD_REQUESTS)
def test_bad_grpc_request_has_its_code_and_one_line(stub, request_, code):
    with pytest.raises(grpc.RpcError) as error:
        stub.Predict(request_)
    assert error.value.code().name == code
    assert "\n" not in error.value.details()


def test_grpc_status_and_metadata(server, stub):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "cgc"
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert stub.GetModelMetadata(request).metadata["signature_def"].Unpack(signatures)
    assert {"serving_default", "explain"} <= set(signatures.signature_def)
    with grpc.insecure_channel(server.grpc_url.removeprefix("grpc://")) as channel:
        service = model_service_pb2_grpc.ModelServiceStub(channel)
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=request.model_spec)
        (version,) = service.GetModelStatus(request).model_version_status
    assert version.version == 10
    assert version.state == get_model_status_pb2.ModelVersionStatus.AVAILABLE


# Lifetime and command lines


def test_stop_frees_the_ports_and_a_taken_port_is_refused(model_dir):
    model = Servable(model_dir, "pets")
    with Server(model) as first:
        taken = int(first.rest_url.rpartition(":")[2]), int(first.grpc_url.rpartition(":")[2])
        session = requests.Session()  # keeps its connection open, which must not hold up `stop`
        assert session.get(f"{first.rest_url}/v1/models/pets", timeout=20).status_code == 200
        with pytest.raises(UserError, match="cannot listen"):
            Server(model, rest_port=taken[0])
        with pytest.raises(UserError, match="cannot listen"):
            Server(model, grpc_port=taken[1])
    with Server(model, rest_port=taken[0], grpc_port=taken[1]) as second:
        assert requests.get(f"{second.rest_url}/v1/models/pets", timeout=20).status_code == 200


def start(module, *args, cwd=None):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", module, *map(str, args)]
    return subprocess.Popen(command, cwd=cwd, env=environment, stdout=-1, stderr=-1, text=True, encoding="utf-8")


def test_server_process_serves_until_told_to_end_or_refuses(model_dir, pictures, tmp_path):
    # Both at once, since most of their time is TensorFlow's import.
    serving = start("export.server", f"--model_dir={model_dir}", "--rest_port=0", "--grpc_port=0")
    refusing = start("export.server", f"--model_dir={tmp_path}")
    try:
        urls = re.findall(r"http://[\d.:]+|grpc://[\d.:]+", serving.stdout.readline() + serving.stdout.readline())
        assert len(urls) == 2, serving.communicate()
        by_rest, by_grpc = (Client(url).explain(pictures) for url in urls)
        assert_same(by_rest, by_grpc, EXPLANATIONS)
        serving.send_signal(signal.SIGTERM)
        _, err = serving.communicate(timeout=20)
        assert serving.returncode == 0
        assert "Traceback" not in err

        out, err = refusing.communicate(timeout=60)
        assert (refusing.returncode, out) == (2, "")
        assert "Traceback" not in err
        assert re.fullmatch("error: .* holds no version.*", err.splitlines()[-1])
    finally:
        for process in (serving, refusing):
            process.kill()
            process.communicate()


def test_model_refuses_a_broken_version(tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"not a protobuf")
    with pytest.raises(UserError, match="cannot load"):
        Servable(tmp_path)


def test_client_command_line_draws_the_picture_at_its_own_size(server, pictures, tmp_path):
    (tmp_path / "cat.jpg").write_bytes(pictures[1])
    process = start("export.client", "--image=cat.jpg", f"--url={server.rest_url}", cwd=tmp_path)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert len(re.findall(r"^ +\d+ +0\.\d{4}$", out, re.MULTILINE)) == 5
    assert "wrote cat-explained.png" in out
    with Image.open(tmp_path / "cat-explained.png") as drawn:
        assert (drawn.format, drawn.size, drawn.mode) == ("PNG", (91, 33), "RGB")


CLIENT_MISTAKES = {
    "no such file": (["--image=none.png"], "none.png"),
    "no server": (["--image=good.png", "--url=http://127.0.0.1:1"], "is the server running"),
    "bad picture": (["--image=bad.png"], "image file format"),
    "unwritable": (["--image=good.png", "--output=no/such/folder.png"], "folder.png"),
}


@pytest.mark.parametrize(("args", "match"), CLIENT_MISTAKES.values(), ids=CLIENT_MISTAKES)
def test_client_mistakes_are_one_line(server, pictures, tmp_path, args, match):
    (tmp_path / "good.png").write_bytes(pictures[0])
    (tmp_path / "bad.png").write_bytes(b"no picture")
    process = start("export.client", f"--url={server.rest_url}", *args, cwd=tmp_path)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "Traceback" not in err
    assert re.search(match, err.strip())
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("protocol", ["rest_url", "grpc_url"])
def test_client_says_what_the_server_refused(server, pictures, protocol):
    url = getattr(server, protocol)
    with pytest.raises(UserError, match=r"(404|NOT_FOUND): no model other"):
        Client(url, "other").explain(pictures)
    with pytest.raises(UserError, match=r"(400|FAILED_PRECONDITION): no signature nope"):
        Client(url).predict(pictures, "nope")
    with pytest.raises(UserError, match=r"(400|INVALID_ARGUMENT): Unknown image file format"):
        Client(url).explain([b"no picture"])


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "grpc://127.0.0.1:1", "127.0.0.1:8501"])
def test_client_without_a_server_is_a_user_error(pictures, url):
    with pytest.raises(UserError, match=url):
        Client(url).explain(pictures)
