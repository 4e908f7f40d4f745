"""One version of an exported model, loaded and called with checked inputs: what both protocols of the server share.

Its errors are TensorFlow's own, because a `tf.errors.OpError` has gRPC's codes already: a request refused here and a
picture that the graph cannot decode then take the same way out.
"""

import os
import pathlib
import threading
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2, model_pb2

from cgc_tf.common.errors import UserError
from cgc_tf.common.files import PathLike
from cgc_tf.report import model_card

from ..artifact import layout

MAX_BYTES = 64 << 20  # of one message, in either protocol
MAX_RANK = 16  # of inputs; TensorFlow ends the whole process when some far higher ranks reach it
MAX_BATCH = 64  # examples at once: a few bytes of each may ask for a whole view's work
# At once, over all requests: TensorFlow spreads each over the cores, and more only hold memory.
_RUNNING = threading.BoundedSemaphore(max(2, os.cpu_count() // 2))


class Servable:
    """One version, called with checked inputs; safe to share by threads.

    Its methods raise `tf.errors.OpError`: FAILED_PRECONDITION for an unknown signature, INVALID_ARGUMENT for inputs and
    outputs that the signature does not have; an error inside the graph keeps its own code.

    Args:
        path: the version's folder, .../NUMBER.
        name: the model's.

    Raises:
        UserError: it cannot be loaded, or its warm-up requests cannot be answered.
    """

    def __init__(self, path: PathLike, name: str = "cgc"):
        self.path, self.name, self.version = pathlib.Path(path), name, int(pathlib.Path(path).name)
        try:
            # Kept although only the signatures are called: they do not own the variables.
            self._loaded = tf.saved_model.load(str(path))
            self._signature_defs = layout.signature_defs(path)
            for request in layout.read_warmup(path):
                inputs = {key: tf.constant(tf.make_ndarray(proto)) for key, proto in request.inputs.items()}
                self.predict(request.model_spec.signature_name, inputs)
        except (OSError, ValueError, LookupError, tf.errors.OpError) as error:
            raise UserError(f"cannot load {path}: {gist(str(error))}") from error

    @property
    def labels(self) -> list[str]:
        """The names of the classes, a list; empty where the version does not carry them."""
        path = self.path / model_card.LABELS
        return path.read_text("utf-8").removesuffix("\n").split("\n") if path.exists() else []

    def inputs(self, signature: str) -> dict[str, tf.TensorSpec]:
        """The `tf.TensorSpec` of each input of `signature`, by name."""
        return self._function(signature).structured_input_signature[1]

    def predict(
        self, signature: str, inputs: Mapping[str, Any], output_filter: Collection[str] = ()
    ) -> dict[str, np.ndarray]:
        """Runs `signature` on {name: tensor, array or nested lists}; returns {output name: numpy array}.

        A tensor or array must have the input's dtype, lists are converted to it; the shape is the graph's to judge, as
        it is in TF Serving. `output_filter` names the outputs to return, all when it is empty.
        """
        function, specs = self._function(signature), self.inputs(signature)
        require(set(inputs) == set(specs), f"{signature} takes {list(specs)}, not {list(inputs)}")
        unknown = set(output_filter) - set(function.structured_outputs)
        require(not unknown, f"{signature} has no outputs {sorted(unknown)}")
        tensors = {name: _tensor(name, inputs[name], spec) for name, spec in specs.items()}
        try:
            outputs = _run(function, tensors)
        except tf.errors.OpError as error:
            raise type(error)(None, None, gist(error.message)) from error
        return {name: outputs[name] for name in output_filter or outputs}

    def spec(self, signature: str = "") -> model_pb2.ModelSpec:
        """The `ModelSpec` that answers echo."""
        version = {"value": self.version}
        return model_pb2.ModelSpec(name=self.name, version=version, signature_name=signature)

    def metadata(self) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """The `GetModelMetadataResponse`: every signature's inputs and outputs."""
        signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=self._signature_defs)
        response = get_model_metadata_pb2.GetModelMetadataResponse(model_spec=self.spec())
        response.metadata["signature_def"].Pack(signatures)
        return response

    def _function(self, signature):
        if signature not in self._loaded.signatures:
            message = f"no signature {signature}; there are {list(self._loaded.signatures)}"
            raise tf.errors.FailedPreconditionError(None, None, message)
        return self._loaded.signatures[signature]


def require(condition: Any, message: str) -> None:
    """Raises INVALID_ARGUMENT with the message unless the condition holds."""
    if not condition:
        raise tf.errors.InvalidArgumentError(None, None, message)


def _run(function, tensors):
    """{output name: numpy array}; a batch of more than `MAX_BATCH` in parts, as TF Serving splits large ones."""
    sizes = {tensor.shape[0] if tensor.shape.rank else 0 for tensor in tensors.values()}
    size = max(sizes, default=0)
    if len(sizes) > 1 or size <= MAX_BATCH:
        with _RUNNING:
            return {name: value.numpy() for name, value in function(**tensors).items()}
    parts = []
    for start in range(0, size, MAX_BATCH):
        part = {name: tensor[start : start + MAX_BATCH] for name, tensor in tensors.items()}
        parts.append(_run(function, part))
        rows = {value.shape[:1] for value in parts[-1].values()}
        require(rows == {(min(MAX_BATCH, size - start),)}, f"at most {MAX_BATCH} examples: outputs are not by example")
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _tensor(name, value, spec):
    """`value` as a tensor of `spec`'s dtype; INVALID_ARGUMENT, without echoing megabytes of it, if not."""
    expected = f"{name} must be {spec.dtype.name} {spec.shape}"
    if not tf.is_tensor(value):
        try:
            value = tf.convert_to_tensor(value, spec.dtype)
        except (TypeError, ValueError) as error:
            raise tf.errors.InvalidArgumentError(None, None, expected) from error
    require(value.dtype == spec.dtype, f"{expected}, not {value.dtype.name} {value.shape}")
    return value


def gist(message: str) -> str:
    """The line that says what went wrong, out of TensorFlow's account of where it did."""
    text = message.rpartition("<stack traces unavailable>\n")[2]
    text = text.partition("(0) ")[2] or text  # the first of "2 root error(s) found."
    line = text.strip().partition("\n")[0]
    if line.startswith("assertion failed: ["):
        line = line.removeprefix("assertion failed: [").replace("] [", " ").removesuffix("]")
    return line
