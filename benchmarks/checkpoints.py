"""What checkpoints cost a run.

  python -m benchmarks.checkpoints --output=checkpoints.json        # about half a minute on two cores

Of a network with random weights and SGD's momenta. Keys of the JSON, shares of a run that saves every five minutes:
`stopped_share`, the time for which training stands still while the state is copied; `busy_share`, that and the hashing,
writing and syncing, as if none of it ran beside a step. `restore_over_write`: reading, checking and putting it back,
over writing it. Each from medians of interleaved rounds in one process.
"""

import pathlib
import tempfile
import time

import cgc_tf.common.quiet_tensorflow  # noqa: F401  # isort: skip
from absl import flags

from benchmarks import timing
from cgc_tf.common import program
from cgc_tf.training import checkpoints, config, device, optimizers
from cgc_tf.training.checkpoints import Checkpoint, Position
from cgc_tf.training.new_model import NewModel
from cgc_tf.training.state import restore, state_of

EVERY = 300  # seconds


def main(_):
    timing.use("cpu")
    device.keep_freed_memory()
    args = flags.FLAGS
    settings = config.Config(backbone=args.backbone)
    model = NewModel(settings).with_classes(1000)
    optimizers.compile_model(model, settings, 100)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        checkpoint = Checkpoint(state_of(model), Position(1, 2, 100))
        path = checkpoints.write(folder, checkpoint)
        size = path.stat().st_size
        rounds = timing.rounds_of(
            {
                "copy": lambda: state_of(model),
                "write": lambda: checkpoints.write(folder, checkpoint),
                "restore": lambda: restore(checkpoints.read(path).state, model),
            },
            args.rounds,
            clock=time.perf_counter,  # since it waits for the disk
        )
    seconds = timing.medians(rounds)
    timing.table(f"{args.backbone}, a checkpoint of {size / 1e6:.0f} MB in {pathlib.Path(folder).parent}", seconds)
    timing.report(
        {
            "stopped_share": seconds["copy"] / EVERY,
            "busy_share": (seconds["copy"] + seconds["write"]) / EVERY,
            "restore_over_write": timing.ratio(rounds["restore"], rounds["write"]),
        }
    )


def define_flags():
    """Defines the flags: what to measure, and how often."""
    timing.define_flags(rounds=7)
    flags.DEFINE_string("folder", None, "Where to write (default: the folder for temporary files).")


if __name__ == "__main__":
    program.run(main)
