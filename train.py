"""Trains a classifier: `python train.py --help`. The program is `cgc_tf/programs/train.py`."""

from cgc_tf.common import program
from cgc_tf.programs import train

if __name__ == "__main__":
    program.run(train.main)
