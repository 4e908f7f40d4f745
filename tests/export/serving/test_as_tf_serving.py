"""What TensorFlow Serving answered to 102 bodies, and answers to 42 requests, the loopback server answers too.

`data/serving/rest_bodies.json` was recorded from its own request parser over the model of `make_model.py`;
`rest_paths.json` was read from its sources. Where ours differs is told here and in docs/serving.md.
"""

import base64
import gzip
import http.client
import json
import runpy
import sys

import grpc
import pytest
import requests
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)
from toy_model import ROOT

from export.serving import monitoring
from export.serving.loopback import Server
from export.serving.versions import Model

FACTS = ROOT / "tests/testdata/serving"
BODIES = json.loads((FACTS / "rest_bodies.json").read_text())
PATHS = json.loads((FACTS / "rest_paths.json").read_text())
VALID = b'{"signature_name": "i32", "instances": [1]}'
DEEP = "[" * 10_000 + "]" * 10_000
LONG = {
    "deeply nested unrelated key": f'{{"signature_name": "i32", "x": {DEEP}, "instances": [1]}}',
    "signature_name deeply nested": f'{{"signature_name": {DEEP}, "instances": [1]}}',
    "batch of 1000": json.dumps({"signature_name": "i32", "instances": [*range(1000)]}),
}
DIFFERENT = {"deeply nested unrelated key": 400}  # {what: the loopback server's status}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A server of a signature for each kind of tensor."""
    root = tmp_path_factory.mktemp("tiny")
    argv = sys.argv
    try:
        sys.argv = ["make_model.py", str(root / "1")]
        runpy.run_path(str(FACTS / "make_model.py"))
    finally:
        sys.argv = argv
    with Server(Model(root, "tiny"), cors=True) as server:
        server.model_dir = root
        yield server


def ask(server, method, path, body=b"", headers=None, chunks=False):
    """`(status, text, headers)` of a request sent as it is: no library tidies its path or adds headers."""
    connection = http.client.HTTPConnection(server.rest_url.removeprefix("http://"), timeout=60)
    try:
        connection.request(method, path, iter([body[:9], body[9:]]) if chunks else body, headers or {})
        response = connection.getresponse()
        return response.status, response.read().decode(), response.headers
    finally:
        connection.close()


def values(text):
    """An answer's JSON, whose numbers stay as they are spelled."""
    return json.loads(text, parse_float=str, parse_int=str, parse_constant=str)


def test_the_facts_are_all_there():
    assert (len(BODIES), len(PATHS)) == (102, 42)
    told = (ROOT / "docs/serving.md").read_text()
    assert all(what in told for what in DIFFERENT)


@pytest.mark.parametrize("fact", BODIES, ids=[fact["what"] for fact in BODIES])
def test_a_body_is_answered_as_by_tensorflow_serving(tiny, fact):
    body = fact.get("body", LONG.get(fact["what"], "")).encode()
    if "body_base64" in fact:
        body = base64.b64decode(fact["body_base64"])
    status, text, _ = ask(tiny, "POST", "/v1/models/tiny:predict", body)
    assert status == DIFFERENT.get(fact["what"], fact["status"]), text
    if status != 200:
        assert list(json.loads(text)) == ["error"] and "\n" not in text
    elif fact["what"] == "batch of 1000":  # what was written down is cut off
        assert values(text) == {"predictions": [*map(str, range(1000))]}
    else:
        assert values(text) == values(fact["answer"])


@pytest.mark.parametrize("fact", PATHS, ids=[fact["what"] for fact in PATHS])
def test_a_path_is_answered_as_by_tensorflow_serving(tiny, fact):
    body = {"gzip of the valid body": gzip.compress(VALID), "the valid body in two chunks": VALID}.get(
        fact.get("body"), fact.get("body", "").encode()
    )
    chunks = fact["what"] == "chunked body"
    status, text, headers = ask(tiny, fact["method"], fact["path"], body, fact.get("headers"), chunks)
    assert status == fact["status"], text
    assert headers.get("Content-Encoding") is None
    if status == 400 and "Malformed" in text:
        assert json.loads(text) == {"error": f"Malformed request: {fact['method']} {fact['path']}"}


def test_a_gzip_body_that_unpacks_to_too_much_is_refused(tiny):
    for body in (gzip.compress(bytes(65 << 20)), gzip.compress(VALID)[:-9], b"no gzip"):
        status, text, _ = ask(tiny, "POST", "/v1/models/tiny:predict", body, {"Content-Encoding": "gzip"})
        assert status == 400 and ("gzip" in text or "cut off" in text)


def test_a_page_of_another_origin_may_ask_only_where_it_is_let(tiny, server):
    asked = {"Origin": "http://a.example", "Access-Control-Request-Method": "POST"}
    for method in ("OPTIONS", "POST"):
        headers = ask(tiny, method, "/v1/models/tiny:predict", VALID, asked)[2]
        assert headers["Access-Control-Allow-Origin"] == "*"
        assert ask(server, method, "/v1/models/cgc:predict", VALID, asked)[2]["Access-Control-Allow-Origin"] is None


def test_metadata_has_its_default_fields(tiny):
    answer = requests.get(f"{tiny.rest_url}/v1/models/tiny/metadata", timeout=20).json()
    assert answer["model_spec"] == {"name": "tiny", "version": "1", "signature_name": ""}
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    shape = {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}
    assert signatures["i32"]["inputs"]["x"]["tensor_shape"] == shape
    assert signatures["i32"]["defaults"] == {}
    assert signatures["scalar"]["inputs"]["x"]["tensor_shape"] == {"dim": [], "unknown_rank": False}
    assert signatures["anyrank"]["inputs"]["x"]["tensor_shape"] == {"dim": [], "unknown_rank": True}


def test_prometheus_has_its_labels_and_buckets(tiny):
    with grpc.insecure_channel(tiny.grpc_url.removeprefix("grpc://")) as channel:
        prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(predict_request("scalar", float_val=[1.5]))
    ask(tiny, "POST", "/v1/models/tiny:predict", VALID)
    text = requests.get(f"{tiny.rest_url}/monitoring/prometheus/metrics", timeout=20).text
    assert ':tensorflow:serving:request_count{model_name="tiny",status="OK"} ' in text
    for api, entrypoint in (("predict", "REST"), ("Predict", "GRPC")):
        labels = f'model_name="tiny",API="{api}",entrypoint="{entrypoint}"'
        found = [line for line in text.splitlines() if line.startswith(f"{monitoring.LATENCY}_bucket{{{labels}")]
        bounds = [line.partition('le="')[2].partition('"')[0] for line in found]
        assert bounds[:3] == ["10", "18", "32.4"] and bounds[-1] == "+Inf" and len(bounds) == 34


def predict_request(signature, **values):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "tiny", signature
    request.inputs["x"].dtype = types_pb2.DT_FLOAT
    for name, value in values.items():
        getattr(request.inputs["x"], name).extend(value)
    return request


def test_grpc_answers_in_typed_fields(tiny):
    """As the official `resnet_client_grpc` reads them; in bytes where the server is told so."""
    request = predict_request("anyrank", float_val=[1.5, 2.5, 3.5])
    request.inputs["x"].tensor_shape.dim.add(size=3)
    with Server(Model(tiny.model_dir, "tiny"), tensor_content=True) as packed:
        for server, fields in ((tiny, [1.5, 2.5, 3.5]), (packed, [])):
            with grpc.insecure_channel(server.grpc_url.removeprefix("grpc://")) as channel:
                stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
                answer = stub.Predict(request).outputs["y"]
                assert (list(answer.float_val), bool(answer.tensor_content)) == (fields, not fields)


def test_a_number_that_does_not_fit_is_an_invalid_argument_over_grpc(tiny):
    request = predict_request("u8", int_val=[300])
    request.inputs["x"].dtype = types_pb2.DT_UINT8
    request.inputs["x"].tensor_shape.dim.add(size=1)
    with grpc.insecure_channel(tiny.grpc_url.removeprefix("grpc://")) as channel:
        with pytest.raises(grpc.RpcError) as error:
            prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request)
        assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_grpc_without_a_model_is_an_invalid_argument(tiny):
    unnamed = predict_pb2.PredictRequest()
    unnamed.model_spec.signature_name = "i32"
    with grpc.insecure_channel(tiny.grpc_url.removeprefix("grpc://")) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        status = model_service_pb2_grpc.ModelServiceStub(channel)
        for method, request in [
            (stub.Predict, predict_pb2.PredictRequest()),
            (stub.Predict, unnamed),
            (stub.GetModelMetadata, get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])),
            (status.GetModelStatus, get_model_status_pb2.GetModelStatusRequest()),
        ]:
            with pytest.raises(grpc.RpcError) as error:
                method(request)
            assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert "ModelSpec" in error.value.details()
