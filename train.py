"""Trains a classifier whose Grad-CAM explanations are consistent (CGC, CVPR 2022).

  python train.py --flagfile=configs/demo.flags          the embedded toy aircraft, minutes on a laptop
  python train.py --flagfile=configs/folder.flags --data_dir=DIR      pictures of your own
  python evaluate.py                                     then: measure and draw the newest run

Any flag after --flagfile overrides the file's. The run is kept in --workdir, or a new folder under runs/. The same
command on the same --workdir goes on where an interrupted run stopped.
"""

import cgc_tf.quiet  # noqa: F401  # isort: skip
from absl import flags

from cgc_tf import config, errors

config.define_flags()
flags.adopt_module_key_flags(config)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run (default: runs/<dataset>-<objective>-<time>).")


def main(_):
    from cgc_tf import training

    workdir = training.train(config.from_flags(), WORKDIR.value)
    print(f"trained: {workdir}\nnext: python evaluate.py --workdir={workdir}")


if __name__ == "__main__":
    errors.run(main)
