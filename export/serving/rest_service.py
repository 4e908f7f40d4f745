"""TF Serving's REST protocol: a WSGI application that turns JSON into calls of one model and back.

    POST /v1/models/NAME[/versions/N|/labels/L]:predict    {"signature_name": ..., "instances" or "inputs"}
    GET  /v1/models/NAME[/versions/N]                      which versions are available
    GET  /v1/models/NAME[/versions/N|/labels/L]/metadata   the signatures
    GET  /monitoring/prometheus/metrics                    counts and latencies
    GET  /healthz                                          200 while a version is served
    GET  /                                                 a page to try the model on a picture

Bodies, plain or gzip, are described in `rest_json`. An error is {"error": "..."} with status 400 or 404.
"""

import html
import http
import json
import pathlib
import re
import time
import zlib
from collections.abc import Callable

import tensorflow as tf
from google.protobuf import json_format

from . import rest_json
from .monitoring import Metrics
from .servable import MAX_BYTES, require
from .versions import Model

_MODEL = r"(?i)/v1/models/([^/:]+)(?:/versions/([0-9]+)|/labels/([^/:]+))?"
_PAGE = pathlib.Path(__file__).with_name("page.html")
# {an error's code: its name, and the status that TF Serving answers it with}
_ERRORS = {
    tf.errors.INVALID_ARGUMENT: ("INVALID_ARGUMENT", http.HTTPStatus.BAD_REQUEST),
    tf.errors.FAILED_PRECONDITION: ("FAILED_PRECONDITION", http.HTTPStatus.BAD_REQUEST),
    tf.errors.OUT_OF_RANGE: ("OUT_OF_RANGE", http.HTTPStatus.BAD_REQUEST),
    tf.errors.NOT_FOUND: ("NOT_FOUND", http.HTTPStatus.NOT_FOUND),
    tf.errors.UNIMPLEMENTED: ("UNIMPLEMENTED", http.HTTPStatus.NOT_IMPLEMENTED),
    tf.errors.RESOURCE_EXHAUSTED: ("RESOURCE_EXHAUSTED", http.HTTPStatus.TOO_MANY_REQUESTS),
}
_JSON = "application/json"
_CORS = [
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", "GET, POST, OPTIONS"),
    ("Access-Control-Allow-Headers", "Content-Type"),
]
_SAFE = [
    ("X-Content-Type-Options", "nosniff"),
    (
        "Content-Security-Policy",
        "default-src 'none'; connect-src 'self'; img-src blob: data:; "
        "style-src 'unsafe-inline'; script-src 'unsafe-inline'",
    ),
]


def application(model: Model, metrics: Metrics, cors: bool = False) -> Callable:
    """The WSGI application that serves a model and counts in `metrics`.

    With `cors` a page of any other origin may ask, as with TF Serving's --rest_api_enable_cors_support.
    """
    allowed = _CORS if cors else []

    def answer(environ, start_response):
        start, code = time.perf_counter(), "OK"
        status = http.HTTPStatus.OK
        try:
            kind, body = _route(model, metrics, environ)
        except tf.errors.OpError as error:
            code, status = _ERRORS.get(error.error_code, ("INTERNAL", http.HTTPStatus.INTERNAL_SERVER_ERROR))
            kind, body = _JSON, json.dumps({"error": error.message})
        if environ["REQUEST_METHOD"] == "POST" and environ["PATH_INFO"].endswith(":predict"):
            metrics.observe("predict", "REST", code, time.perf_counter() - start)
        body = body.encode()
        headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
        start_response(f"{status.value} {status.phrase}", [*headers, *_SAFE, *allowed])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    return answer


def _route(model, metrics, environ):
    """The answer to the request's method and path: its type and text."""
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
    if (method, path) == ("GET", "/monitoring/prometheus/metrics"):
        return "text/plain; version=0.0.4; charset=utf-8", metrics.text()
    if (method, path) == ("GET", "/healthz"):
        return _JSON, json.dumps({"status": "ok", "version": model.find().version})
    if (method, path) == ("GET", "/"):
        return "text/html; charset=utf-8", _page(model)
    if not path.lower().startswith("/v1/"):
        raise tf.errors.NotFoundError(None, None, f"nothing at {method} {path}")
    if method == "OPTIONS" and environ.get("HTTP_ORIGIN"):
        return _JSON, ""
    for wanted, tail, handler in _ROUTES:
        match = re.fullmatch(_MODEL + tail, path)
        if match and method == wanted:
            name, version, label = match.groups()
            number = None if version is None else _number(version)
            return _JSON, handler(model, (name, number, label), environ)
    raise tf.errors.InvalidArgumentError(None, None, f"Malformed request: {method} {path}")


def _number(digits):
    digits = digits.lstrip("0") or "0"
    fits = len(digits) < 20 and int(digits) < 1 << 63  # Python refuses to read thousands of digits
    require(fits, "Failed to convert version to numeric.")
    return int(digits)


def _page(model):
    """The page, with the model's name and its classes written into it."""
    labels = html.escape(json.dumps(model.find().labels))
    return _PAGE.read_text().replace("MODEL_NAME", html.escape(model.name)).replace("MODEL_LABELS", labels)


def _predict(model, wanted, environ):
    servable = model.find(*wanted)
    request = rest_json.parse(_body(environ))
    signature = request.get("signature_name") or tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY
    dtypes = {name: spec.dtype for name, spec in servable.inputs(signature).items()}
    return rest_json.answer(request, servable.predict(signature, rest_json.inputs(request, dtypes)))


def _body(environ):
    data = environ["wsgi.input"].read()
    if environ.get("HTTP_CONTENT_ENCODING", "").lower() != "gzip":
        return data
    try:
        unpacking = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        data = unpacking.decompress(data, MAX_BYTES)
    except zlib.error as error:
        require(False, f"the body is not gzip: {error}")
    require(unpacking.eof, f"the body is cut off, or holds more than {MAX_BYTES} bytes")
    return data


def _classify(model, wanted, _):
    model.find(*wanted)
    require(False, "no signature to classify or regress with: all are for predict")


def _status(model, wanted, _):
    name, version, _ = wanted  # TF Serving does not look at the label here
    return json.dumps(_as_dict(model.status(name, version)), indent=1)


def _metadata(model, wanted, _):
    answer = _as_dict(model.find(*wanted).metadata())
    del answer["metadata"]["signature_def"]["@type"]  # which TF Serving does not write either
    return json.dumps(answer, indent=1)


def _as_dict(message):
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


_ROUTES = [
    ("POST", ":predict", _predict),
    ("POST", ":(?:classify|regress)", _classify),
    ("GET", "", _status),
    ("GET", "/metadata", _metadata),
]
