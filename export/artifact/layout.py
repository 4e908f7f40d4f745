"""The files of one exported version, and the reading and checking of them, without the model.

VERSION/saved_model.pb, variables/, assets/labels.txt      what TensorFlow loads
VERSION/assets.extra/model_card.json                       what it is, of what, how good
VERSION/assets.extra/tf_serving_warmup_requests            one request for each signature (TF Serving runs them)
VERSION/assets.extra/examples/                             pictures, and what the trained model answered
VERSION/assets.extra/splits.csv                            the pictures of a folder that it was trained and tested on
VERSION/assets.extra/SHA256SUMS                            for `sha256sum --check`, from VERSION
"""

import hashlib
import json
import pathlib

import numpy as np
import tensorflow as tf
from google.protobuf import message
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from cgc_tf.common.files import PathLike

EXTRA = "assets.extra"
WARMUP = f"{EXTRA}/tf_serving_warmup_requests"
SUMS = f"{EXTRA}/SHA256SUMS"
EXAMPLES = f"{EXTRA}/examples"


def signature_defs(version: PathLike) -> dict[str, meta_graph_pb2.SignatureDef]:
    """{name: `SignatureDef`} of a version's signatures that can be called, read without loading it."""
    saved = saved_model_pb2.SavedModel.FromString((pathlib.Path(version) / "saved_model.pb").read_bytes())
    signatures = saved.meta_graphs[0].signature_def
    return {name: signature for name, signature in signatures.items() if not name.startswith("__")}


def example_pictures(size: int) -> dict[str, bytes]:
    """Two drawn pictures, the same at each call: {file name: bytes}, a JPEG and a PNG of two sizes."""
    rng = np.random.default_rng(7)
    smooth = [tf.image.resize(rng.uniform(0, 255, [6, 6, 3]), [size + more, size + wider], "bicubic")
              for more, wider in ((9, size // 3), (size // 2, 0))]  # fmt: skip
    pixels = [tf.cast(tf.clip_by_value(image, 0, 255), tf.uint8) for image in smooth]
    return {"0.jpg": tf.io.encode_jpeg(pixels[0]).numpy(), "1.png": tf.io.encode_png(pixels[1]).numpy()}


def read_examples(version: PathLike) -> tuple[list[bytes], dict[str, np.ndarray]]:
    """A version's stored pictures, and what the trained model answered, {output: float32 array `[B, ...]`}."""
    folder = pathlib.Path(version) / EXAMPLES
    answers = json.loads((folder / "expected.json").read_text())
    encoded = [(folder / name).read_bytes() for name in answers.pop("pictures")]
    return encoded, {name: np.array(value, np.float32) for name, value in answers.items()}


def warmup_inputs(
    signature_def: meta_graph_pb2.SignatureDef, picture: bytes, size: int
) -> dict[str, tensor_pb2.TensorProto]:
    """One example's inputs, {name: `TensorProto`}, for any of our signatures; images are of one color."""
    inputs = {}
    for name, info in signature_def.inputs.items():
        if info.dtype == tf.string.as_datatype_enum:
            inputs[name] = tf.make_tensor_proto([picture])
        elif len(info.tensor_shape.dim) == 4:
            # One value and a shape to fill with it, in place of all the pixels.
            inputs[name] = tf.make_tensor_proto(127, tf.as_dtype(info.dtype), [1, size, size, 3])
        else:
            inputs[name] = tf.make_tensor_proto([0], tf.as_dtype(info.dtype))
    return inputs


def write_warmup(version: pathlib.Path, picture: bytes, size: int) -> None:
    """Writes one `PredictionLog` for each signature; the model's name is TF Serving's to fill in."""
    with tf.io.TFRecordWriter(str(version / WARMUP)) as file:
        for name, signature in signature_defs(version).items():
            request = predict_pb2.PredictRequest(inputs=warmup_inputs(signature, picture, size))
            request.model_spec.signature_name = name
            log = prediction_log_pb2.PredictionLog(predict_log={"request": request})
            file.write(log.SerializeToString())


def read_warmup(version: PathLike) -> list[predict_pb2.PredictRequest]:
    """The `PredictRequest`s of a version's warm-up file, a list; empty where it has none.

    Raises:
        ValueError: the file is damaged, which would keep TF Serving from loading the version.
    """
    path = pathlib.Path(version) / WARMUP
    if not path.exists():
        return []
    try:
        records = [record.numpy() for record in tf.data.TFRecordDataset(str(path))]
        if not records:  # how TensorFlow reads a file that is cut off within its first bytes
            raise ValueError("it holds no whole record")
        return [prediction_log_pb2.PredictionLog.FromString(record).predict_log.request for record in records]
    except (ValueError, message.DecodeError, tf.errors.OpError) as error:
        raise ValueError(f"{path} is damaged: {str(error).splitlines()[0]}") from error


def write_sums(version: pathlib.Path) -> None:
    """Writes the SHA-256 of every file of a version."""
    files = sorted(path for path in version.rglob("*") if path.is_file() and path != version / SUMS)
    lines = [f"{_sha256(path)}  {path.relative_to(version).as_posix()}\n" for path in files]
    (version / SUMS).write_text("".join(lines))


def changed_files(version: PathLike) -> list[str]:
    """The files, a list of names, whose checksums are not those written with them, or that are gone."""
    version, changed = pathlib.Path(version), []
    for line in (version / SUMS).read_text().splitlines():
        expected, _, name = line.partition("  ")
        if not (version / name).is_file() or _sha256(version / name) != expected:
            changed.append(name)
    return changed


def _sha256(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
