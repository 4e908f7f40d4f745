"""A training run, from a `Config` to a workdir: strategy, data, resume, fit."""

import pathlib
import sys

import keras
import tensorflow as tf

from cgc_tf import cache, data, memory, runs, sources, weights
from cgc_tf import config as settings
from cgc_tf.callbacks import Checkpoint, callbacks
from cgc_tf.errors import UserError
from cgc_tf.objective import VIEWS


@sources.bad_pictures_named
def train(config, workdir=None):
    """Trains, or goes on with a run that was interrupted, epoch by epoch.

    Args:
        config: a `Config`.
        workdir: where the run is kept; None makes `config.default_workdir()`.

    Returns:
        The workdir, a `pathlib.Path`: config.json, checkpoints/, metrics.csv, tensorboard/.

    Raises:
        UserError: before any training, for whatever the user can mend.
    """
    workdir = pathlib.Path(workdir or config.default_workdir())
    memory.keep_freed_memory()
    make_deterministic(config.seed, config.xla)
    if (workdir / settings.FILE).exists():
        config.check_same(workdir)
    strategy = make_strategy(config)
    model, source, unlabeled, done = _prepare(config, workdir, strategy)
    if done >= config.epochs:
        print(f"{workdir} is already trained")
        return workdir
    print(_summary(config, source, unlabeled, done, workdir))
    steps = _steps_per_epoch(config, source, unlabeled)
    validation = data.validation_batches(
        source, source.validation, config.image_size, config.batch_size, config.validation_examples
    )
    watching = callbacks(config, workdir, validation)
    model.fit(
        training_stream(config, source, unlabeled, config.epochs * steps, done * steps),
        epochs=config.epochs,
        initial_epoch=done,
        steps_per_epoch=steps,
        shuffle=False,
        validation_data=validation,
        callbacks=watching,
        verbose=1 if sys.stdout.isatty() else 2,
    )
    if config.early_stopping:  # which has given the model its best weights back
        next(x for x in watching if isinstance(x, Checkpoint)).write(config.epochs)
    return workdir


def _prepare(config, workdir, strategy):
    """The model as it is to be trained from here, the two sources, and the epochs that are done; writes the workdir."""
    checkpoint = workdir / runs.CHECKPOINT
    is_resumed = checkpoint.exists()
    if not is_resumed:
        with strategy.scope(), runs.precision(config.precision):
            backbone = runs.make_backbone(config, "none")  # finds every mistake of names before data is prepared
    source, unlabeled = open_sources(config)
    # Preparing a dataset draws from Python's generator, so that a first run would get another head than a second.
    keras.utils.set_random_seed(config.seed)
    with strategy.scope(), runs.precision(config.precision):
        if is_resumed:
            model = runs.read_model(config, workdir, config.precision)
        else:
            if config.weights != "none":
                backbone = runs.make_backbone(config, config.weights)
            model = runs.make_model(config, backbone, len(source.class_names))
        steps = _steps_per_epoch(config, source, unlabeled)
        runs.compile_model(model, config, steps, strategy.num_replicas_in_sync)
    done = weights.load_checkpoint(checkpoint, model) if is_resumed else 0
    config.save(workdir)
    (workdir / runs.CLASSES).write_text("\n".join(source.class_names) + "\n")
    sources.write_skipped(workdir, source, unlabeled)
    runs.save_architecture(model, workdir)
    return model, source, unlabeled, done


def _steps_per_epoch(config, source, unlabeled):
    return (unlabeled or source).sizes["train"] // config.batch_size


def make_deterministic(seed, xla=False):
    """Seeds everything random, and makes a step on one device give the same bits every time."""
    keras.utils.set_random_seed(seed)
    if not xla:  # which Keras does not use where operations are asked to be deterministic
        tf.config.experimental.enable_op_determinism()
    # AddN adds its inputs in whatever order their buffers fall free, which with several threads is a matter of chance.
    # Several GPUs want those threads; there the same seed agrees to rounding.
    if len(tf.config.list_physical_devices("GPU")) <= 1 and tf.config.threading.get_inter_op_parallelism_threads() != 1:
        try:
            tf.config.threading.set_inter_op_parallelism_threads(1)
        except RuntimeError:
            print("note: TensorFlow was in use before; the same seed will agree to rounding only")


def make_strategy(config):
    """The `tf.distribute.Strategy` of a configuration; raises `UserError` where its replicas cannot share a batch."""
    if config.strategy == "single":
        return tf.distribute.get_strategy()
    strategy = tf.distribute.MirroredStrategy()
    replicas = strategy.num_replicas_in_sync
    if config.batch_size % replicas:
        raise UserError(f"--batch_size={config.batch_size} should divide by {replicas} replicas")
    if config.accumulate_steps > 1:  # Keras updates within a `cond`, where a mirrored variable cannot be updated
        if replicas > 1:
            raise UserError(f"--accumulate_steps works on one device, not on {replicas}: add --strategy=single")
        return tf.distribute.get_strategy()
    return strategy


def open_sources(config):
    """The source of labelled examples, and that of unlabelled ones or None; each is large enough for a batch."""
    source, unlabeled = sources.load(config.dataset, config.data_dir or None, config.on_bad_image), None
    if config.early_stopping and "validation" not in source.sizes:
        raise UserError(f"--early_stopping needs a split named validation, which {source.name} does not have")
    source = cache.cached(source, config.cache)
    if config.labeled_fraction < 1:
        source, unlabeled = sources.labeled_part(source, config.labeled_fraction, config.seed)
    if not config.takes_rest:
        unlabeled = None
    if config.unlabeled_dataset and not config.takes_rest:
        unlabeled = sources.load(config.unlabeled_dataset, config.unlabeled_data_dir or None, config.on_bad_image)
        unlabeled = cache.cached(unlabeled, config.cache)
    for kind, opened in (("training", source), ("unlabeled", unlabeled)):
        if opened and opened.sizes["train"] < config.batch_size:
            raise UserError(
                f"--batch_size={config.batch_size} is more than the {opened.sizes['train']} {kind} examples"
            )
    return source, unlabeled


def training_stream(config, source, unlabeled, steps, first_step):
    """A run's `data.training_batches` from a step on, with the unlabelled ones where there are some."""
    arguments = config.image_size, config.batch_size, config.seed, steps, first_step

    def batches(opened, wanted):
        return data.training_batches(opened, *arguments, wanted, config.color_jitter)

    if not unlabeled:
        return batches(source, VIEWS)
    return data.with_unlabeled(batches(source, config.ce_views), batches(unlabeled, ("original", "augmented")))


def _summary(config, source, unlabeled, done, workdir):
    beside = f" and {unlabeled.sizes['train']} without labels ({unlabeled.name})" if unlabeled else ""
    return (
        f"{config.dataset}: {source.sizes['train']} training examples of {len(source.class_names)} classes{beside}, "
        f"{config.backbone}, objective {config.objective}; epochs {done + 1} to {config.epochs} into {workdir}"
    )
