"""train.py with a network of one block, since each replica is traced: how many replicas of the CPU, then its flags.

With 0 they are what train.py makes of its flags.
"""

import sys

import cgc_tf.common.quiet_tensorflow  # noqa: F401  # isort: skip
import tensorflow as tf

from cgc_tf.common import program
from cgc_tf.networks import keras_hub_networks
from cgc_tf.programs import train
from cgc_tf.training import device


def use_replicas(count):
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    device.make_strategy = lambda _: tf.distribute.MirroredStrategy([f"CPU:{index}" for index in range(count)])


if __name__ == "__main__":
    smaller = {"stackwise_num_filters": [64], "stackwise_num_blocks": [1], "stackwise_num_strides": [1]}
    keras_hub_networks.RESNET8.update(smaller)
    if replicas := int(sys.argv.pop(1)):
        use_replicas(replicas)
    program.run(train.main)
