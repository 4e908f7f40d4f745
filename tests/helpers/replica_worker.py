"""Trains a small model for a few steps on some CPU replicas, case after case; prints losses and weights as JSON.

A second strategy in one process breaks TensorFlow's collectives, so `test_replicas` runs this once for each number of
replicas. A line of JSON comes back for each case.
"""

import json
import sys

import cgc_tf.common.quiet_tensorflow  # noqa: F401  # isort: skip
import keras
import numpy as np
import tensorflow as tf

from cgc_tf.method import geometry
from cgc_tf.networks import keras_hub_networks
from cgc_tf.training import config, optimizers
from cgc_tf.training.new_model import NewModel

SIZE, CLASSES = 48, 3


def fit(strategy, examples, batch_norm, settings):
    fixed = {"backbone": "resnet8", "image_size": SIZE, "schedule": "constant", "learning_rate": 2e-3}
    settings = config.Config(**{**fixed, **settings})
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = NewModel(settings).with_classes(CLASSES)
        for layer in model._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = batch_norm == "trained"
        optimizers.compile_model(model, settings, 10, strategy.num_replicas_in_sync)
    rng = np.random.default_rng(0)
    views = {
        view: rng.integers(0, 256, (examples, SIZE, SIZE, 3), np.uint8) for view in ("ce", "original", "augmented")
    }
    transform = np.stack([geometry.draw_transform([2, index], SIZE) for index in range(examples)])
    batch = {**views, "transform": transform, "label": np.arange(examples, dtype=np.int32) % CLASSES}
    # Nine: the last batch holds one, so that the second replica has none.
    held_out = {
        "image": rng.integers(0, 256, (9, SIZE, SIZE, 3), np.uint8),
        "label": np.arange(9, dtype=np.int32) % CLASSES,
        "region": np.eye(SIZE, dtype=np.float32)[None].repeat(9, 0),
    }
    training, validation = (tf.data.Dataset.from_tensor_slices(dataset).batch(8) for dataset in (batch, held_out))
    initial = some_weights(model)
    history = model.fit(training, validation_data=validation, epochs=2, shuffle=False, verbose=0)
    return {**history.history, "initial_weights": initial, "weights": some_weights(model)}


def some_weights(model):
    weights = np.concatenate([np.ravel(weight) for weight in model.trainable_variables])
    return weights[:: max(1, len(weights) // 5000)].tolist()


def main(replicas, cases):
    device = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * replicas)
    strategy = tf.distribute.MirroredStrategy([f"CPU:{index}" for index in range(replicas)])
    smaller = {"stackwise_num_filters": [64], "stackwise_num_blocks": [1], "stackwise_num_strides": [1]}
    keras_hub_networks.RESNET8.update(smaller)  # each replica is traced
    for case in cases:
        print(json.dumps(fit(strategy, *case)), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), json.loads(sys.argv[2]))
