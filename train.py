"""Trains a classifier: `python train.py --help`. The program is `cgc_tf/programs/train.py`."""

from cgc_tf.common import program
from cgc_tf.programs import train

def evaluate_one_example(workdir):
    from cgc_tf.evaluation import evaluate, protocol

    brief = protocol.Protocol(limit=1, curve_steps=1, resamples=100)
    evaluate.evaluate_runs([workdir], protocol=brief, drawing=evaluate.Drawing(1, gallery=1))


if __name__ == "__main__":
    train.define_flags()
    program.run(train.main)
