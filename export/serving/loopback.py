"""The loopback server: TF Serving's two protocols over one model, at their ports."""

import logging
import socket
import threading
from concurrent import futures

import grpc
import waitress.server
from waitress import wasyncore

from cgc_tf.common.errors import UserError

from . import rest_service
from .grpc_service import Servicer
from .monitoring import Metrics
from .servable import MAX_BYTES
from .versions import Model

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
