"""What can be evaluated, behind one interface: a trained run, a checkpoint from elsewhere, or a SavedModel."""

import dataclasses
import pathlib
from collections.abc import Callable

import tensorflow as tf

from cgc_tf import backbones, explainers, runs
from cgc_tf import config as settings
from cgc_tf.errors import UserError
from cgc_tf.model import CGCModel


@dataclasses.dataclass(frozen=True)
class Subject:
    """A model to be measured.

    Attributes:
        name: what tables and figures call it.
        folder: where its reports go.
        config: its `Config`; of a SavedModel what is known of it.
        class_names: the names of its classes.
        probabilities: a callable, images `[B, H, W, 3]` in 0..255 -> float32 `[B, classes]`.
        explain: an explainer (see `explainers`).
        model: the `CGCModel`; None for a SavedModel, whose inside cannot be reached.
        takes_any_size: whether images may be of another size than `config.image_size` squared.
        takes_any_class: whether another class than the predicted one can be explained.
        owner: what holds a SavedModel's variables, which its signatures do not.
    """

    name: str
    folder: pathlib.Path
    config: settings.Config
    class_names: tuple[str, ...]
    probabilities: Callable
    explain: Callable
    model: CGCModel | None = None
    takes_any_size: bool = True
    takes_any_class: bool = True
    owner: object = None

    def check(self, protocol):
        """Raises `UserError` where a `Protocol` asks for what only the network itself can answer."""
        asked = {
            "explained_class": protocol.explained_class == "label" and not self.takes_any_class,
            "ch_resize": protocol.ch_resize and not self.takes_any_size,
            "randomization": protocol.randomization and not self.model,
        }
        for name in filter(asked.get, asked):
            raise UserError(
                f"--{name}={getattr(protocol, name)}: {self.name} has no signature for it; measure the run it came from"
            )

    def explained_by(self, explainer, seed=0):
        """The same subject under another explainer, one of `explainers.NAMES`."""
        if not explainer:
            return self
        if not self.model:
            raise UserError(f"--explainer={explainer} needs the network itself; a SavedModel has its own explanation")
        explain = explainers.make(explainer, self.model, seed)
        return dataclasses.replace(self, name=f"{self.name}, {explainer}", explain=explain)


def from_workdir(workdir):
    """The run that a workdir holds, as its last checkpoint left it."""
    config = settings.Config.load(workdir)
    workdir = pathlib.Path(workdir)
    return _of_model(runs.trained_model(config, workdir), workdir.name, workdir, config, runs.class_names(workdir))


def from_checkpoint(config, class_names, folder):
    """A configuration's network with `config.weights`, classifier included: nothing is trained.

    Args:
        config: a `Config`; its `weights` is a file that holds a classifier of these classes.
        class_names: those of the dataset that it is measured on.
        folder: where reports go.

    Raises:
        UserError: the file cannot be read, or no classifier is read from it.
    """
    kinds = ("checkpoint",) if config.hidden_units else ("checkpoint", "torch")
    if backbones.weight_kind(config.weights) not in kinds:
        raise UserError(
            f"--checkpoint --weights={config.weights}: a trained classifier is read from a run of this project (its "
            "folder) or from a ResNet's file of PyTorch"
        )
    config = dataclasses.replace(config, reset_classifier=False)
    model = runs.make_model(config, runs.make_backbone(config, config.weights), len(class_names))
    return _of_model(model, pathlib.Path(config.weights).name, pathlib.Path(folder), config, class_names)


def _of_model(model, name, folder, config, class_names):
    probabilities = tf.function(lambda images: tf.nn.softmax(model(images, training=False)), reduce_retracing=True)
    return Subject(name, folder, config, tuple(class_names), probabilities, explainers.make("", model), model)


def from_saved_model(path, config, class_names, folder):
    """An exported model, called through its signatures alone.

    A signature over image tensors is used where there is one, and else the one over encoded pictures: each image is
    then framed and encoded as PNG so that the export's own centre crop gives back exactly these pixels, in whole
    numbers of 0..255. Such a model is measured on centre views only, and explains the predicted class unless a
    signature takes a class.

    Args:
        path: a version's folder, with saved_model.pb, or the folder of versions, whose highest is taken.
        config: a `Config`, of which `image_size` must be the export's.
        class_names: those of the dataset that it is measured on.
        folder: where reports go.

    Raises:
        UserError: there is no SavedModel, or none that explains.
    """
    loaded = _load(pathlib.Path(path))
    explaining = [f for f in loaded.signatures.values() if "heatmap" in f.structured_outputs]
    if not explaining:
        raise UserError(f"--saved_model={path} has no signature with a heatmap, only {', '.join(loaded.signatures)}")
    best = max(explaining, key=lambda signature: (_image_input(signature).dtype != tf.string, _takes_class(signature)))
    images, size = _image_input(best), config.image_size
    if images.dtype != tf.string and images.shape[1] not in (None, size):
        raise UserError(f"--saved_model={path} takes images of {images.shape[1]} pixels; pass --image_size")
    if best.structured_outputs["probabilities"].shape[-1] not in (None, len(class_names)):
        raise UserError(f"--saved_model={path} has other classes than the dataset's {len(class_names)}")

    def call(pictures, class_ids):
        arguments = {images.name: _framed(pictures, size) if images.dtype == tf.string else _as(pictures, images)}
        arguments |= {name: tf.cast(class_ids, spec.dtype) for name, spec in _class_inputs(best).items()}
        return best(**arguments)

    def probabilities(pictures):
        return call(pictures, tf.zeros([tf.shape(pictures)[0]], tf.int32))["probabilities"]

    return Subject(
        name=pathlib.Path(path).name,
        folder=pathlib.Path(folder),
        config=config,
        class_names=tuple(class_names),
        probabilities=tf.function(probabilities, reduce_retracing=True),
        explain=tf.function(lambda pictures, ids: call(pictures, ids)["heatmap"], reduce_retracing=True),
        takes_any_size=images.dtype != tf.string and images.shape[1] is None,
        takes_any_class=_takes_class(best),
        owner=loaded,
    )


def _load(path):
    versions = [pb.parent for pb in path.glob("*/saved_model.pb") if pb.parent.name.isdecimal()]
    try:
        return tf.saved_model.load(str(max(versions, key=lambda version: int(version.name), default=path)))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise UserError(f"--saved_model={path} cannot be loaded: {str(error).splitlines()[0]}") from error


def _inputs(signature):
    return signature.structured_input_signature[1]


def _image_input(signature):
    return next(spec for spec in _inputs(signature).values() if spec.dtype == tf.string or len(spec.shape) == 4)


def _class_inputs(signature):
    return {name: spec for name, spec in _inputs(signature).items() if spec.dtype.is_integer and len(spec.shape) == 1}


def _takes_class(signature):
    return bool(_class_inputs(signature))


def _as(pictures, spec):
    if spec.dtype.is_integer:
        pictures = tf.clip_by_value(tf.round(tf.cast(pictures, tf.float32)), 0, 255)
    return tf.cast(pictures, spec.dtype)


def _framed(pictures, size):
    """PNGs, string `[B]`, whose centre view (`geometry.centre_view`) is the given S x S pixels."""
    frame = round(size * 256 / 224) - size
    # The view starts at round(frame / 2), halves to even.
    before = round(frame / 2)
    paddings = [[0, 0], [before, frame - before], [before, frame - before], [0, 0]]
    whole = tf.clip_by_value(tf.round(tf.cast(pictures, tf.float32)), 0, 255)
    whole = tf.pad(tf.cast(whole, tf.uint8), paddings)
    return tf.map_fn(tf.io.encode_png, whole, fn_output_signature=tf.string)
