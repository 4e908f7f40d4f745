"""What a workdir holds of a run, and the model that its settings describe."""

import contextlib
import pathlib

import keras

from cgc_tf import backbones, optimizers, weights
from cgc_tf.errors import UserError
from cgc_tf.model import CGCModel

CHECKPOINT = "checkpoints/last.weights.h5"
CLASSES = "classes.txt"


def class_names(workdir):
    """The names of the classes that a workdir was trained on, a tuple."""
    return tuple((pathlib.Path(workdir) / CLASSES).read_text().splitlines())


def trained_checkpoint(workdir):
    """The path of a workdir's last checkpoint; raises `UserError` where there is none."""
    path = pathlib.Path(workdir) / CHECKPOINT
    if not path.exists():
        raise UserError(f"{workdir} has no checkpoint ({CHECKPOINT}): its training did not finish an epoch")
    return path


def trained_model(config, workdir):
    """The model of a trained workdir, in float32, as its last checkpoint left it; averaged, if its weights were."""
    checkpoint = trained_checkpoint(workdir)
    model = make_model(config, make_backbone(config, weights="none"), len(class_names(workdir)))
    if config.ema_momentum:
        compile_model(model, config, steps_per_epoch=1)
    weights.load_checkpoint(checkpoint, model)
    if config.ema_momentum:
        optimizers.average_weights(model)
    return model


def make_backbone(config, weights):
    """The network of a configuration, without its head, from given weights."""
    return backbones.build_backbone(config.backbone, weights, config.image_size, config.explain_layer)


def make_model(config, backbone, classes):
    """A `CGCModel` of a backbone and a new head, built."""
    classifier = backbones.add_classifier(backbone, classes, config.pooling, config.hidden_units)
    if config.sync_batch_norm:
        backbones.synchronize_batch_norm(classifier)
    return CGCModel.from_classifier(classifier, config.explain_layer, config.make_objective())


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
