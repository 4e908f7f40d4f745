"""`compile`, `fit`, `evaluate` and `predict` of a `CGCModel`: Keras' own, with what they take and count made plain."""

import warnings

import keras
import tensorflow as tf

from cgc_tf.common import graphs
from cgc_tf.method import inputs
from cgc_tf.method.logits import TwoLogits


class KerasCalls(keras.Model):
    """A `keras.Model` of images, its head ending in logits `[B, classes]`, that has a loss of its own."""

    head: keras.Model

    def compile(self, optimizer="rmsprop", loss=None, *args, jit_compile: bool = False, **kwargs) -> None:
        """`keras.Model.compile` without a loss, which is the objective's; XLA is off unless asked for.

        Metrics see labels as the dataset has them, and what `predict` gives.

        Raises:
            ValueError: a loss is given.
        """
        if loss is not None:
            raise ValueError(f"compile takes no loss: what is minimized is the Objective's. Received: loss={loss}")
        super().compile(optimizer, None, *args, jit_compile=jit_compile, **kwargs)

    def compile_from_config(self, config: dict) -> None:
        """Compiles a model that is read from a file as it was when it was saved."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def fit(self, x=None, y=None, *args, validation_data=None, class_weight=None, **kwargs):
        """`keras.Model.fit` on batches of `cgc_tf.view_batches`; validation data are (image, label), batched or not.

        Raises:
            ValueError: something else is given, or a label is out of range.
        """
        if class_weight and isinstance(x, tf.data.Dataset):
            x, class_weight = inputs.weighted(x, class_weight, self.classes), None
        validation_data = inputs.batched(validation_data)
        with inputs.told_in_a_line(), warnings.catch_warnings():
            if not kwargs.get("steps_per_epoch"):  # else it is not so that a dataset of unknown length just ends
                warnings.filterwarnings("ignore", "Your input ran out of data")
            return super().fit(x, y, *args, validation_data=validation_data, class_weight=class_weight, **kwargs)

    def evaluate(self, x=None, *args, **kwargs):
        """`keras.Model.evaluate` of (image, label), batched or not: what `test_step` measures, and `compile`'s metrics.

        Raises:
            ValueError: as `fit`.
        """
        with inputs.told_in_a_line():
            return super().evaluate(inputs.batched(x), *args, **kwargs)

    def train_on_batch(self, *args, **kwargs):
        """`keras.Model.train_on_batch` of one batch of `cgc_tf.view_batches`, a dict; raises as `fit`."""
        with inputs.told_in_a_line():
            return super().train_on_batch(*args, **kwargs)

    def predict(self, x, *args, **kwargs):
        """Probabilities `[N, classes]`; of a classifier that ends in one logit, that of class 1, `[N, 1]`."""
        return super().predict(inputs.batched(x), *args, **kwargs)

    def predict_step(self, data) -> tf.Tensor:
        """Probabilities of a batch, see `predict`."""
        images, *_ = keras.utils.unpack_x_y_sample_weight(data)
        return self._answer(self(images, training=False))

    @property
    def classes(self) -> int:
        """The number of classes."""
        return self.head.output_shape[-1]

    def _answer(self, logits):
        probabilities = tf.nn.softmax(logits)
        return probabilities[:, 1:] if isinstance(self.head.operations[-1], TwoLogits) else probabilities

    def _update_compiled(self, batch, logits, counts):
        """Updates the metrics of `compile`, by a batch of which `counts`, float `[B]`, are all 1, or else all 0."""
        if self._compile_metrics is not None:
            kept = tf.cast(tf.reduce_sum(counts), tf.int32)
            label, answer = batch["label"][:kept], self._answer(logits)[:kept]
            self._compile_metrics.update_state(label, answer, batch["weight"][:kept] if "weight" in batch else None)

    def _make_function(self, step_function):
        # Keras' own takes the mean of a step's logs over several workers, and fails at it: they are scalars. Here a
        # step's logs are of the first replica of each worker; those of an epoch are of all, as `get_metrics_result` is.
        strategy = self.distribute_strategy
        if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            return super()._make_function(step_function)

        def step(iterator):
            logs = strategy.run(step_function, args=(iterator.get_next(),))
            return tf.nest.map_structure(lambda value: strategy.experimental_local_results(value)[0], logs)

        one_step = step if self.run_eagerly else graphs.function(step, reduce_retracing=True)
        return lambda iterator: [one_step(iterator) for _ in range(self.steps_per_execution)][-1]

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # Keras would read a batch to build the model on and drop it, before `fit` and before every validation; this
        # model is built when it is made.
        if self.optimizer and not self.optimizer.built:
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)
