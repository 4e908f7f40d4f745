"""Ready for the first step: the data and the model of a run, and where it goes on from."""

import contextlib
import dataclasses
import io
import pathlib
import time
from collections.abc import Iterator

import keras
import tensorflow as tf

from cgc_tf.common import files
from cgc_tf.common.errors import UserError
from cgc_tf.data import batches, cache, load, splits
from cgc_tf.data.folder_listing import list_pictures
from cgc_tf.data.source import Source, labeled_part
from cgc_tf.method.model import CGCModel
from cgc_tf.method.objective import VIEWS
from cgc_tf.training import checkpoints, device, journal, optimizers, run_folder
from cgc_tf.training.checkpoints import Checkpoint, Position
from cgc_tf.training.config import Config
from cgc_tf.training.new_model import NewModel
from cgc_tf.training.state import restore
from cgc_tf.training.workers import SECONDS_TO_SEE, Workers

SKIPPED = "skipped.txt"


@dataclasses.dataclass
class Prepared:
    """A run that is ready to train."""

    model: CGCModel  # compiled, its state that of `start`
    source: Source  # of labeled examples
    unlabeled: Source | None
    steps: int  # in an epoch
    start: Checkpoint
    workers: Workers


def prepare(config: Config, workdir: pathlib.Path, strategy: tf.distribute.Strategy) -> Prepared:
    """Opens the data of a run and makes its model, from the last checkpoint if there is one; writes its other files.

    Raises:
        UserError: for whatever the user can fix.
    """
    is_resumed = bool(checkpoints.files(workdir / checkpoints.FOLDER))
    record = run_folder.record_of(config, workdir)
    if not is_resumed:
        if config.dataset == "folder":  # a wrong one shows before weights are downloaded; its notes come later
            with contextlib.redirect_stdout(io.StringIO()):
                list_pictures(pathlib.Path(config.data_dir), config.make_splits(), record)
        with strategy.scope(), device.precision(config.precision):
            new_model = NewModel(config)  # before data is prepared, which may take hours
    workers = Workers(strategy)
    with workers.chief_first():  # since it may prepare data, which the others then find
        source, unlabeled = open_sources(config, record)
    _check_workers(workers, config, workdir, source, unlabeled)
    if is_resumed:
        if source.class_names != run_folder.class_names(workdir):
            raise UserError(f"{workdir} was trained on other classes than --dataset={config.dataset} has now")
        _check_sizes(workdir, {"train": source.sizes["train"], "unlabeled": unlabeled and unlabeled.sizes["train"]})
    # Preparing a dataset draws from Python's generator, so that a first run would get another head than a second.
    keras.utils.set_random_seed(config.seed)
    steps = (unlabeled or source).sizes["train"] // config.batch_size
    with strategy.scope(), device.precision(config.precision):
        if is_resumed:
            model = run_folder.read_model(config, workdir, config.precision)
        else:
            model = new_model.with_classes(len(source.class_names))
        optimizers.compile_model(model, config, steps, strategy.num_replicas_in_sync)
    start = Checkpoint({}, Position(0, 0, steps))
    if is_resumed:
        start = checkpoints.find(workdir)
        restore(start.state, model, source=workdir)
        sums = {name: array for name, array in start.state.items() if name.startswith("metrics/")}
        start = dataclasses.replace(start, state=sums)  # which belong to the epoch that it stands in
    if workers.is_chief:
        with writing(workdir):
            config.save(workdir)
            files.write(workdir / run_folder.CLASSES, "\n".join(source.class_names) + "\n")
            write_skipped(workdir, source, unlabeled)
            if not is_resumed and (listing := source.listing()):
                splits.write(workdir / splits.RECORD, listing)
            run_folder.save_architecture(model, workdir)
    return Prepared(model, source, unlabeled, steps, start, workers)


def _check_workers(workers, config, workdir, *opened):
    """Raises `UserError`, on each of several workers, where one would train otherwise than the others."""
    if not workers.are_several:
        return
    lock, last = workdir / journal.LOCK, checkpoints.files(workdir / checkpoints.FOLDER)[-1:]
    deadline = time.monotonic() + SECONDS_TO_SEE
    while not lock.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    held_by = lock.read_text() if lock.exists() else None
    workers.check_same(held_by, "does not see the chief's --workdir: all need a folder that they share")
    workers.check_same(config, "was started with other settings than the chief")
    workers.check_same([path.name for path in last], "sees another last checkpoint than the chief")
    labels = [labels.tobytes() for source in opened if source for labels in source.labels.values()]
    workers.check_same(labels, "finds other data than the chief")


def write_skipped(workdir: pathlib.Path, *opened: Source | None) -> None:
    """Writes which pictures of the sources were left out, and why, into a run's folder: `skipped.txt`, a line each."""
    lines = {line: None for source in opened if source for line in source.skipped}
    path = workdir / SKIPPED
    if lines or path.exists():
        files.write(path, "".join(f"{line}\n" for line in lines))


def _check_sizes(workdir, sizes):
    """Raises `UserError` where a run goes on with more or fewer examples, which its schedule and its order count."""
    starts = [event for event in journal.read(workdir) if event["event"] == "start"]
    before = starts[-1]["data"] if starts else {}
    for name, count in sizes.items():
        if before.get(name, count) != count:
            raise UserError(
                f"{workdir} was trained on {before[name]} {name} examples, of which there are {count} now: "
                "bring the data back, or choose another --workdir"
            )


def open_sources(config: Config, record: pathlib.Path | None = None) -> tuple[Source, Source | None]:
    """The source of labeled examples, and that of unlabeled ones or None; each is large enough for a batch.

    `record` is the `splits.csv` that says how the labeled ones are divided, where there is one.
    """
    source = load.load_dataset(
        config.dataset, config.data_dir or None, config.on_bad_image, config.make_splits(), record, config.objects
    )
    if not source.sizes["train"]:
        raise UserError(f"--data_dir={config.data_dir} has no train/ with pictures in it to train on")
    if config.early_stopping and "validation" not in source.sizes:
        raise UserError(f"--early_stopping needs a split named validation, which {source.name} does not have")
    other = None
    if config.unlabeled_dataset and not config.takes_rest:
        other = load.load_dataset(config.unlabeled_dataset, config.unlabeled_data_dir or None, config.on_bad_image)
    for kind, opened in zip(("training", "unlabeled"), _parts(config, source, other), strict=True):
        if opened and opened.sizes["train"] < config.batch_size:
            raise UserError(
                f"--batch_size={config.batch_size} is more than the {opened.sizes['train']} {kind} examples"
            )
    # Kept whole, so that runs with other parts of it share the files.
    return _parts(config, *(opened and cache.cached(opened, config.cache) for opened in (source, other)))


def _parts(config, source, other):
    """The labeled and the unlabeled examples, the latter None or of the `Source` `other`."""
    if config.labeled_fraction < 1:
        source, rest = labeled_part(source, config.labeled_fraction, config.seed)
        other = rest if config.takes_rest else other
    return source, other


def training_stream(config: Config, prepared: Prepared) -> tf.data.Dataset:
    """A run's `data.training_batches` from where it starts, with the unlabeled ones where there are some."""
    source, unlabeled, position = prepared.source, prepared.unlabeled, prepared.start.position
    steps, first_step = config.epochs * prepared.steps, position.epoch * prepared.steps + position.step
    arguments = config.image_size, config.batch_size, config.seed, steps, first_step

    def views(opened, wanted):
        share, augmentation = prepared.workers.share, config.make_augmentation()
        return batches.training_batches(opened, *arguments, wanted, augmentation, share)

    if not unlabeled:
        return views(source, VIEWS)
    return batches.with_unlabeled(views(source, config.ce_views), views(unlabeled, ("original", "augmented")))


@contextlib.contextmanager
def writing(workdir: pathlib.Path) -> Iterator[None]:
    """Says in a line that a workdir cannot be written (any more), or that memory does not suffice."""
    try:
        yield
    except BrokenPipeError:  # of what is printed, not of the workdir
        raise
    except OSError as error:
        raise _cannot_write(workdir, error.strerror or str(error)) from error
    except tf.errors.OpError as error:
        reason = error.message.splitlines()[0]
        if isinstance(error, tf.errors.ResourceExhaustedError) and "OOM" in error.message:
            raise UserError(f"out of memory: lower --batch_size, or --image_size ({reason})") from error
        if str(workdir) in error.message:
            raise _cannot_write(workdir, reason) from error
        raise


def _cannot_write(workdir, reason):
    left = [path.name for path in checkpoints.files(workdir / checkpoints.FOLDER)]
    kept = f"the last checkpoint, {left[-1]}, is untouched" if left else "there is no checkpoint yet"
    return UserError(f"--workdir={workdir} cannot be written: {reason}; {kept}. Fix that and start again")
