"""TF Serving's JSON: a predict request's body to a signature's inputs, and its outputs to an answer.

    {"signature_name": ..., "instances": [...]}     row format: an object of inputs, or the only input, per example
    {"signature_name": ..., "inputs": {...}}        column format: {input: a batch}, or the only input's batch

answered by "predictions", per example, or by "outputs". A single output goes without its name. Bytes are
{"b64": "..."}; strings are text, unless the output is named `..._bytes`.

Every fault is a `tf.errors.InvalidArgumentError` of one line.
"""

import base64
import json

from export.servable import require

MAX_RANK = 16  # of inputs; TensorFlow ends the whole process when some far higher ranks reach it


def parse(body):
    """The request that a body, bytes, holds: an object with either instances or inputs."""
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        require(False, f"the body is not JSON: {error}")
    require(isinstance(request, dict), "the body must be a JSON object")
    require(isinstance(request.get("signature_name", ""), str), "signature_name must be a string")
    require(("instances" in request) != ("inputs" in request), "the request must have either instances or inputs")
    return request


def inputs(request, names):
    """{input name: nested lists} of a request, for a signature with inputs of these names."""
    if "inputs" in request:
        columns = request["inputs"]
        if _is_value(columns):
            require(len(names) == 1, f"inputs must be an object with the keys {names}")
            columns = {names[0]: columns}
        return {name: _decoded(value) for name, value in columns.items()}
    rows = request["instances"]
    require(isinstance(rows, list) and rows, "instances must be a list of at least one example")
    if len(names) == 1:
        rows = [{names[0]: row} if _is_value(row) else row for row in rows]
    fit = all(isinstance(row, dict) and set(row) == set(names) for row in rows)
    require(fit, f"each of the instances must be an object with the keys {names}")
    return {name: [_decoded(row[name]) for row in rows] for name in names}


def answer(request, outputs):
    """The answer to a request: {output name: numpy array}, by column or by row as it asked."""
    columns = {name: _encoded(name, array) for name, array in outputs.items()}
    if "inputs" in request:
        return {"outputs": _unwrapped(columns)}
    count = len(request["instances"])
    by_row = all(array.shape[:1] == (count,) for array in outputs.values())
    require(by_row, "the signature does not answer one row per instance: ask with inputs instead")
    rows = zip(*columns.values(), strict=True)
    return {"predictions": [_unwrapped(dict(zip(columns, row, strict=True))) for row in rows]}


def _is_value(item):
    """Whether `item` is a value itself, rather than an object of values by input name."""
    return not isinstance(item, dict) or set(item) == {"b64"}


def _decoded(value, levels=MAX_RANK):
    """Nested lists with every {"b64": text} decoded to bytes."""
    if isinstance(value, list):
        require(levels, f"lists are nested deeper than {MAX_RANK}")
        return [_decoded(item, levels - 1) for item in value]
    if isinstance(value, dict) and _is_value(value):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except (TypeError, ValueError):
            require(False, "a b64 value is not base64")
    return value


def _encoded(name, array):
    """Nested lists of an output."""
    if array.dtype != object:
        return array.tolist()
    if name.endswith("_bytes"):
        return _map(array.tolist(), lambda item: {"b64": base64.b64encode(item).decode()})
    return _map(array.tolist(), lambda item: item.decode(errors="replace"))


def _map(value, function):
    return [_map(item, function) for item in value] if isinstance(value, list) else function(value)


def _unwrapped(outputs):
    return next(iter(outputs.values())) if len(outputs) == 1 else outputs
