"""Trains a classifier whose Grad-CAM explanations are consistent (CGC, CVPR 2022).

  python train.py --flagfile=configs/demo.flags          the embedded toy aircraft, minutes on a laptop
  python train.py --flagfile=configs/folder.flags --data_dir=DIR      pictures of your own
  python evaluate.py                                     then: measure and draw the newest run

  python train.py --workdir=runs/A                       goes on with a run that was interrupted, from its own record
  python train.py --flagfile=configs/folder.flags --data_dir=DIR --dry_run      checks everything, estimates time

Any flag after --flagfile overrides the file's. The run is kept in --workdir, or a new folder under runs/. SIGTERM and
Ctrl-C save after the step and leave with exit status 75; once more, at once. Exit status 2: something to fix.
"""

import cgc_tf.common.quiet_tensorflow  # noqa: F401  # isort: skip
import json
import os
import re
import sys

from absl import flags

from cgc_tf.common import program
from cgc_tf.common.errors import UserError
from cgc_tf.programs import cgc
from cgc_tf.training import config, read_by

ADDRESS = re.compile(r"[^\s:/]+:\d{1,5}")


def define_flags():
    """Defines the flags: every setting of a run, and where and how to train."""
    program.section(
        "The run",
        flags.DEFINE_string("workdir", None, "Folder of the run (default: runs/<dataset>-<objective>-<time>)."),
        flags.DEFINE_bool(
            "allow_changes",
            False,
            "Go on with the run in --workdir although other flags are given than it has had so far.",
        ),
        flags.DEFINE_bool(
            "dry_run",
            False,
            "Check everything on a few examples, in a folder that is removed, and estimate time and memory.",
        ),
        flags.DEFINE_list(
            "callback",
            [],
            "Keras callbacks of your own, module:Class, made without arguments; --dry_run makes them and no more.",
        ),
        flags.DEFINE_list(
            "workers",
            [],
            "Where the processes that train together listen, host:port, the same for each; else TF_CONFIG says it.",
        ),
        flags.DEFINE_integer("worker_index", None, "Which of --workers this one is, from 0, which alone writes."),
    )
    config.define_flags()


def main(_):
    """Trains, or checks all of it with --dry_run."""
    if len(sys.argv) == 1:
        print(program.as_started(f"{__doc__.strip()}\n--help lists every flag."))
        return 2
    from cgc_tf.training import dry_run, own_callback, train, workers

    _name_workers()
    workdir, allow_changes = flags.FLAGS.workdir, flags.FLAGS.allow_changes
    if allow_changes and not workdir:
        raise UserError("--allow_changes is not used without --workdir: a new run has nothing to change")
    settings = config.from_flags(workdir)
    _refuse_unread(settings)
    callbacks = [own_callback.load(path) for path in flags.FLAGS.callback]
    if flags.FLAGS.dry_run:
        if workers.named(settings.strategy):
            raise UserError("--dry_run is of one process: leave out who the workers are")
        print(dry_run.check(settings, workdir, _evaluate, cgc.load("export").export, allow_changes))
        return 0
    workdir = train.train(settings, workdir, allow_changes, callbacks)
    print(program.as_started(f"trained: {workdir}\nnext: python evaluate.py --workdir={workdir}"))
    return 0


def _name_workers():
    """Puts --workers and --worker_index where TensorFlow has them: into TF_CONFIG."""
    addresses, index = flags.FLAGS.workers, flags.FLAGS.worker_index
    if not addresses:
        if index is not None:
            raise UserError(f"--worker_index={index} is not used without --workers: leave it out")
        return
    if "TF_CONFIG" in os.environ:
        raise UserError("--workers: TF_CONFIG names workers, too; leave one of them out")
    wrong = [address for address in addresses if not ADDRESS.fullmatch(address)]
    if wrong or len(set(addresses)) < len(addresses):
        raise UserError(f"--workers should be host:port, comma-separated, each once. Received: {','.join(addresses)}")
    if index is None or not 0 <= index < len(addresses):
        rule = f"0 to {len(addresses) - 1}, which of --workers this one is"
        raise UserError(f"--worker_index should be {rule}. Received: {index}")
    task = {"type": "worker", "index": index}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses}, "task": task})


def _refuse_unread(settings):
    """Refuses what was typed and no one reads; in a --flagfile it may stand for the other objectives' sake."""
    typed = {argument.lstrip("-").partition("=")[0] for argument in sys.argv[1:]}
    for name, other in read_by.unread(settings).items():
        if name in typed:
            raise UserError(f"--{name} is not used by --{other}={getattr(settings, other)}: leave it out")
    if "unlabeled_data_dir" in typed and not settings.unlabeled_dataset:
        raise UserError("--unlabeled_data_dir is not used without --unlabeled_dataset: leave it out")


def _evaluate(workdir):
    """Evaluates a run on one example, as little as there is."""
    from cgc_tf.evaluation import evaluate, examples, protocol

    little = protocol.Protocol(limit=1, curve_steps=1, resamples=100)
    evaluate.evaluate([workdir], protocol=little, drawing=examples.Drawing(1, gallery=1))


if __name__ == "__main__":
    program.run(main)
