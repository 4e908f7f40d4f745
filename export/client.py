"""Asks a served model about pictures, over REST or gRPC, and draws what it answers.

    python -m export.client --image=cat.jpg --url=grpc://127.0.0.1:8500

Works with `export.server` and with TensorFlow Serving alike.
"""

import base64
import io
import pathlib

import numpy as np
import requests
from absl import flags
from PIL import Image

from cgc_tf.errors import UserError, run

_MAX_BYTES = 64 << 20  # of a gRPC answer; gRPC's default of 4 MB holds few heatmaps


class Client:
    """One model at `url` (http://, https:// or grpc://); raises `UserError` for whatever fails."""

    def __init__(self, url="http://127.0.0.1:8501", model="cgc", timeout=60.0):
        self.url, self.model, self.timeout = url.rstrip("/"), model, timeout
        transports = {"http": self._rest, "https": self._rest, "grpc": self._grpc}
        self._send = transports.get(url.partition("://")[0])
        if self._send is None:
            raise UserError(f"--url={url} must begin with http://, https:// or grpc://")

    def explain(self, images):
        """`predict` with the signature "explain", which adds the heatmaps to the answer:

        heatmap float32 [n, h, w] in 0..1, and heatmap_box float32 [n, 4], the part of each picture
        that its heatmap covers, as fractions (ymin, xmin, ymax, xmax) of the picture.
        """
        return self.predict(images, "explain")

    def predict(self, images, signature="serving_default"):
        """Sends encoded pictures, a list of n `bytes`; returns a dict of numpy arrays:

        probabilities float32 [n, classes], class_id int32 [n], score float32 [n], label str [n].
        """
        return {name: _narrow(value) for name, value in self._send(images, signature).items()}

    def _rest(self, images, signature):
        values = [{"b64": base64.b64encode(image).decode()} for image in images]
        request = {"signature_name": signature, "inputs": {"image_bytes": values}}
        address = f"{self.url}/v1/models/{self.model}:predict"
        try:
            response = requests.post(address, json=request, timeout=self.timeout)
        except requests.Timeout as error:
            raise UserError(f"{self.url} did not answer in {self.timeout:g} s") from error
        except requests.RequestException as error:
            raise UserError(f"cannot reach {self.url}: is the server running?") from error
        try:
            answer = response.json()
            if response.ok:
                return dict(answer["outputs"])
            message = answer["error"]
        except (ValueError, KeyError, TypeError):  # an answer, but not from a model server
            message = response.text or response.reason
        raise UserError(f"{self.url} answered {response.status_code}: {_line(message)}")

    def _grpc(self, images, signature):
        # Here, so that a client of REST need not load TensorFlow, which the stubs import.
        import grpc
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

        request = predict_pb2.PredictRequest()
        request.model_spec.name = self.model
        request.model_spec.signature_name = signature
        request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(images, tf.string))
        options = [("grpc.max_receive_message_length", _MAX_BYTES)]
        with grpc.insecure_channel(self.url.removeprefix("grpc://"), options) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            try:
                answer = stub.Predict(request, timeout=self.timeout)
            except grpc.RpcError as error:
                said = f"{error.code().name}: {_line(error.details())}"
                raise UserError(f"{self.url} answered {said}") from error
        return {name: tf.make_ndarray(proto) for name, proto in answer.outputs.items()}


def _narrow(value):
    """An output as the model made it: JSON widens numbers to 64 bits, gRPC gives text as bytes."""
    array = np.asarray(value)
    if array.dtype == object:
        return np.char.decode(array.astype(bytes), "utf-8", "replace")
    return array.astype({"f": np.float32, "i": np.int32}.get(array.dtype.kind, array.dtype))


def _line(message):
    return " ".join(message.split())[:300]


def _report(answer):
    """Prints the five most probable classes of the first picture."""
    label, score = answer["label"][0], answer["score"][0]
    probabilities = answer["probabilities"][0]
    print(f"{label} (class {answer['class_id'][0]}), score {score:.4f}")
    print("class  probability")
    for index in np.argsort(-probabilities)[:5]:
        print(f"{index:5d}  {probabilities[index]:11.4f}")


def _draw(data, answer, output):
    """Writes the picture `data` with the first heatmap of `answer` over it to `output`, a PNG."""
    from cgc_tf.figures import overlay

    with Image.open(io.BytesIO(data)) as picture:
        # Pixels as stored: the model ignores the orientation tag too, and its box refers to them.
        image = np.asarray(picture.convert("RGB"))
    drawn = overlay(image, answer["heatmap"][0], tuple(answer["heatmap_box"][0]))
    Image.fromarray(drawn).save(output, format="PNG")
    print(f"wrote {output}")


def _define_flags():
    flags.DEFINE_string("image", None, "the picture to ask about, JPEG or PNG")
    flags.DEFINE_string("url", "http://127.0.0.1:8501", "the server; grpc://HOST:PORT for gRPC")
    flags.DEFINE_string("model", "cgc", "name of the model on the server")
    flags.DEFINE_string("signature", "explain", "serving_default answers without a heatmap")
    flags.DEFINE_string("output", None, "PNG to write; default: <image's name>-explained.png here")


def main(_):
    """Asks about one picture, prints the answer, and draws its heatmap if it has one."""
    args = flags.FLAGS
    if args.image is None:
        raise UserError("--image is missing: the picture to ask about")
    path = pathlib.Path(args.image)
    try:
        data = path.read_bytes()
        answer = Client(args.url, args.model).predict([data], args.signature)
        _report(answer)
        if "heatmap" in answer:
            _draw(data, answer, args.output or f"{path.stem}-explained.png")
        else:
            print(f"no picture written: {args.signature} answers without a heatmap")
    except (OSError, Image.DecompressionBombError) as error:  # the message names the file
        raise UserError(str(error)) from error
    except KeyError as error:
        raise UserError(f"{args.signature} does not answer {error}: is it a classifier?") from error


if __name__ == "__main__":
    _define_flags()
    run(main)
