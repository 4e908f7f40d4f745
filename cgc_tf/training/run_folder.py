"""What a workdir holds of a run, and the model that its settings describe."""

import contextlib
import json
import pathlib

import keras

from cgc_tf.common.errors import UserError
from cgc_tf.method.model import CGCModel
from cgc_tf.networks import backbones, torch_files, torch_resnet
from cgc_tf.training import checkpoints, optimizers
from cgc_tf.training import config as settings
from cgc_tf.training.state import restore_trained

CLASSES = "classes.txt"
ARCHITECTURE = "model.json"


def class_names(workdir):
    """The names of the classes that a workdir was trained on, a tuple."""
    text = (pathlib.Path(workdir) / CLASSES).read_text("utf-8")
    return tuple(text.removesuffix("\n").split("\n"))  # as written; `splitlines` also splits at other characters


def in_words(workdir):
    """Which run a workdir holds, in words: its folder, objective, backbone and data, and how far it is trained."""
    config, position = settings.Config.load(workdir), checkpoints.find(workdir).position
    trained = f"trained to {position} of {config.epochs}"
    return f"{workdir}: {config.objective}, {config.backbone} on {config.dataset}, {trained}"


def trained_model(config, workdir, checkpoint=None):
    """The model of a trained workdir, in float32, as a checkpoint left it.

    The `Checkpoint` is the last whole one of the workdir unless another one of the same run is given. Where the run
    kept averages of its weights, they are the model's.

    Raises:
        UserError: there is no whole checkpoint, or it is of another model.
    """
    last = checkpoint or checkpoints.find(workdir)
    model = read_model(config, workdir, precision="float32")
    restore_trained(last.state, model, workdir)
    return model


def make_backbone(config, source):
    """The network of a configuration, without its head; its weights come from `source`, as `--weights` says it.

    What a file holds besides, a classifier, is read by `make_model`; that the file is whole and fits is found out here.
    """
    backbone = backbones.build_backbone(config.backbone, source, config.image_size, config.explain_layer)
    kind = backbones.weight_kind(source)
    if kind == "torch":
        if config.hidden_units and not config.reset_classifier:
            raise UserError("--hidden_units makes a head that no PyTorch file holds; add --reset_classifier")
        _load_torch(source, backbone)
    elif kind == "checkpoint":
        checkpoints.find(source)
    return backbone


def make_model(config, backbone, classes):
    """A new `CGCModel` of a backbone and a new head."""
    classifier = backbones.add_classifier(backbone, classes, config.pooling, config.hidden_units)
    if config.sync_batch_norm:
        backbones.synchronize_batch_norm(classifier)
    model = CGCModel.from_classifier(classifier, config.explain_layer, config.make_objective())
    kind = backbones.weight_kind(config.weights)
    if kind == "torch":
        last = None if config.reset_classifier else classifier.get_layer("classifier")
        print("\n".join(_load_torch(config.weights, backbone, last)))
    elif kind == "checkpoint":
        restore_trained(checkpoints.find(config.weights).state, model, config.weights)
    return model


def _load_torch(path, backbone, classifier=None):
    layers = {layer.name: layer for layer in backbone.layers}
    return torch_resnet.load_resnet(torch_files.read_tensors(path), layers, classifier, path)


def save_architecture(model, workdir):
    """Writes what a workdir's model is made of, so that reading it needs no library's preset and no download."""
    (pathlib.Path(workdir) / ARCHITECTURE).write_text(json.dumps(model.get_config()))


def read_model(config, workdir, precision):
    """The `CGCModel` that a workdir describes, its weights not read yet, to compute in a Keras dtype policy."""
    backbones.import_library(config.backbone)
    try:
        text = (pathlib.Path(workdir) / ARCHITECTURE).read_text()
        model = CGCModel.from_config(json.loads(text.replace(f'"{config.precision}"', f'"{precision}"')))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{workdir}/{ARCHITECTURE} cannot be read: {str(error).splitlines()[0]}") from error
    model.objective = config.make_objective()  # which may have been changed on the way
    return model


def compile_model(model, config, steps_per_epoch, replicas=1):
    """Gives a model its optimizer, built, so that a checkpoint can be read into both."""
    classifier = model.head.get_layer("classifier").trainable_variables
    optimizer = optimizers.make_optimizer(config, steps_per_epoch, classifier, replicas)
    model.compile(optimizer=optimizer, jit_compile=config.xla)
    model.optimizer.build(model.trainable_variables)


@contextlib.contextmanager
def precision(policy):
    """Within it, layers are made to compute in a Keras dtype policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
