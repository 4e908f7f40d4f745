"""Serves an exported model as TF Serving does, where `tensorflow_model_server` cannot be installed.

    python -m export.server --model_dir=exported

The folder holds numbered versions (exported/1/saved_model.pb, ...); the highest is served, over gRPC and REST, and a
page to try it on a picture at REST's address. A new version is taken up while the old one goes on answering.
"""

import signal
import threading

from absl import flags

from cgc_tf.common import program
from cgc_tf.common.errors import UserError


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
    serve, labels = _versions(args)
    import cgc_tf.common.quiet_tensorflow  # noqa: F401  # after what needs no TensorFlow is refused

    from .serving.loopback import Server
    from .serving.versions import Model

    stop = threading.Event()
    model = Model(args.model_dir, args.model_name, serve, labels, args.watch_seconds)
    answers = args.rest_api_enable_cors_support, args.enable_serialization_as_tensor_content
    with Server(model, args.host, args.rest_port, args.grpc_port, *answers) as server:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        print(f"page: {server.rest_url}/", flush=True)
        print(f"REST: {server.rest_url}/v1/models/{model.name}", flush=True)
        print(f"gRPC: {server.grpc_url}", flush=True)
        stop.wait()


if __name__ == "__main__":
    program.run(main)
