"""One exported model, loaded and called with checked inputs: what both protocols of the server translate to.

Its errors are TensorFlow's own, because a `tf.errors.OpError` has gRPC's codes already: a request refused here and a
picture that the graph cannot decode then take the same way out.
"""

import pathlib

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2

from cgc_tf.errors import UserError


class Servable:
    """The highest version in a model folder, called with checked inputs; safe to share by threads.

    Its methods raise `tf.errors.OpError`: NOT_FOUND for another model or version,
    FAILED_PRECONDITION for an unknown signature, INVALID_ARGUMENT for inputs and outputs that the
    signature does not have; an error inside the graph keeps its own code.
    """

    def __init__(self, model_dir, name="cgc"):
        """Loads the model; raises `UserError` when `model_dir` holds no version or a broken one."""
        found = pathlib.Path(model_dir).glob("*/saved_model.pb")
        versions = {int(pb.parent.name): pb for pb in found if pb.parent.name.isdecimal()}
        if not versions:
            raise UserError(f"--model_dir={model_dir} holds no version, such as 1/saved_model.pb")
        self.name, self.version = name, max(versions)
        pb = versions[self.version]
        try:
            # Kept although only the signatures are called: they do not own the variables.
            self._loaded = tf.saved_model.load(str(pb.parent))
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise UserError(f"cannot load {pb.parent}: {gist(str(error))}") from error
        saved = saved_model_pb2.SavedModel.FromString(pb.read_bytes())
        self._signature_defs = saved.meta_graphs[0].signature_def

    def check(self, name, version=None):
        """Raises unless `name` and `version` (None: any) are what is served."""
        if name != self.name or version not in (None, self.version):
            wanted = name if version is None else f"{name} version {version}"
            served = f"{self.name} version {self.version}"
            raise tf.errors.NotFoundError(None, None, f"no model {wanted}; this is {served}")

    def inputs(self, signature):
        """The `tf.TensorSpec` of each input of `signature`, by name."""
        return self._function(signature).structured_input_signature[1]

    def predict(self, signature, inputs, output_filter=()):
        """Runs `signature` on {name: tensor or nested lists}; returns {output name: numpy array}.

        A tensor must have the input's dtype; lists are converted to it where nothing is lost.
        `output_filter` names the outputs to return, all when it is empty.
        """
        function, specs = self._function(signature), self.inputs(signature)
        require(set(inputs) == set(specs), f"{signature} takes {list(specs)}, not {list(inputs)}")
        unknown = set(output_filter) - set(function.structured_outputs)
        require(not unknown, f"{signature} has no outputs {sorted(unknown)}")
        tensors = {name: _tensor(name, inputs[name], spec) for name, spec in specs.items()}
        try:
            outputs = function(**tensors)
        except tf.errors.OpError as error:
            raise type(error)(None, None, gist(error.message)) from error
        return {name: outputs[name].numpy() for name in output_filter or outputs}

    def spec(self, signature=""):
        """The `ModelSpec` that answers echo."""
        version = {"value": self.version}
        return model_pb2.ModelSpec(name=self.name, version=version, signature_name=signature)

    def status(self):
        """The `GetModelStatusResponse`: one version, available."""
        state = get_model_status_pb2.ModelVersionStatus.AVAILABLE
        version = {"version": self.version, "state": state, "status": {}}
        return get_model_status_pb2.GetModelStatusResponse(model_version_status=[version])

    def metadata(self):
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


def require(condition, message):
    """Raises INVALID_ARGUMENT with the message unless the condition holds."""
    if not condition:
        raise tf.errors.InvalidArgumentError(None, None, message)


def _tensor(name, value, spec):
    """`value` as a tensor of `spec`; INVALID_ARGUMENT, without echoing megabytes of it, if not."""
    expected = f"{name} must be {spec.dtype.name} {spec.shape}"
    if not tf.is_tensor(value):
        try:
            if spec.dtype.is_integer:
                # Raises where an integer does not fit; TensorFlow would wrap it around.
                np.array(value, spec.dtype.as_numpy_dtype)
            value = tf.convert_to_tensor(value, spec.dtype)
        except (TypeError, ValueError, OverflowError) as error:
            raise tf.errors.InvalidArgumentError(None, None, expected) from error
    fits = value.dtype == spec.dtype and spec.shape.is_compatible_with(value.shape)
    require(fits, f"{expected}, not {value.dtype.name} {value.shape}")
    return value


def gist(message):
    """The line that says what went wrong, out of TensorFlow's account of where it did."""
    text = message.rpartition("<stack traces unavailable>\n")[2]
    text = text.partition("(0) ")[2] or text  # the first of "2 root error(s) found."
    return text.strip().partition("\n")[0]
