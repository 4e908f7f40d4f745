"""TF Serving's gRPC protocol, by the official stubs."""

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_service_pb2_grpc
from toy_model import assert_same, request_for


def test_grpc_echoes_the_model_and_filters_outputs(stub, pictures, expected):
    request = request_for(pictures, "explain")
    request.output_filter.extend(["score", "heatmap"])
    answer = stub.Predict(request)
    spec = answer.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("cgc", 10, "explain")
    outputs = {name: tf.make_ndarray(proto) for name, proto in answer.outputs.items()}
    assert_same(outputs, expected, {"score", "heatmap"})
    assert stub.Predict(request_for(pictures)).model_spec.signature_name == "serving_default"


def _filtered():
    request = request_for([b"a"])
    request.output_filter.append("nope")
    return request


def _extra_input():
    request = request_for([b"a"])
    request.inputs["more"].CopyFrom(tf.make_tensor_proto([1]))
    return request


def _labeled():
    request = request_for([b"a"])
    request.model_spec.version_label = "stable"
    return request


def _without_input():
    request = request_for([b"a"])
    request.inputs.clear()
    return request


def _shaped(*sizes):
    """A tensor whose shape asks for more than its one value."""
    request = request_for([b"a"])
    shape = tf.TensorShape(sizes).as_proto()
    request.inputs["image_bytes"].tensor_shape.CopyFrom(shape)
    return request


BAD_REQUESTS = {
    "unknown model": (request_for([b"a"], name="other"), "NOT_FOUND"),
    "unknown version": (request_for([b"a"], version=2), "NOT_FOUND"),
    "unknown label": (_labeled(), "INVALID_ARGUMENT"),
    "unknown signature": (request_for([b"a"], "nope"), "FAILED_PRECONDITION"),
    "missing input": (_without_input(), "INVALID_ARGUMENT"),
    "unknown input": (_extra_input(), "INVALID_ARGUMENT"),
    "unknown output": (_filtered(), "INVALID_ARGUMENT"),
    "wrong dtype": (request_for([1.0]), "INVALID_ARGUMENT"),
    "wrong rank": (request_for([[b"a"]]), "INVALID_ARGUMENT"),
    "huge shape": (_shaped(1 << 40), "INVALID_ARGUMENT"),
    "open shape": (_shaped(None), "INVALID_ARGUMENT"),
    "high rank": (_shaped(*[1] * 60), "INVALID_ARGUMENT"),
    "empty huge shape": (_shaped(0, 1 << 40, 1 << 40), "INVALID_ARGUMENT"),
    "not a picture": (request_for([b"no picture"]), "INVALID_ARGUMENT"),
}


@pytest.mark.parametrize(("request_", "code"), BAD_REQUESTS.values(), ids=BAD_REQUESTS)
def test_bad_grpc_request_has_its_code_and_one_line(stub, request_, code):
    with pytest.raises(grpc.RpcError) as error:
        stub.Predict(request_)
    assert error.value.code().name == code
    assert "\n" not in error.value.details()


def test_grpc_status_and_metadata(server, stub):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "cgc"
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert stub.GetModelMetadata(request).metadata["signature_def"].Unpack(signatures)
    assert {"serving_default", "explain"} <= set(signatures.signature_def)
    with grpc.insecure_channel(server.grpc_url.removeprefix("grpc://")) as channel:
        service = model_service_pb2_grpc.ModelServiceStub(channel)
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=request.model_spec)
        (version,) = service.GetModelStatus(request).model_version_status
    assert version.version == 10
    assert version.state == get_model_status_pb2.ModelVersionStatus.AVAILABLE
