"""Trains the three objectives under one configuration and several seeds, and tabulates what they are worth.

  python -m benchmarks.objectives --flagfile=configs/demo.flags --seeds=3 --output=runs/objectives

Prints mean and standard deviation over the seeds in percent, as Markdown, and draws the first seed's runs side by side.
"""

import dataclasses

import cgc_tf.common.quiet_tensorflow  # noqa: F401  # isort: skip

from benchmarks import comparison
from cgc_tf.common import program
from cgc_tf.training import config as settings

ORDER = ("baseline", "cgc", "cgc_no_negatives")


def main(_):
    base = settings.from_flags()
    comparison.compare("objectives", {objective: dataclasses.replace(base, objective=objective) for objective in ORDER})


def define_flags():
    """Defines the flags: what to measure, and how often."""
    settings.define_flags()
    comparison.define_flags("objectives")


if __name__ == "__main__":
    program.run(main)
