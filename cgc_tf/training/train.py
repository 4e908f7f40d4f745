"""A training run, from a `Config` to its folder."""

import contextlib
import dataclasses
import pathlib
import sys
from collections.abc import Sequence

import keras

from cgc_tf.common import environment, files
from cgc_tf.common.errors import UserError, counted
from cgc_tf.data import batches
from cgc_tf.data.source import faults_named
from cgc_tf.training import checkpoints, device, journal
from cgc_tf.training.callbacks import callbacks
from cgc_tf.training.checkpointing import Checkpointing
from cgc_tf.training.config import Config
from cgc_tf.training.metrics_file import forget_rows_after
from cgc_tf.training.setup import prepare, training_stream, writing
from cgc_tf.training.signals import Interruption
from cgc_tf.training.workers import Workers, named

FEW = 5000  # pictures, of which a network without pretrained weights learns little


def train(
    config: Config,
    workdir: files.PathLike | None = None,
    allow_changes: bool = False,
    own_callbacks: Sequence[keras.callbacks.Callback] = (),
) -> pathlib.Path:
    """Trains, or goes on with a run that was interrupted, from its last whole checkpoint.

    With pictures in `pictures/train/<class>/` and `pictures/test/<class>/`:

    >>> config = Config("folder", "pictures", backbone="resnet8", image_size=48, batch_size=8, epochs=1)
    >>> workdir = train(config, "runs/first")
    folder: 24 training examples of 3 classes, resnet8, objective cgc; ...
    >>> print(*sorted(path.name for path in workdir.iterdir()))
    checkpoints classes.txt config.json journal.jsonl lock metrics.csv model.json splits.csv tensorboard

    Args:
        config: every setting.
        workdir: the run's folder; None makes `config.default_workdir()`.
        allow_changes: whether the run may go on with another configuration than it has had so far.
        own_callbacks: called after the run's own.

    Returns:
        The run's folder: config.json, journal.jsonl, checkpoints/, metrics.csv, tensorboard/.

    Raises:
        UserError: for whatever the user can fix; before any training, but for what only shows on the way: a folder
            that cannot be written any more, numbers that are not finite, too little memory.
        Stopped: a signal came; the state is saved.
    """
    if not workdir and named(config.strategy):
        raise UserError("--workdir is missing: several workers train into one folder, which all of them see")
    workdir = pathlib.Path(workdir or config.default_workdir())
    device.keep_freed_memory()
    device.seed(config)
    strategy = device.make_strategy(config)
    workers = Workers(strategy)
    with journal.locked(workdir) if workers.is_chief else contextlib.nullcontext():
        changes = config.changes(workdir, allow_changes)
        with workers.losses_told():
            prepared = prepare(config, workdir, strategy)
        if prepared.start.position.epoch >= config.epochs:
            print(f"{workdir} is already trained")
            return workdir
        if workers.is_chief:
            print("\n".join([_summary(config, prepared, workdir), *_other_replicas(prepared, workdir)]))
            if changes:
                print("changed:", ", ".join(f"{name} from {old} to {new}" for name, (old, new) in changes.items()))
        recorded = _recorded(config, workdir, prepared, changes)
        with Interruption() as interruption, writing(workdir), recorded, workers.losses_told():
            _fit(config, workdir, prepared, interruption, own_callbacks)
    return workdir


def _fit(config, workdir, prepared, interruption, own_callbacks):
    source, start, workers = prepared.source, prepared.start, prepared.workers
    validation = batches.validation_batches(
        source, source.validation, config.image_size, config.batch_size, config.validation_examples, workers.share
    )
    with workers.chief_first():
        if workers.is_chief:
            files.remove_partial(workdir)
            forget_rows_after(workdir, start.position.epoch)
        writer = checkpoints.Writer(workdir / checkpoints.FOLDER, config.keep_checkpoints)
        checkpointing = Checkpointing(config, writer, prepared, interruption)
        own_callbacks = [*callbacks(config, workdir, prepared, checkpointing), *own_callbacks]
    with faults_named(source, prepared.unlabeled), device.kernels_named():
        prepared.model.fit(
            workers.distributed(training_stream(config, prepared), is_endless=True),
            epochs=config.epochs,
            initial_epoch=start.position.epoch,
            steps_per_epoch=prepared.steps,
            shuffle=False,
            validation_data=workers.distributed(validation),
            callbacks=own_callbacks,
            verbose=(1 if sys.stdout.isatty() else 2) if workers.is_chief else 0,
        )
    writer.wait()


@contextlib.contextmanager
def _recorded(config, workdir, prepared, changes):
    """Records how training starts, and how it ends; of several workers the chief does."""
    if not prepared.workers.is_chief:
        yield
        return
    journal.append(
        workdir,
        "start",
        begins_with=_first_step(prepared.start.position),
        position=dataclasses.asdict(prepared.start.position),
        command=sys.argv,
        changes=changes,
        config=dataclasses.asdict(config),
        data=_counts(prepared),
        workers=len(prepared.workers.addresses),
        replicas=_replicas(prepared),
        versions=environment.versions(),
        commit=environment.commit(),
        hardware=environment.hardware(),
    )
    reason = "finished"
    try:
        yield
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise
    finally:
        with contextlib.suppress(OSError):
            journal.append(workdir, "stop", reason=reason)


def _counts(prepared):
    others = {"unlabeled": prepared.unlabeled.sizes["train"]} if prepared.unlabeled else {}
    skipped = len(prepared.source.skipped)
    return {"classes": len(prepared.source.class_names), **prepared.source.sizes, **others, "skipped": skipped}


def _summary(config, prepared, workdir):
    source, unlabeled = prepared.source, prepared.unlabeled
    beside = f" and {unlabeled.sizes['train']} without labels ({unlabeled.name})" if unlabeled else ""
    start = _first_step(prepared.start.position)
    is_small = config.dataset == "folder" and config.weights == "none" and source.sizes["train"] < FEW
    return "\n".join(
        [
            f"{config.dataset}: {source.sizes['train']} training examples of {len(source.class_names)} classes"
            f"{beside}, {config.backbone}, objective {config.objective}; "
            f"from {start} to epoch {config.epochs}'s end into {workdir}",
            f"steps: {prepared.steps} an epoch, of {config.batch_size} examples{_left_out(config, source, unlabeled)}",
            f"val_accuracy and the like: {_validated(config, source)}",
            *([_trained(config, prepared.model)] if config.freeze != "none" else ()),
            f"device: {environment.device()}",
            *(["note: for so few pictures start from weights: imagenet, a preset or a file"] if is_small else ()),
        ]
    )


def _trained(config, model):
    trained, every = (sum(w.shape.num_elements() for w in ws) for ws in (model.trainable_weights, model.weights))
    return f"--freeze={config.freeze}: {trained:,} of {every:,} numbers are trained, the others stay"


def _other_replicas(prepared, workdir):
    """A note where a run goes on with another number of replicas, which have their own statistics and negatives."""
    now, starts = _replicas(prepared), [event for event in journal.read(workdir) if event["event"] == "start"]
    before = starts[-1].get("replicas", now) if starts else now
    return [] if before == now else [f"note: on {counted(now, 'replica')} from here on, before on {before}"]


def _replicas(prepared):
    return prepared.model.distribute_strategy.num_replicas_in_sync


def _first_step(position):
    """The step that follows a `Position`, in words that count from 1."""
    return f"epoch {position.epoch + 1}, step {position.step + 1}"


def _left_out(config, *opened):
    """How many examples do not fill a batch, in words; "" where batches divide them."""
    sizes = [source.sizes["train"] for source in opened if source]
    if all(size % config.batch_size == 0 for size in sizes):
        return ""
    counts = " and ".join(f"{size % config.batch_size} of {size}" for size in sizes)
    return f"; whole batches leave out {counts} in each pass, others in the next"


def _validated(config, source):
    size = source.sizes[source.validation]
    seen = f"{min(config.validation_examples, size)} of the {size} examples of the {source.validation} split"
    return f"on {seen}" + (", for watching alone" if source.validation == "test" else "")
