"""Measures and draws trained models: `python evaluate.py --help`. The program is `cgc_tf/programs/evaluate.py`."""

from cgc_tf.common import program
from cgc_tf.programs import evaluate

if __name__ == "__main__":
    program.run(evaluate.main)
