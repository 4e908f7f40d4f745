"""Serves an exported model as TF Serving does, where `tensorflow_model_server` cannot be installed.

    python -m export.server --model_dir=exported

The folder holds numbered versions (exported/1/saved_model.pb, ...); the highest is served, over gRPC and REST, and a
page to try it on a picture at REST's address. A new version is taken up while the old one goes on answering.
"""

import logging
import signal
import socket
import threading
from concurrent import futures

import cgc_tf.common.quiet_tensorflow  # noqa: F401  # isort: skip
import grpc
import waitress.server
from absl import flags
from waitress import wasyncore

from cgc_tf.common import program
from cgc_tf.common.errors import UserError

from .serving import rest_service
from .serving.grpc_service import Servicer
from .serving.monitoring import Metrics
from .serving.servable import MAX_BYTES
from .serving.versions import Model

THREADS = 8  # requests at once, in each protocol; TensorFlow itself spreads one over the cores


class Server:
    """Serves an `export.serving.versions.Model` from the moment it is made until `stop`; also a context manager.

    `rest_url` ("http://host:port") and `grpc_url` ("grpc://host:port") hold the real ports. Raises
    `UserError` when a port is taken; port 0 is any free one. `export.serving.rest_service` says what `cors` is, and
    `export.serving.grpc_service` what `tensor_content` is.
    """

    def __init__(
        self,
        model: Model,
        host: str = "127.0.0.1",
        rest_port: int = 0,
        grpc_port: int = 0,
        cors: bool = False,
        tensor_content: bool = False,
    ):
        try:
            listener = socket.create_server((host, rest_port))
        except (OSError, OverflowError) as error:
            raise UserError(f"cannot listen on {host}:{rest_port}: {error}") from error
        options = [("grpc.max_receive_message_length", MAX_BYTES)]
        options += [("grpc.max_send_message_length", MAX_BYTES)]
        options += [("grpc.so_reuseport", 0)]  # else a second server silently shares the port
        self._grpc = grpc.server(futures.ThreadPoolExecutor(THREADS), options=options)
        self._model, self.metrics = model, Metrics(model.name)
        Servicer(model, self.metrics, tensor_content).add_to(self._grpc)
        try:
            grpc_port = self._grpc.add_insecure_port(f"{host}:{grpc_port}")
        except RuntimeError as error:
            listener.close()
            raise UserError(f"cannot listen on {host}:{grpc_port}: is it taken?") from error
        self._sockets = {}
        self._http = waitress.server.create_server(
            rest_service.application(model, self.metrics, cors),
            map=self._sockets,
            sockets=[listener],
            threads=THREADS,
            max_request_body_size=MAX_BYTES,
            connection_limit=1000,
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
        self._model.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def define_flags():
    """Defines the flags: what to serve, and where."""
    flags.DEFINE_string("model_dir", None, "Folder of the versions: <model_dir>/1/saved_model.pb.")
    flags.DEFINE_string("model_name", "cgc", "Name that requests call the model by.")
    flags.DEFINE_string("host", "127.0.0.1", "Address to listen on.")
    flags.DEFINE_integer("rest_port", 8501, "Port for REST; 0 for any free one.")
    flags.DEFINE_integer("grpc_port", 8500, "Port for gRPC; 0 for any free one.")

    # Named as TF Serving's own.
    flags.DEFINE_bool("rest_api_enable_cors_support", False, "Let pages of other origins ask.")
    flags.DEFINE_bool("enable_serialization_as_tensor_content", False, "Answer gRPC in bytes, not in typed fields.")

    flags.DEFINE_string("versions", "latest", "Which to serve: latest, all, or numbers such as 1,2.")
    flags.DEFINE_list("labels", [], "Names for versions, such as stable=1,canary=2.")
    flags.DEFINE_float("watch_seconds", 1.0, "How often to look for new versions; 0 for never.", lower_bound=0)


def _versions(args):
    """`serve` and `labels` for a `Model`."""
    try:
        labels = {label: int(number) for label, number in (pair.split("=") for pair in args.labels)}
    except ValueError:
        raise UserError(f"--labels={','.join(args.labels)} must be names and numbers, such as stable=1") from None
    if args.versions in ("latest", "all"):
        return args.versions, labels
    try:
        return {int(number) for number in args.versions.split(",")}, labels
    except ValueError:
        raise UserError(f"--versions={args.versions} must be latest, all, or numbers such as 1,2") from None


def main(_):
    """Serves until SIGINT or SIGTERM."""
    args = flags.FLAGS
    if args.model_dir is None:
        raise UserError("--model_dir is missing: the folder that export.saved_model wrote")
    stop = threading.Event()
    serve, labels = _versions(args)
    model = Model(args.model_dir, args.model_name, serve, labels, args.watch_seconds)
    options = {
        "cors": args.rest_api_enable_cors_support,
        "tensor_content": args.enable_serialization_as_tensor_content,
    }
    with Server(model, args.host, args.rest_port, args.grpc_port, **options) as server:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        print(f"page: {server.rest_url}/", flush=True)
        print(f"REST: {server.rest_url}/v1/models/{model.name}", flush=True)
        print(f"gRPC: {server.grpc_url}", flush=True)
        stop.wait()


if __name__ == "__main__":
    program.run(main)
