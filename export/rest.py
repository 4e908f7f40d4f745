"""TF Serving's REST protocol: a WSGI application that turns JSON into calls of one model and back.

    POST /v1/models/NAME[/versions/N|/labels/L]:predict    {"signature_name": ..., "instances" or "inputs"}
    GET  /v1/models/NAME[/versions/N|/labels/L]            which versions are available
    GET  /v1/models/NAME[/versions/N|/labels/L]/metadata   the signatures
    GET  /monitoring/prometheus/metrics                    counts and latencies
    GET  /healthz                                          200 while a version is served
    GET  /                                                 a page to try the model on a picture

Bodies are told in `export.json_format`. An error is {"error": "..."} with status 400 or 404.
"""

import html
import http
import json
import pathlib
import re
import time

import tensorflow as tf
from google.protobuf import json_format as protobuf_json

from export import json_format

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
    servable = model.find(*wanted)
    request = json_format.parse(environ["wsgi.input"].read())
    signature = request.get("signature_name") or tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY
    inputs = json_format.inputs(request, list(servable.inputs(signature)))
    return json_format.answer(request, servable.predict(signature, inputs))


def _status(model, wanted, _):
    return protobuf_json.MessageToDict(
        model.status(*wanted),
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
    )


def _metadata(model, wanted, _):
    answer = protobuf_json.MessageToDict(model.find(*wanted).metadata(), preserving_proto_field_name=True)
    del answer["metadata"]["signature_def"]["@type"]  # which TF Serving does not write either
    return answer


_ROUTES = [("POST", ":predict", _predict), ("GET", "", _status), ("GET", "/metadata", _metadata)]
