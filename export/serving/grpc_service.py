"""TF Serving's gRPC services on the official stubs: PredictionService and ModelService over one model."""

import functools
import time

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import model_service_pb2_grpc, predict_pb2, prediction_service_pb2_grpc

from .servable import MAX_BYTES, MAX_RANK, require

_CODES = {code.value[0]: code for code in grpc.StatusCode}
_FIELDS = {
    **dict.fromkeys((tf.int32, tf.int16, tf.int8, tf.uint8), "int_val"),
    tf.float32: "float_val", tf.float64: "double_val", tf.int64: "int64_val", tf.uint32: "uint32_val",
    tf.uint64: "uint64_val", tf.bool: "bool_val", tf.string: "string_val",
}  # fmt: skip


def _answering(method):
    """Makes a gRPC method of `method(self, request)`: a `tf.errors.OpError` ends the call."""

    @functools.wraps(method)
    def call(self, request, context):
        start, status = time.perf_counter(), "OK"
        try:
            require(request.HasField("model_spec"), "Missing ModelSpec")
            return method(self, request)
        except tf.errors.OpError as error:
            status = _CODES[error.error_code].name
            # Cut, as the text travels in a header, and an oversized header loses the code as well.
            return context.abort(_CODES[error.error_code], error.message[:1000])
        finally:
            if method.__name__ == "Predict":
                self.metrics.observe("Predict", "GRPC", status, time.perf_counter() - start)

    return call


class Servicer(
    prediction_service_pb2_grpc.PredictionServiceServicer,
    model_service_pb2_grpc.ModelServiceServicer,
):
    """The services over an `export.serving.versions.Model`; the methods that are not here answer UNIMPLEMENTED.

    Args:
        model: the `export.serving.versions.Model`.
        metrics: the `export.serving.monitoring.Metrics` to count in.
        tensor_content: whether answers hold the bytes of an array, rather than fields of numbers (`float_val`).
    """

    def __init__(self, model, metrics, tensor_content=False):
        self._model, self.metrics = model, metrics
        self._to_proto = tf.make_tensor_proto if tensor_content else _in_fields

    @_answering
    def Predict(self, request):
        servable = self._model.find(*_wanted(request))
        signature = request.model_spec.signature_name or tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY
        inputs = {name: _from_proto(name, proto) for name, proto in request.inputs.items()}
        outputs = servable.predict(signature, inputs, request.output_filter)
        outputs = {name: self._to_proto(value) for name, value in outputs.items()}
        return predict_pb2.PredictResponse(model_spec=servable.spec(signature), outputs=outputs)

    @_answering
    def GetModelMetadata(self, request):
        servable = self._model.find(*_wanted(request))
        only = set(request.metadata_field) == {"signature_def"}
        require(only, "metadata_field must be signature_def")
        return servable.metadata()

    @_answering
    def GetModelStatus(self, request):
        spec = request.model_spec  # whose label TF Serving does not look at here
        return self._model.status(spec.name, spec.version.value if spec.HasField("version") else None)

    def add_to(self, server):
        """Registers both services with a `grpc.Server`."""
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(self, server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(self, server)


def _wanted(request):
    spec = request.model_spec
    require(spec.name, "ModelSpec has no name specified")
    return spec.name, spec.version.value if spec.HasField("version") else None, spec.version_label


def _in_fields(array):
    """A `TensorProto` of an array, in the field of numbers or strings of its dtype."""
    dtype = tf.as_dtype(array.dtype)
    if dtype not in _FIELDS:
        return tf.make_tensor_proto(array)
    shape = tf.TensorShape(array.shape).as_proto()
    values = {_FIELDS[dtype]: np.ravel(array).tolist()}
    return tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum, tensor_shape=shape, **values)


def _from_proto(name, proto):
    # A proto may give one value and a shape to fill with it, so that few bytes ask for any amount
    # of memory; what could have been spelled out in one message is enough.
    try:
        shape = tf.TensorShape(proto.tensor_shape)
        require(shape.is_fully_defined(), f"{name} must have a shape without unknown sizes")
        fits = shape.rank <= MAX_RANK and shape.num_elements() <= MAX_BYTES // 4
        require(fits, f"{name} is too large")
        return tf.constant(tf.make_ndarray(proto))
    except (TypeError, ValueError, OverflowError, LookupError) as error:
        raise tf.errors.InvalidArgumentError(None, None, f"{name} is malformed") from error
