"""train.py on so many replicas of the CPU: replicas, workdir, then its flags."""

import sys

import cgc_tf.common.quiet_tensorflow  # noqa: F401  # isort: skip
import tensorflow as tf
from absl import flags

from cgc_tf.training import config, device, train


def main(replicas, workdir, arguments):
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * replicas)
    device.make_strategy = lambda _: tf.distribute.MirroredStrategy([f"CPU:{index}" for index in range(replicas)])
    config.define_flags()
    flags.FLAGS([sys.argv[0], *arguments])
    train.train(config.from_flags(), workdir)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
