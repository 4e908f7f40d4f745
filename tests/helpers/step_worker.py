"""Traces and takes one step of small models, of which the last has no statistics, on two CPU replicas; prints JSON.

What is said: how often replicas wait for each other, how many operations the step has, and the moving statistics of the
first batch normalization, which sees the images, on each replica.
"""

import json

import cgc_tf.common.quiet_tensorflow  # noqa: F401  # isort: skip
import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.distribute import distribute_lib

from cgc_tf.method import geometry
from cgc_tf.method.model import CGCModel

SIZE, BATCH, VIEWS = 16, 4, ("ce", "original", "augmented")


def batch():
    rng = np.random.default_rng(0)
    views = {view: rng.integers(0, 256, (BATCH, SIZE, SIZE, 3), np.uint8) for view in VIEWS}
    transform = np.stack([geometry.draw_transform([2, index], SIZE) for index in range(BATCH)])
    return {**views, "transform": transform, "label": np.arange(BATCH, dtype=np.int32)}


def classifier(depth):
    x = images = keras.Input((SIZE, SIZE, 3))
    for _ in range(depth):
        x = keras.layers.Conv2D(8, 3, padding="same")(keras.layers.BatchNormalization()(x))
    x = x if depth else keras.layers.Conv2D(8, 3)(x)
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x))
    return keras.Model(images, keras.layers.Dense(BATCH)(keras.layers.Dropout(0.5)(pooled)))


def counted(calls):
    merge_call = distribute_lib.ReplicaContextBase.merge_call

    def count(*args, **kwargs):
        calls.append(args)
        return merge_call(*args, **kwargs)

    return count


def operations(graph):
    inside = sum(len(function.node_def) for function in graph.as_graph_def().library.function)
    return len(graph.as_graph_def().node) + inside


def main():
    device = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy, calls = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), []
    examples = next(
        iter(strategy.experimental_distribute_dataset(tf.data.Dataset.from_tensors(batch()).unbatch().batch(BATCH)))
    )
    distribute_lib.ReplicaContextBase.merge_call = counted(calls)
    for depth in (2, 4, 0):
        keras.utils.set_random_seed(0)
        with strategy.scope():
            model = CGCModel.from_classifier(classifier(depth))
            model.compile(keras.optimizers.SGD(0.1, momentum=0.9))
            model.optimizer.build(model.trainable_variables)
        calls.clear()
        step = tf.function(lambda examples, model=model: strategy.run(model.train_step, (examples,)))
        graph = step.get_concrete_function(examples).graph
        counts = {"waits": len(calls) // 2, "operations": operations(graph)}
        step(examples)
        statistics = {
            variable.name: [value.numpy().tolist() for value in strategy.experimental_local_results(variable.value)]
            for variable in model.trunk.non_trainable_variables[:2]
        }
        print(json.dumps({**counts, **statistics}), flush=True)


if __name__ == "__main__":
    main()
