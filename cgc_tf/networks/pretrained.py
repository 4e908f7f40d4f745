"""What a network starts from: `--weights`, understood in one place, and a file of PyTorch read once."""

import dataclasses
import difflib
import functools
import pathlib

import keras
import numpy as np

from cgc_tf.common.errors import UserError
from cgc_tf.networks import keras_weights, packages, presets, torch_files, torch_weights
from cgc_tf.networks.torch_names import Naming

# A run is understood by `training.new_model`, since networks know of none.
HOW = (
    "none, imagenet, a KerasHub preset (a name, a handle such as hf://timm/resnet50.a1_in1k, or a folder), a run of "
    "this project (its folder, or one of its checkpoints), or a local .h5, .keras, .weights.h5, .safetensors, .pth, "
    ".pth.tar or .pt file"
)


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """Weights to start from.

    Attributes:
        name: what the user calls them.
        kind: "none", "imagenet", "preset", "keras" (a file of Keras) or "torch" (a file of PyTorch).
        path: the file, where it is one; else empty.
    """

    name: str
    kind: str
    path: str = ""

    @functools.cached_property
    def tensors(self) -> dict[str, np.ndarray]:
        """The tensors of a PyTorch file by their names; raises `UserError` where it cannot be read."""
        return torch_files.read_tensors(self.path)

    def load_torch(
        self, backbone: keras.Model, naming: Naming, classifier: keras.layers.Dense | None = None
    ) -> list[str]:
        """Puts a PyTorch file's tensors into a backbone, and into a classifier if one is given; returns a report.

        Raises:
            UserError: the file cannot be read or does not fit.
        """
        layers = {layer.name: layer for layer in backbone._flatten_layers(include_self=False)}
        return torch_weights.load(self.tensors, layers, naming, classifier, pathlib.Path(self.path).name)


def parse(weights: str, backbone: str) -> Pretrained:
    """What a value of `--weights` names for a backbone, unless it is a run.

    Raises:
        UserError: it names nothing that is known; a file is missing, is not what its name says, or needs a package
            that is not installed.
    """
    if weights == "imagenet" and backbone in packages.PACKAGES:
        return Pretrained(weights, "torch", packages.path(backbone))
    if weights in ("none", "imagenet"):
        return Pretrained(weights, weights)
    if "://" in weights or (pathlib.Path(weights) / "config.json").exists():
        return Pretrained(weights, "preset")
    if torch_files.is_torch_file(weights):
        return Pretrained(weights, "torch", weights)
    if weights.endswith((".h5", ".keras")):
        keras_weights.check(weights)
        return Pretrained(weights, "keras", weights)
    known = presets.names()
    if weights in known:
        return Pretrained(weights, "preset")
    close = difflib.get_close_matches(weights, known)
    like = f"; presets like it: {', '.join(close)}" if close else ""
    raise UserError(f"--weights={weights} is none of: {HOW}{like}")
