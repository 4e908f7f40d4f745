"""Trains a classifier whose Grad-CAM explanations are consistent (CGC, CVPR 2022).

  python train.py --flagfile=configs/demo.flags          the embedded toy aircraft, minutes on a laptop
  python train.py --flagfile=configs/folder.flags --data_dir=DIR      pictures of your own
  python evaluate.py                                     then: measure and draw the newest run

  python train.py --workdir=runs/A                       goes on with a run that was interrupted, from its own record
  python train.py --flagfile=configs/folder.flags --data_dir=DIR --dry_run      checks everything, estimates time

Any flag after --flagfile overrides the file's. The run is kept in --workdir, or a new folder under runs/. SIGTERM and
Ctrl-C save after the step and leave with exit status 75; once more, at once. Exit status 2: something to mend.
"""

import cgc_tf.common.quiet_tensorflow  # noqa: F401  # isort: skip
from absl import flags

from cgc_tf.common import errors
from cgc_tf.training import config

config.define_flags()
flags.adopt_module_key_flags(config)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run (default: runs/<dataset>-<objective>-<time>).")
ALLOW_CHANGES = flags.DEFINE_bool(
    "allow_changes", False, "Go on with the run in --workdir although other flags are given than it has had so far."
)
DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "Check everything on a few examples, in a folder that is removed, and estimate time and memory."
)


def main(_):
    from cgc_tf.training import train

    if ALLOW_CHANGES.value and not WORKDIR.value:
        raise errors.UserError("--allow_changes is not used without --workdir: a new run has nothing to change")
    settings = config.from_flags(WORKDIR.value)
    if DRY_RUN.value:
        from cgc_tf.training import dry_run
        from export import saved_model

        print(dry_run.rehearse(settings, WORKDIR.value, saved_model.export, ALLOW_CHANGES.value))
        return
    workdir = train.train(settings, WORKDIR.value, ALLOW_CHANGES.value)
    print(f"trained: {workdir}\nnext: python evaluate.py --workdir={workdir}")


if __name__ == "__main__":
    errors.run(main)
