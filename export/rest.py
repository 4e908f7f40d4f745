"""TF Serving's REST protocol: a WSGI application that turns JSON into calls of one model and back.

    POST /v1/models/NAME[/versions/N|/labels/L]:predict    {"signature_name": ..., "instances" or "inputs"}
    GET  /v1/models/NAME[/versions/N|/labels/L]            which versions are available
    GET  /v1/models/NAME[/versions/N|/labels/L]/metadata   the signatures
    GET  /monitoring/prometheus/metrics                    counts and latencies
    GET  /healthz                                          200 while a version is served
    GET  /                                                 a page to try the model on a picture

Bytes are {"b64": "..."}. An error is {"error": "..."} with status 400 or 404.
"""

import base64
import html
import http
import json
import pathlib
import re
import time

import tensorflow as tf
from google.protobuf import json_format

_MODEL = r"/v1/models/([^/:]+)(?:/versions/([0-9]{1,18})|/labels/([^/:]+))?"
_PAGE = pathlib.Path(__file__).with_name("page.html")
_HTTP_STATUS = {
    tf.errors.INVALID_ARGUMENT: http.HTTPStatus.BAD_REQUEST,
    tf.errors.FAILED_PRECONDITION: http.HTTPStatus.BAD_REQUEST,
    tf.errors.OUT_OF_RANGE: http.HTTPStatus.BAD_REQUEST,
    tf.errors.NOT_FOUND: http.HTTPStatus.NOT_FOUND,
    tf.errors.UNIMPLEMENTED: http.HTTPStatus.NOT_IMPLEMENTED,
}
_NAMES = {
    tf.errors.INVALID_ARGUMENT: "INVALID_ARGUMENT",
    tf.errors.FAILED_PRECONDITION: "FAILED_PRECONDITION",
    tf.errors.NOT_FOUND: "NOT_FOUND",
}
_SAFE = [
    ("X-Content-Type-Options", "nosniff"),
    (
        "Content-Security-Policy",
        "default-src 'none'; connect-src 'self'; img-src blob: data:; "
        "style-src 'unsafe-inline'; script-src 'unsafe-inline'",
    ),
]
MAX_RANK = 16  # of inputs; TensorFlow ends the whole process when some far higher ranks reach it


def application(model, metrics):
    """The WSGI application that serves `model`, an `export.versions.Model`, and counts in `metrics`."""

    def answer(environ, start_response):
        start, code = time.perf_counter(), "OK"
        kind, status = "application/json", http.HTTPStatus.OK
        try:
            result = _route(model, metrics, environ)
            kind, body = result if isinstance(result, tuple) else (kind, json.dumps(result))
        except tf.errors.OpError as error:
            status = _HTTP_STATUS.get(error.error_code, http.HTTPStatus.INTERNAL_SERVER_ERROR)
            code, body = _NAMES.get(error.error_code, "INTERNAL"), json.dumps({"error": error.message})
        if environ["PATH_INFO"].startswith("/v1/"):
            metrics.observe("REST", code, time.perf_counter() - start)
        body = body.encode()
        headers = [("Content-Type", f"{kind}; charset=utf-8"), ("Content-Length", str(len(body)))]
        start_response(f"{status.value} {status.phrase}", [*headers, *_SAFE])
        return [body]

    return answer


def _route(model, metrics, environ):
    """Finds the handler of the request's method and path and returns its answer: JSON's value, or (type, text)."""
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
    if (method, path) == ("GET", "/monitoring/prometheus/metrics"):
        return "text/plain; version=0.0.4", metrics.text()
    if (method, path) == ("GET", "/healthz"):
        return {"status": "ok", "version": model.find().version}
    if (method, path) == ("GET", "/"):
        return "text/html", _page(model)
    for wanted, tail, handler in _ROUTES:
        match = re.fullmatch(_MODEL + tail, path)
        if match and method == wanted:
            name, version, label = match.groups()
            return handler(model, (name, version and int(version), label), environ)
    raise tf.errors.NotFoundError(None, None, f"nothing at {method} {path}")


def _page(model):
    """The page, with the model's name and its classes written into it."""
    labels = html.escape(json.dumps(model.find().labels))
    return _PAGE.read_text().replace("MODEL_NAME", html.escape(model.name)).replace("MODEL_LABELS", labels)


def _predict(model, wanted, environ):
    model = model.find(*wanted)
    request = _parse(environ["wsgi.input"].read())
    signature = request.get("signature_name", "")
    if not isinstance(signature, str):
        raise _bad("signature_name must be a string")
    signature = signature or tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY
    if ("instances" in request) == ("inputs" in request):
        raise _bad("the request must have either instances or inputs")
    names = list(model.inputs(signature))
    if "inputs" in request:
        outputs = model.predict(signature, _columns(request["inputs"], names))
        outputs = {name: _to_json(name, value) for name, value in outputs.items()}
        return {"outputs": _unwrapped(outputs)}
    rows = request["instances"]
    outputs = model.predict(signature, _transposed(rows, names))
    if any(value.shape[:1] != (len(rows),) for value in outputs.values()):
        raise _bad(f"{signature} does not answer one row per instance: ask with inputs instead")
    outputs = {name: _to_json(name, value) for name, value in outputs.items()}
    rows = zip(*outputs.values(), strict=True)
    return {"predictions": [_unwrapped(dict(zip(outputs, row, strict=True))) for row in rows]}


def _status(model, wanted, _):
    return json_format.MessageToDict(
        model.status(*wanted),
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
    )


def _metadata(model, wanted, _):
    answer = json_format.MessageToDict(model.find(*wanted).metadata(), preserving_proto_field_name=True)
    del answer["metadata"]["signature_def"]["@type"]  # which TF Serving does not write either
    return answer


_ROUTES = [("POST", ":predict", _predict), ("GET", "", _status), ("GET", "/metadata", _metadata)]


def _bad(message):
    return tf.errors.InvalidArgumentError(None, None, message)


def _parse(body):
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _bad(f"the body is not JSON: {error}") from error
    if not isinstance(request, dict):
        raise _bad("the body must be a JSON object")
    return request


def _columns(inputs, names):
    """Column format: {input name: value}, or the bare value of the only input."""
    if _is_value(inputs):
        if len(names) != 1:
            raise _bad(f"inputs must be an object with the keys {names}")
        inputs = {names[0]: inputs}
    return {name: _from_json(value) for name, value in inputs.items()}


def _transposed(rows, names):
    """Row format: one {input name: value}, or one bare value of the only input, per example."""
    if not isinstance(rows, list) or not rows:
        raise _bad("instances must be a list of at least one example")
    if len(names) == 1:
        rows = [{names[0]: row} if _is_value(row) else row for row in rows]
    if not all(isinstance(row, dict) and set(row) == set(names) for row in rows):
        raise _bad(f"each of the instances must be an object with the keys {names}")
    return {name: [_from_json(row[name]) for row in rows] for name in names}


def _is_value(item):
    """Whether `item` is a value itself, rather than an object of values by input name."""
    return not isinstance(item, dict) or _is_bytes(item)


def _is_bytes(value):
    return isinstance(value, dict) and set(value) == {"b64"}


def _from_json(value, levels=MAX_RANK):
    """Nested lists with every {"b64": text} decoded to bytes."""
    if isinstance(value, list):
        if not levels:
            raise _bad(f"lists are nested deeper than {MAX_RANK}")
        return [_from_json(item, levels - 1) for item in value]
    if _is_bytes(value):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except (TypeError, ValueError) as error:
            raise _bad("a b64 value is not base64") from error
    return value


def _to_json(name, array):
    """Nested lists; strings are text, or {"b64": text} when the output is named `..._bytes`."""
    if array.dtype != object:
        return array.tolist()
    if name.endswith("_bytes"):
        return _map(array.tolist(), lambda item: {"b64": base64.b64encode(item).decode()})
    return _map(array.tolist(), lambda item: item.decode(errors="replace"))


def _map(value, function):
    return [_map(item, function) for item in value] if isinstance(value, list) else function(value)


def _unwrapped(outputs):
    """A single output goes without its name."""
    return next(iter(outputs.values())) if len(outputs) == 1 else outputs
