"""Measures trained runs, and draws their explanations: top-1, top-5, Content Heatmap and Insertion AUC.

  python evaluate.py                                  the newest run under runs/
  python evaluate.py --workdir=runs/A                 one run
  python evaluate.py --workdir=runs/A,runs/B,runs/C   several on one dataset, side by side

Each workdir receives evaluation.json and explanations.png; several together also draw comparison.png beside them.
"""

import cgc_tf.quiet  # noqa: F401  # isort: skip
from absl import flags

from cgc_tf import config, errors

WORKDIR = flags.DEFINE_list("workdir", None, "Folders of trained runs, comma-separated (default: the newest).")
SPLIT = flags.DEFINE_string("split", "test", "The split to measure on.")
LIMIT = flags.DEFINE_integer("limit", None, "Measure on so many examples, spread over the split.", lower_bound=1)
EXAMPLES = flags.DEFINE_integer("examples", 6, "How many images to draw.", lower_bound=1)
BATCH_SIZE = flags.DEFINE_integer("batch_size", 32, "Examples at a time.", lower_bound=1)


def main(_):
    workdirs = WORKDIR.value or [config.newest_workdir()]
    if not WORKDIR.value:
        print(f"newest run: {workdirs[0]}")
    from cgc_tf import evaluation

    reports, figure = evaluation.evaluate_runs(workdirs, SPLIT.value, LIMIT.value, EXAMPLES.value, BATCH_SIZE.value)
    print(evaluation.table(reports))
    print(f"figure: {figure}")
    for workdir in workdirs:
        print(f"report: {workdir}/{evaluation.REPORT}")


if __name__ == "__main__":
    errors.run(main)
