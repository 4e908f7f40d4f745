"""A small module with the signatures of a real export, and requests to it: what the tests of serving share."""

import base64
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import requests
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

ROOT = pathlib.Path(__file__).parents[2]
CLASSES, HEATMAP = 6, 7
LABELS = ["ä", "b", "c", "d", "e", "f"]
PREDICTIONS = {"probabilities", "class_id", "score", "label", "top5_class_id", "top5_score", "top5_label"}
EXPLANATIONS = PREDICTIONS | {"heatmap", "heatmap_box"}


class Classifier(tf.Module):
    """The signatures that `export.saved_model` writes, over a linear model of mean colors."""

    def __init__(self, seed):
        super().__init__()
        self.weights = tf.Variable(tf.random.stateless_normal([3, CLASSES], [seed, 1]) * 9)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")])
    def explain(self, image_bytes):
        def look(data):
            image = tf.io.decode_image(data, channels=3, expand_animations=False)
            return tf.image.resize(tf.cast(image, tf.float32) / 255, [HEATMAP, HEATMAP])

        pixels = tf.map_fn(look, image_bytes, fn_output_signature=tf.float32)
        pixels = tf.ensure_shape(pixels, [None, HEATMAP, HEATMAP, 3])
        probabilities = tf.nn.softmax(tf.reduce_mean(pixels, [1, 2]) @ self.weights)
        score, class_id = tf.math.top_k(probabilities, 5)
        top = {"class_id": class_id, "score": score, "label": tf.gather(tf.constant(LABELS), class_id)}
        return {
            "probabilities": probabilities,
            **{name: value[:, 0] for name, value in top.items()},
            **{f"top5_{name}": value for name, value in top.items()},
            "heatmap": tf.reduce_mean(pixels, -1),
            "heatmap_box": tf.tile([[0.0, 0.25, 1.0, 0.75]], [tf.shape(pixels)[0], 1]),
        }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string), tf.TensorSpec([None], tf.int32)])
    def explain_class(self, image_bytes, class_id):
        answer = self.explain(image_bytes)
        return {**answer, "heatmap": answer["heatmap"] * tf.cast(class_id, tf.float32)[:, None, None] / CLASSES}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")])
    def serving_default(self, image_bytes):
        answer = self.explain(image_bytes)
        return {name: answer[name] for name in sorted(PREDICTIONS)}

    @tf.function(input_signature=[tf.TensorSpec([None, 2]), tf.TensorSpec([None], tf.int32)])
    def add(self, a, b):
        return {"total": tf.reduce_sum(a, -1) + tf.cast(b, tf.float32)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")])
    def echo(self, text):
        return {"echo_bytes": text, "length": tf.reshape(tf.size(text), [1])}


def b64(data):
    return {"b64": base64.b64encode(data).decode()}


def post(server, body, path="/v1/models/cgc:predict"):
    body = body if isinstance(body, bytes | str) else json.dumps(body)
    response = requests.post(server.rest_url + path, data=body, timeout=20)
    return response.status_code, response.json()


def request_for(images, signature="", **spec):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = spec.get("name", "cgc")
    request.model_spec.signature_name = signature
    if "version" in spec:
        request.model_spec.version.value = spec["version"]
    request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(images))
    return request


def assert_same(answer, expected, names):
    assert set(answer) == names
    for name, value in answer.items():
        assert value.shape == expected[name].shape
        assert value.dtype == expected[name].dtype
        if value.dtype.kind == "f":
            np.testing.assert_allclose(value, expected[name], atol=1e-6)
        else:
            np.testing.assert_array_equal(value, expected[name])


def start(module, *args, cwd=None, env=None):
    environment = (env or os.environ) | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", module, *map(str, args)]
    return subprocess.Popen(command, cwd=cwd, env=environment, stdout=-1, stderr=-1, text=True, encoding="utf-8")


def write_version(root, number):
    """Saves the module as a version, under its number when it is whole."""
    module = Classifier(seed=number)
    names = ("serving_default", "explain", "explain_class", "add", "echo")
    module.labels = tf.saved_model.Asset(str(root / "labels.txt"))
    signatures = {name: getattr(module, name) for name in names}
    tf.saved_model.save(module, str(root / f"partial-{number}"), signatures)
    os.rename(root / f"partial-{number}", root / str(number))
