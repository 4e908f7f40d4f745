"""Runs every benchmark of cost, one after another, and writes one Markdown table of their ratios.

  python -m benchmarks --output=benchmarks.md                       # about half an hour on two cores
  python -m benchmarks --only=checkpoints,evaluation -- --backbone=resnet8 --rounds=1  # a look, in a minute

Each runs in a process of its own, with its own defaults, and with the flags after `--`. Its module's first lines say
what its names mean. A ratio stands with its quartiles. One that fails is named, and the others are measured all the
same.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import time

import cgc_tf.common.quiet_tensorflow  # noqa: F401  # isort: skip
from absl import flags

from benchmarks import timing
from cgc_tf.common import environment, files, program
from cgc_tf.common.errors import UserError

NAMES = ("step", "pipeline", "evaluation", "checkpoints", "serving", "workers")


TAKES_ARGUMENTS = True  # flags of the benchmarks themselves


def main(argv):
    unknown = set(flags.FLAGS.only) - set(NAMES)
    if unknown:
        raise UserError(f"--only={','.join(sorted(unknown))}: no such benchmark; there are {', '.join(NAMES)}")
    lines = ["| benchmark | measure | median (quartiles) |", "| --- | --- | --- |"]
    for name in flags.FLAGS.only:
        print(f"== {name}", flush=True)
        lines += [f"| {name} | {measure} | {value} |" for measure, value in measured(name, argv[1:]).items()]
    text = f"{where()}\n\n" + "\n".join(lines) + "\n"
    files.write(pathlib.Path(flags.FLAGS.output), text)
    print(f"\n{text}\nwritten: {flags.FLAGS.output}")


def measured(name, arguments):
    """What one benchmark reports, {measure: value in words}."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "ratios.json")
        done = subprocess.run([sys.executable, "-m", f"benchmarks.{name}", f"--output={path}", *arguments])
        if done.returncode:
            return {"failed": f"status {done.returncode}"}
        return {measure: timing.in_words(value) for measure, value in json.loads(path.read_text()).items()}


def where():
    """Commit, versions and hardware, in a line."""
    hardware, versions = environment.hardware(), environment.versions()
    devices = ", ".join(hardware["devices"])
    machine = f"{hardware['cores']} cores of {hardware['processor']}, TensorFlow {versions['tensorflow']} on {devices}"
    return f"Commit {environment.commit()}, {time.strftime('%Y-%m-%d')}, {machine}."


def define_flags():
    """Defines the flags: which benchmarks, and where the table goes."""
    flags.DEFINE_list("only", list(NAMES), "Which benchmarks, comma-separated.")
    flags.DEFINE_string("output", "benchmarks.md", "File to write the table to.")


if __name__ == "__main__":
    program.run(main)
