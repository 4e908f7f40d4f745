"""Trains several configurations under several seeds, evaluates them, and prints them as a table."""

import pathlib

from absl import flags

from cgc_tf.evaluation import grouped, paper_tables


def define_flags(name):
    """The flags of the comparison of a name."""
    flags.DEFINE_integer("seeds", 3, "How many seeds, from 0.", lower_bound=1)
    flags.DEFINE_string("output", None, f"Folder of the runs (default: runs/{name}- and the name of the data).")


def compare(name, configs):
    """Trains each of {name: Config} with each seed, and prints mean and standard deviation over the seeds in percent.

    A run that is already there is kept. Writes the table into the folder of the runs, with tests of the differences,
    and what compares a seed's runs into seed-<number>/.
    """
    output, seeds = flags.FLAGS.output or _folder(name, next(iter(configs.values()))), range(flags.FLAGS.seeds)
    runs = {name: config.to_flags() for name, config in configs.items()}
    found = paper_tables.evaluated(runs, seeds, output)
    print(grouped.write(pathlib.Path(output) / "table", found))
    print(f"table: {output}/table.{{md,tex,json}}\nfigures: {output}/seed-*/comparison.png")


def _folder(name, config):
    data = pathlib.Path(config.data_dir).resolve().name if config.dataset == "folder" else config.dataset
    return f"runs/{name}-{data}"
