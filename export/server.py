"""Serves an exported model as TF Serving does, where `tensorflow_model_server` cannot be installed.

    python -m export.server --model_dir=DIR

DIR holds numbered versions (DIR/1/saved_model.pb, ...); the highest is served, over gRPC and REST.
"""

import functools
import logging
import signal
import socket
import threading
from concurrent import futures

import cgc_tf.quiet  # noqa: F401  # isort: skip
import grpc
import tensorflow as tf
import waitress.server
from absl import flags
from tensorflow_serving.apis import model_service_pb2_grpc, predict_pb2, prediction_service_pb2_grpc
from waitress import wasyncore

from cgc_tf.errors import UserError, run
from export import rest
from export.servable import Servable, require

MAX_BYTES = 64 << 20  # of one message, in either protocol
THREADS = 8  # requests at once, in each protocol; TensorFlow itself spreads one over the cores
_GRPC_CODES = {code.value[0]: code for code in grpc.StatusCode}


def _answering(method):
    """Makes a gRPC method of `method(self, request)`: a `tf.errors.OpError` ends the call."""

    @functools.wraps(method)
    def call(self, request, context):
        try:
            return method(self, request)
        except tf.errors.OpError as error:
            # Cut, as the text travels in a header, and an oversized header loses the code as well.
            return context.abort(_GRPC_CODES[error.error_code], error.message[:1000])

    return call


class _Servicer(
    prediction_service_pb2_grpc.PredictionServiceServicer,
    model_service_pb2_grpc.ModelServiceServicer,
):
    """TF Serving's gRPC services; the methods that are not here answer UNIMPLEMENTED."""

    def __init__(self, model):
        self._model = model

    @_answering
    def Predict(self, request):
        spec = self._checked(request)
        signature = spec.signature_name or tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY
        inputs = {name: _from_proto(name, proto) for name, proto in request.inputs.items()}
        outputs = self._model.predict(signature, inputs, request.output_filter)
        outputs = {name: tf.make_tensor_proto(value) for name, value in outputs.items()}
        return predict_pb2.PredictResponse(model_spec=self._model.spec(signature), outputs=outputs)

    @_answering
    def GetModelMetadata(self, request):
        self._checked(request)
        only = set(request.metadata_field) == {"signature_def"}
        require(only, "metadata_field must be signature_def")
        return self._model.metadata()

    @_answering
    def GetModelStatus(self, request):
        self._checked(request)
        return self._model.status()

    def _checked(self, request):
        spec = request.model_spec
        require(not spec.version_label, f"no version is labelled {spec.version_label}")
        self._model.check(spec.name, spec.version.value if spec.HasField("version") else None)
        return spec


def _from_proto(name, proto):
    # A proto may give one value and a shape to fill with it, so that few bytes ask for any amount
    # of memory; what could have been spelled out in one message is enough.
    try:
        shape = tf.TensorShape(proto.tensor_shape)
        require(shape.is_fully_defined(), f"{name} must have a shape without unknown sizes")
        fits = shape.rank <= rest.MAX_RANK and shape.num_elements() <= MAX_BYTES // 4
        require(fits, f"{name} is too large")
        return tf.constant(tf.make_ndarray(proto))
    except (TypeError, ValueError, LookupError) as error:
        raise tf.errors.InvalidArgumentError(None, None, f"{name} is malformed") from error


class Server:
    """Serves `model` from the moment it is made until `stop`; also a context manager.

    `rest_url` ("http://host:port") and `grpc_url` ("grpc://host:port") hold the real ports. Raises
    `UserError` when a port is taken; port 0 is any free one.
    """

    def __init__(self, model, host="127.0.0.1", rest_port=0, grpc_port=0):
        try:
            listener = socket.create_server((host, rest_port))
        except (OSError, OverflowError) as error:
            raise UserError(f"cannot listen on {host}:{rest_port}: {error}") from error
        options = [("grpc.max_receive_message_length", MAX_BYTES)]
        options += [("grpc.max_send_message_length", MAX_BYTES)]
        options += [("grpc.so_reuseport", 0)]  # else a second server silently shares the port
        self._grpc = grpc.server(futures.ThreadPoolExecutor(THREADS), options=options)
        servicer = _Servicer(model)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(servicer, self._grpc)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(servicer, self._grpc)
        try:
            grpc_port = self._grpc.add_insecure_port(f"{host}:{grpc_port}")
        except RuntimeError as error:
            listener.close()
            raise UserError(f"cannot listen on {host}:{grpc_port}: is it taken?") from error
        self._sockets = {}
        self._http = waitress.server.create_server(
            rest.application(model),
            map=self._sockets,
            sockets=[listener],
            threads=THREADS,
            max_request_body_size=MAX_BYTES,
        )
        # A full queue is how waitress holds back a burst, not something to warn of.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        self._loop = threading.Thread(target=self._http.run, daemon=True)
        self._loop.start()
        self._grpc.start()
        self.rest_url = f"http://{host}:{listener.getsockname()[1]}"
        self.grpc_url = f"grpc://{host}:{grpc_port}"

    def stop(self):
        """Gives the requests under way a few seconds, closes every socket, and then returns."""
        self._grpc.stop(grace=5).wait()
        self._http.task_dispatcher.shutdown()
        # Waitress has no call for this. Only its loop may close its sockets, and then it ends.
        self._http.trigger.pull_trigger(lambda: wasyncore.close_all(self._sockets))
        self._loop.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def _define_flags():
    flags.DEFINE_string("model_dir", None, "folder of the versions: <model_dir>/1/saved_model.pb")
    flags.DEFINE_string("model_name", "cgc", "name that requests call the model by")
    flags.DEFINE_string("host", "127.0.0.1", "address to listen on")
    flags.DEFINE_integer("rest_port", 8501, "port for REST; 0 for any free one")
    flags.DEFINE_integer("grpc_port", 8500, "port for gRPC; 0 for any free one")


def main(_):
    """Serves until SIGINT or SIGTERM."""
    args = flags.FLAGS
    if args.model_dir is None:
        raise UserError("--model_dir is missing: the folder that export.saved_model wrote")
    stop = threading.Event()
    model = Servable(args.model_dir, args.model_name)
    with Server(model, args.host, args.rest_port, args.grpc_port) as server:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        print(f"REST: {server.rest_url}/v1/models/{model.name}", flush=True)
        print(f"gRPC: {server.grpc_url}", flush=True)
        stop.wait()


if __name__ == "__main__":
    # Not at import: tests and tools import this beside other modules with flags of these names.
    _define_flags()
    run(main)
