"""A training step whose loss or gradient is not finite changes nothing."""

from collections.abc import Callable

import keras
import tensorflow as tf

Changes = list[tuple[keras.Variable, tf.Tensor]]  # a variable, and its new value
TERMS = ("cross_entropy", "consistency_loss", "gradient")


class Faults(keras.metrics.Metric):
    """Counts, over an epoch, the steps in which each of `TERMS` was not finite, and those that were left out for it."""

    def __init__(self, name="faults"):
        super().__init__(name=name)
        self.counts = self.add_weight(shape=(len(TERMS) + 1,), initializer="zeros", name="counts")

    def update_state(self, is_finite: tf.Tensor) -> None:
        """Takes a step's bool `[3]`, equal on every replica; it is counted once."""
        faults = tf.concat([~is_finite, [~tf.reduce_all(is_finite)]], 0)
        context = tf.distribute.get_replica_context()
        is_first = context.replica_id_in_sync_group == 0
        self.counts.assign_add(tf.cast(faults & is_first, tf.float32))

    def result(self) -> tf.Tensor:
        """How many steps were left out."""
        return self.counts[-1]


def all_finite(cross_entropy: tf.Tensor, consistency: tf.Tensor, gradients: list[tf.Tensor]) -> tf.Tensor:
    """Bool `[3]`, for each of `TERMS` whether it is finite on every replica.

    Args:
        cross_entropy: this replica's values, of any shape.
        consistency: this replica's values, of any shape.
        gradients: a list of tensors.
    """
    finite = [tf.reduce_all(tf.math.is_finite(x)) for x in (cross_entropy, consistency)]
    finite = tf.stack([*finite, tf.math.is_finite(tf.linalg.global_norm(gradients))])
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return finite
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.cast(~finite, tf.int32)) == 0


def left_to_loss_scaling(gradients: list[tf.Tensor], is_finite: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor]:
    """Leaves gradients to Keras' loss scaling, which passes over those that are not finite and lowers its scale.

    It asks the first replica alone, so that gradients must be NaN on every replica where they are not finite on one.

    Returns:
        `(gradients, is_finite)`, the latter true of the gradient.
    """
    share = tf.where(is_finite[-1], 0.0, float("nan"))
    return [gradient + share for gradient in gradients], tf.concat([is_finite[:-1], [True]], 0)


def apply_if(
    condition: tf.Tensor, apply: Callable[[list[tf.Tensor]], object], gradients: list[tf.Tensor], changes: Changes
) -> None:
    """Applies gradients, and what else a step would change, where a condition holds; else changes nothing.

    Args:
        condition: bool scalar, equal on every replica.
        apply: a function of the gradients, which updates variables.
        gradients: a list of tensors.
        changes: `changes_in` this replica. Numbers become their means over the replicas, all in one reduction;
            integers, which say what is drawn next, are the same on every replica.
    """
    context = tf.distribute.get_replica_context()
    values = [value for _, value in changes]
    if (numbers := [x for x in values if x.dtype.is_floating]) and context.num_replicas_in_sync > 1:
        means = iter(context.all_reduce(tf.distribute.ReduceOp.MEAN, numbers))
        values = [next(means) if x.dtype.is_floating else x for x in values]

    def update(gradients, values):
        apply(gradients)
        for (variable, _), value in zip(changes, values, strict=True):
            variable.assign(value)

    def choose(strategy, condition, gradients, values):
        # A conditional update of mirrored variables has to be decided on outside the replicas.
        condition, each = strategy.experimental_local_results(condition)[0], strategy.extended.call_for_each_replica
        tf.cond(condition, lambda: _none(each(update, (gradients, values))), lambda: None)

    context.merge_call(choose, (condition, gradients, values))


def changes_in(scope: keras.StatelessScope, variables: list[keras.Variable]) -> Changes:
    """Of the variables that were assigned to within a scope each with its new value there."""
    found = [(variable, scope.get_current_value(variable)) for variable in variables]
    return [(variable, value) for variable, value in found if value is not None]


def _none(_):
    """What both branches of a `tf.cond` give back."""
