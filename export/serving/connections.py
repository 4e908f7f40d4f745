"""One request to a model server, over REST or gRPC, whose failures have names."""

import base64
import time
from collections.abc import Callable

import numpy as np
import requests

from cgc_tf.common.errors import UserError

from . import proxies

MAX_BYTES = 64 << 20  # of a gRPC answer; gRPC's default of 4 MB holds few heatmaps
WAIT = 0.2  # seconds before the first new attempt; each further one waits twice as long


class ServingError(UserError):
    """A server's answer that is not the one asked for; its subclasses say which."""


class ServerDown(ServingError):
    """Nothing answers there, or it is too busy to."""


class UnknownModel(ServingError):
    """There is no such model, version or label."""


class UnknownSignature(ServingError):
    """The model has no such signature."""


class BadRequest(ServingError):
    """The request does not fit the signature, or a picture cannot be decoded; the message says which."""


class DeadlineExceeded(ServingError):
    """The answer did not come in time."""


_BY_REST = {
    400: BadRequest, 404: UnknownModel, 413: BadRequest, 408: DeadlineExceeded,
    429: ServerDown, 502: ServerDown, 503: ServerDown, 504: DeadlineExceeded,
}  # fmt: skip
_BY_GRPC = {
    "INVALID_ARGUMENT": BadRequest, "NOT_FOUND": UnknownModel, "FAILED_PRECONDITION": UnknownSignature,
    "UNAVAILABLE": ServerDown, "RESOURCE_EXHAUSTED": BadRequest, "DEADLINE_EXCEEDED": DeadlineExceeded,
}  # fmt: skip


def connect(url: str, model: str, version: int | None, label: str | None, timeout: float) -> Callable:
    """A function, (images, signature, {further input: array}) -> {output: array}, that asks one server.

    Its arguments are those of `export.client.Client`. Raises `UserError` for another kind of URL.
    """
    url = url.rstrip("/")
    makers = {"http": _rest, "https": _rest, "grpc": _grpc}
    maker = makers.get(url.partition("://")[0])
    if maker is None:
        raise UserError(f"--url={url} must begin with http://, https:// or grpc://")
    return maker(url, model, version, label, timeout)


def retrying(send: Callable, retries: int) -> Callable:
    """`send`, tried again after a pause when the server was down, as often as `retries`."""

    def attempt(*request):
        for count in range(retries):
            try:
                return send(*request)
            except ServerDown:
                time.sleep(WAIT * 2**count)
        return send(*request)

    return attempt


def _rest(url, model, version, label, timeout):
    by_label = f"/labels/{label}" if label else ""
    which = by_label if version is None else f"/versions/{version}"
    address = f"{url}/v1/models/{model}{which}:predict"

    def send(images, signature, more):
        values = [{"b64": base64.b64encode(image).decode()} for image in images]
        inputs = {"image_bytes": values, **{name: np.asarray(value).tolist() for name, value in more.items()}}
        try:
            request = {"signature_name": signature, "inputs": inputs}
            with requests.Session() as session:
                session.trust_env = not proxies.is_loopback(url)
                response = session.post(address, json=request, timeout=timeout)
        except requests.Timeout as error:
            raise DeadlineExceeded(f"{url} did not answer in {timeout:g} s{proxies.note(url)}") from error
        except requests.RequestException as error:
            raise ServerDown(f"cannot reach {url}: is the server running?{proxies.note(url)}") from error
        try:
            answer = response.json()
            if response.ok:
                outputs = answer["outputs"]
                return {name: _array(value) for name, value in _named(outputs, signature).items()}
            message = answer["error"]
        except (ValueError, KeyError, TypeError):  # an answer, but not from a model server
            message = response.text or response.reason
        message = _line(message)
        kind = _BY_REST.get(response.status_code, ServingError)
        if kind is BadRequest and "signature" in message.lower() and signature in message:
            kind = UnknownSignature  # a status of its own over gRPC, but not over REST
        raise _of_label(kind, label and label in message)(
            f"{url} answered {response.status_code}: {message}{proxies.note(url)}"
        )

    return send


def _grpc(url, model, version, label, timeout):
    # Here, so that a client of REST need not load TensorFlow, which the stubs import.
    import grpc
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    options = [("grpc.max_receive_message_length", MAX_BYTES), ("grpc.max_send_message_length", MAX_BYTES)]
    options.append(("grpc.enable_http_proxy", int(not proxies.is_loopback(url))))
    channel = grpc.insecure_channel(url.removeprefix("grpc://"), options)
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

    def send(images, signature, more):
        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = model, signature
        if version is not None:
            request.model_spec.version.value = version
        elif label:
            request.model_spec.version_label = label
        request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(images, tf.string))
        for name, value in more.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        try:
            answer = stub.Predict(request, timeout=timeout)
        except grpc.RpcError as error:
            code = error.code().name
            kind = _of_label(_BY_GRPC.get(code, ServingError), label and label in error.details())
            raise kind(f"{url} answered {code}: {_line(error.details())}{proxies.note(url)}") from error
        return {name: _array(tf.make_ndarray(proto), name) for name, proto in answer.outputs.items()}

    return send


def _of_label(kind, says_label):
    """The error's kind, where the text says whether a label was at fault: both protocols have no status for it."""
    return UnknownModel if kind is BadRequest and says_label else kind


def _named(outputs, signature):
    """REST leaves the name of a single output out; `overlay` is the signature that has one."""
    if isinstance(outputs, dict):
        return outputs
    if signature == "overlay":
        return {"overlay_png_bytes": [base64.b64decode(value["b64"]) for value in outputs]}
    return {"output": outputs}


def _array(value, name=""):
    """An output as the model made it: JSON widens numbers to 64 bits, gRPC gives text as bytes."""
    if len(value) and isinstance(value[0], bytes) and (name.endswith("_bytes") or isinstance(value, list)):
        return np.array(value, object)
    array = np.asarray(value)
    if array.dtype == object:
        return np.char.decode(array.astype(bytes), "utf-8", "replace")
    return array.astype({"f": np.float32, "i": np.int32}.get(array.dtype.kind, array.dtype))


def _line(message):
    return " ".join(message.split())[:300]
