"""The JSON of TF Serving's REST protocol: from a predict request's body to a signature's inputs, and back.

    {"signature_name": ..., "instances": [...]}     row format: an object of inputs, or the only input, per example
    {"signature_name": ..., "inputs": {...}}        column format: {input: a batch}, or the only input's batch

answered by "predictions", per example, or by "outputs". A single output goes without its name. Bytes are
{"b64": "..."}; strings are text, unless the output is named `..._bytes`.

What is taken and how numbers are printed is TF Serving's; docs/serving.md tells the differences that are left. Every
fault is a `tf.errors.InvalidArgumentError` of one line.
"""

import base64
import json
import math
import re
from typing import Any

import numpy as np
import tensorflow as tf

from .servable import MAX_RANK, require

_SHORT_INFINITY = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|\bInf\b')
_INT32, _INT64 = (-(1 << 31), (1 << 31) - 1), (-(1 << 63), (1 << 63) - 1)
# The smallest and the largest number taken; those of eight and sixteen bits wrap around, as TF Serving's do.
_RANGES = {
    **dict.fromkeys((tf.int32, tf.int16, tf.int8, tf.uint8), _INT32),
    tf.int64: _INT64,
    tf.uint32: (0, (1 << 32) - 1),
    tf.uint64: (0, (1 << 64) - 1),
}
_PRINTED = {tf.float32, tf.float64, tf.bool, tf.string, *_RANGES}
_DIGITS = {"float32": 9, "float64": 17}  # with which a number is itself when it is read again


def parse(body: bytes) -> dict[str, Any]:
    """The request that a body, bytes, holds: an object with either instances or inputs."""
    try:
        text = body.decode("utf-8-sig").lstrip()
        try:
            request, _ = _DECODER.raw_decode(text)  # whatever follows it is not looked at
        except json.JSONDecodeError:
            request, _ = _DECODER.raw_decode(
                _SHORT_INFINITY.sub(lambda found: "Infinity" if found[0] == "Inf" else found[0], text)
            )
    except (ValueError, RecursionError) as error:
        require(False, f"the body is not JSON: {error}")
    require(isinstance(request, dict), "the body must be a JSON object")
    require(isinstance(request.get("signature_name", ""), str), "signature_name must be a string")
    require(("instances" in request) != ("inputs" in request), "the request must have either instances or inputs")
    return request


def inputs(request: dict[str, Any], dtypes: dict[str, tf.DType]) -> dict[str, np.ndarray]:
    """{input name: numpy array} of a request, for a signature with inputs of these dtypes, {name: `tf.DType`}."""
    names = list(dtypes)
    columns = _columns(request["inputs"], names) if "inputs" in request else _rows(request["instances"], names)
    return {name: _array(name, columns[name], dtype) for name, dtype in dtypes.items()}


def answer(request: dict[str, Any], outputs: dict[str, np.ndarray]) -> str:
    """The answer to a request, JSON text, from {output name: numpy array}: by column or by row, as it asked."""
    columns = {name: _printed(name, array) for name, array in outputs.items()}
    if "inputs" in request:
        return _joined({"outputs": _unwrapped(columns)})
    sizes = {array.shape[:1] for array in outputs.values()}
    require(len(sizes) == 1 and () not in sizes, "the outputs do not have one row each per example: ask with inputs")
    rows = zip(*columns.values(), strict=True)
    return _joined({"predictions": [_unwrapped(dict(zip(columns, row, strict=True))) for row in rows]})


def _columns(columns, names):
    if _is_named(columns):
        absent = [name for name in names if name not in columns]
        require(not absent, f"inputs lacks {absent}")
        return columns
    require(len(names) == 1, f"inputs must be an object with the keys {names}")
    return {names[0]: columns}


def _rows(rows, names):
    require(isinstance(rows, list) and rows, "instances must be a list of at least one example")
    named = {_is_named(row) for row in rows}
    if named == {False}:
        require(len(names) == 1, f"each of the instances must be an object with the keys {names}")
        return {names[0]: rows}
    require(named == {True}, "instances must be all values, or all objects of values by input name")
    fit = all(set(row) == set(names) for row in rows)
    require(fit, f"each of the instances must be an object with the keys {names}")
    return {name: [row[name] for row in rows] for name in names}


def _is_named(item):
    """Whether `item` is an object of values by input name, rather than a value itself."""
    return isinstance(item, dict) and not (set(item) == {"b64"} and isinstance(item["b64"], str))


def _array(name, value, dtype):
    """An input as a numpy array of its dtype, from nested lists."""
    shape, items = _flattened(name, value)
    kinds = set(map(type, items))
    if dtype == tf.string:
        array = np.empty(len(items), object)
        array[:] = [_bytes(name, item) for item in items]
        return array.reshape(shape)
    if dtype == tf.bool:
        fit, wide = kinds <= {bool}, bool
    elif dtype in _RANGES:
        least, most = _RANGES[dtype]
        fit = kinds <= {int} and all(least <= item <= most for item in items)
        wide = np.uint64 if dtype == tf.uint64 else np.int64
    elif dtype in (tf.float32, tf.float64):
        fit, wide = kinds <= {int, float}, np.float64
    else:
        raise tf.errors.UnimplementedError(None, None, f"{name} is {dtype.name}, which JSON cannot hold")
    require(fit, f"{name} must be {dtype.name}")
    with np.errstate(over="ignore"):  # what is too large for 32 bits is infinity
        return np.array(items, wide).astype(dtype.as_numpy_dtype).reshape(shape)


def _flattened(name, value):
    """`(shape, items)` of nested lists, whose first items tell what all must be like."""
    shape, items = [], [value]
    while items and isinstance(items[0], list):
        size = len(items[0])
        fit = all(isinstance(item, list) and len(item) == size for item in items)
        require(fit and len(shape) < MAX_RANK, f"{name} must be lists of one length, at most {MAX_RANK} deep")
        shape.append(size)
        items = [inner for item in items for inner in item]
    require(not any(isinstance(item, list) for item in items), f"{name} must be lists of one length")
    return shape, items


def _bytes(name, item):
    try:
        if isinstance(item, str):
            return item.encode()
        require(isinstance(item, dict) and not _is_named(item), f'{name} must be strings, or {{"b64": "..."}}')
        text = "".join(item["b64"].split()).rstrip("=")
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError as error:
        require(False, f"{name} holds text that is not UTF-8 or not base64: {error}")


def _printed(name, array):
    """Nested lists of an output's items, each as JSON text."""
    require(tf.as_dtype(array.dtype) in _PRINTED, f"{name} is {array.dtype}, which JSON cannot hold")
    return _map(array.tolist(), lambda item: _item(name, item, _DIGITS.get(array.dtype.name)))


def _item(name, item, digits):
    if isinstance(item, bytes):
        if name.endswith("_bytes"):
            return f'{{"b64": "{base64.b64encode(item).decode()}"}}'
        return json.dumps(item.decode(errors="replace"), ensure_ascii=False)
    if not digits or not math.isfinite(item):
        return json.dumps(item, ensure_ascii=False)
    text = f"{item:.6g}"
    read = np.float32(text) if digits == _DIGITS["float32"] else float(text)
    if read != item:
        text = f"{item:.{digits}g}"
    return text if "." in text or "e" in text else f"{text}.0"


def _map(value, function):
    return [_map(item, function) for item in value] if isinstance(value, list) else function(value)


def _joined(tree):
    """JSON text of lists and dicts whose leaves are JSON text."""
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{json.dumps(name)}: {_joined(value)}" for name, value in tree.items()) + "}"
    return "[" + ", ".join(map(_joined, tree)) + "]" if isinstance(tree, list) else tree


def _unwrapped(outputs):
    return next(iter(outputs.values())) if len(outputs) == 1 else outputs


def _finite(text):
    require(math.isfinite(float(text)), "a number is too large")
    return float(text)


def _integer(text):
    value = int(text)
    return value if -(1 << 63) <= value < 1 << 64 else _finite(text)


_DECODER = json.JSONDecoder(
    parse_float=_finite, parse_int=_integer, object_pairs_hook=lambda pairs: dict(reversed(pairs))
)
