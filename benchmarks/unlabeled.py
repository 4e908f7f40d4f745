"""What pictures without labels are worth: a tenth of the labels alone, and with the other pictures beside.

  python -m benchmarks.unlabeled --flagfile=configs/demo_unlabeled.flags --seeds=3 --output=runs/unlabeled

The baseline trains on the labeled examples for as many steps as CGC trains on both.
"""

import dataclasses

import cgc_tf.common.quiet_tensorflow  # noqa: F401  # isort: skip

from benchmarks import comparison
from cgc_tf.common import program
from cgc_tf.training import config as settings
from cgc_tf.training import setup


def main(_):
    unlabeled = settings.from_flags()
    labeled, rest = setup.open_sources(unlabeled)
    passes, shorter = (source.sizes["train"] // unlabeled.batch_size for source in (rest, labeled))
    factor = passes / shorter
    alone = dataclasses.replace(
        unlabeled,
        objective="baseline",
        unlabeled_dataset="",
        epochs=round(unlabeled.epochs * factor),
        warmup_epochs=unlabeled.warmup_epochs * factor,
    )
    comparison.compare("unlabeled", {"baseline": alone, "cgc": unlabeled})


def define_flags():
    """Defines the flags: what to measure, and how often."""
    settings.define_flags()
    comparison.define_flags("unlabeled")


if __name__ == "__main__":
    program.run(main)
