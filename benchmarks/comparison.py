"""Trains several configurations under several seeds, evaluates them, and prints them as a table."""

from absl import flags

from cgc_tf.evaluation import paper_tables
from cgc_tf.report import tables


def define_flags(output):
    """The flags of every comparison; `output` is the default folder."""
    flags.DEFINE_integer("seeds", 3, "How many seeds, from 0.", lower_bound=1)
    flags.DEFINE_string("output", output, "Folder of the runs.")


def compare(configs):
    """Trains each of {name: Config} with each seed, and prints mean and standard deviation over the seeds in percent.

    A run that is already there is kept. Writes summary.json into the folder of the runs, and what compares a seed's
    runs into seed-<number>/.
    """
    output, seeds = flags.FLAGS.output, range(flags.FLAGS.seeds)
    runs = {name: config.to_flags() for name, config in configs.items()}
    reports = paper_tables.evaluated(runs, seeds, output)
    print(tables.markdown(*paper_tables.summary(reports, runs, seeds)))
    print(paper_tables.what_it_is_of(reports))
    print(f"summary: {output}/summary.json\nfigures: {output}/seed-*/comparison.png")
