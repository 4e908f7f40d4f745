"""TF Serving's REST protocol over real sockets."""

import json

import numpy as np
import pytest
import requests
from toy_model import EXPLANATIONS, LABELS, PREDICTIONS, b64, post

from export.serving.loopback import Server
from export.serving.versions import Model


def test_row_format_takes_bare_or_named_values(server, pictures, expected):
    rows = [b64(picture) for picture in pictures]
    status, answer = post(server, {"signature_name": "explain", "instances": rows})
    assert status == 200
    named = [{"image_bytes": row} for row in rows]
    assert post(server, {"signature_name": "explain", "instances": named}) == (200, answer)
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
    assert metadata["model_spec"] == {"name": "cgc", "version": "10", "signature_name": ""}
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
    ["/v1/models/other:predict", "/v1/models/cgc/versions/2:predict", "/index.html"],
)
def test_unknown_model_version_or_path_is_404(server, path):
    status, answer = post(server, {"instances": ["a"]}, path)
    assert status == 404
    assert list(answer) == ["error"]
    response = requests.get(server.rest_url + path.replace(":predict", ""), timeout=20)
    assert response.status_code == 404


def test_a_label_names_a_version(model_dir, pictures):
    with Server(Model(model_dir, serve="all", labels={"stable": 2, "canary": 10})) as server:
        body = {"instances": [b64(pictures[0])]}
        paths = [f"/v1/models/cgc/{which}:predict" for which in ("labels/stable", "versions/2", "labels/canary")]
        stable, second, canary = (post(server, body, path) for path in paths)
        assert stable == second != canary
        assert post(server, body) == canary
        assert post(server, body, "/v1/models/cgc/labels/old:predict")[0] == 400
        states = requests.get(f"{server.rest_url}/v1/models/cgc", timeout=20).json()["model_version_status"]
        assert [state["version"] for state in states] == ["10", "2"]


def test_health_and_metrics(server, pictures):
    def counted(status):
        text = requests.get(f"{server.rest_url}/monitoring/prometheus/metrics", timeout=20).text
        line = f':tensorflow:serving:request_count{{model_name="cgc",status="{status}"}} '
        return int(text.partition(line)[2].partition("\n")[0] or 0)

    assert requests.get(f"{server.rest_url}/healthz", timeout=20).json() == {"status": "ok", "version": 10}
    before = counted("OK"), counted("INVALID_ARGUMENT")
    post(server, {"instances": [b64(pictures[0])]})
    post(server, {"instances": []})
    assert (counted("OK"), counted("INVALID_ARGUMENT")) == (before[0] + 1, before[1] + 1)


def test_the_page_holds_the_classes_and_nothing_from_elsewhere(server):
    response = requests.get(server.rest_url, timeout=20)
    assert response.headers["Content-Type"].startswith("text/html")
    assert json.dumps(LABELS).replace('"', "&quot;") in response.text
    assert "http" not in response.text.replace("-http-", "")
