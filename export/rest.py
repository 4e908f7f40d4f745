"""TF Serving's REST protocol: a WSGI application that turns JSON into calls of one model and back.

    POST /v1/models/NAME[/versions/N]:predict    {"signature_name": ..., "instances" or "inputs"}
    GET  /v1/models/NAME[/versions/N]            which version is available
    GET  /v1/models/NAME[/versions/N]/metadata   the signatures

Bytes are {"b64": "..."}. An error is {"error": "..."} with status 400 or 404.
"""

import base64
import http
import json
import re

import tensorflow as tf
from google.protobuf import json_format

_MODEL = r"/v1/models/([^/:]+)(?:/versions/([0-9]{1,18}))?"
_HTTP_STATUS = {
    tf.errors.INVALID_ARGUMENT: http.HTTPStatus.BAD_REQUEST,
    tf.errors.FAILED_PRECONDITION: http.HTTPStatus.BAD_REQUEST,
    tf.errors.OUT_OF_RANGE: http.HTTPStatus.BAD_REQUEST,
    tf.errors.NOT_FOUND: http.HTTPStatus.NOT_FOUND,
    tf.errors.UNIMPLEMENTED: http.HTTPStatus.NOT_IMPLEMENTED,
}
MAX_RANK = 16  # of inputs; TensorFlow ends the whole process when some far higher ranks reach it


def application(model):
    """The WSGI application that serves `model`, an `export.servable.Servable`."""

    def answer(environ, start_response):
        try:
            status, result = http.HTTPStatus.OK, _route(model, environ)
        except tf.errors.OpError as error:
            status = _HTTP_STATUS.get(error.error_code, http.HTTPStatus.INTERNAL_SERVER_ERROR)
            result = {"error": error.message}
        body = json.dumps(result).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start_response(f"{status.value} {status.phrase}", headers)
        return [body]

    return answer


def _route(model, environ):
    """Finds the handler of the request's method and path and returns its answer."""
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
    for wanted, tail, handler in _ROUTES:
        match = re.fullmatch(_MODEL + tail, path)
        if match and method == wanted:
            name, version = match.groups()
            model.check(name, version and int(version))
            return handler(model, environ)
    raise tf.errors.NotFoundError(None, None, f"nothing at {method} {path}")


def _predict(model, environ):
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


def _status(model, _):
    return json_format.MessageToDict(
        model.status(),
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
    )


def _metadata(model, _):
    answer = json_format.MessageToDict(model.metadata(), preserving_proto_field_name=True)
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
