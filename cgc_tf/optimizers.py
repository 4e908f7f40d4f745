"""The optimizer and its learning-rate schedule, from Keras."""

import re

import keras

NORM_AND_BIAS = ["gamma", "beta", "bias"]


def learning_rate(config, steps_per_epoch, peak):
    """A Keras schedule over steps, or the constant rate, as a float.

    cosine: from the peak, after a linear warm-up from zero, down to zero at the last step. step: times `step_factor` at
    each of `step_epochs`; without any at a third and at two thirds of the run, the reference's 30 and 60 of 90 epochs.
    """
    schedules = keras.optimizers.schedules
    total = config.epochs * steps_per_epoch
    if config.schedule == "cosine":
        warmup = round(config.warmup_epochs * steps_per_epoch)
        if not warmup:
            return schedules.CosineDecay(peak, total)
        return schedules.CosineDecay(0.0, total - warmup, warmup_target=peak, warmup_steps=warmup)
    if config.schedule == "step":
        epochs = config.step_epochs or (config.epochs / 3, 2 * config.epochs / 3)
        rates = [peak * config.step_factor**index for index in range(len(epochs) + 1)]
        return schedules.PiecewiseConstantDecay([int(epoch * steps_per_epoch) for epoch in epochs], rates)
    return peak


def make_optimizer(config, steps_per_epoch, head=(), replicas=1):
    """The Keras optimizer of a configuration.

    Keras takes weight decay off the weights directly. PyTorch's SGD adds it to the gradient, so that it goes through
    the momentum and counts 1 / (1 - momentum) times; `weight_decay` means the latter for `sgd`.

    Args:
        config: a `Config`.
        steps_per_epoch: int.
        head: the variables that `head_learning_rate` is for.
        replicas: Keras clips on each replica before it adds up; a part of the limit for each keeps the sum within it.
    """

    def make(peak):
        settings = {
            "learning_rate": learning_rate(config, steps_per_epoch, peak),
            "global_clipnorm": config.clip_norm / replicas or None,
            "use_ema": config.ema_momentum > 0,
            "ema_momentum": config.ema_momentum or 0.99,
            "gradient_accumulation_steps": config.accumulate_steps if config.accumulate_steps > 1 else None,
        }
        if config.optimizer == "adamw":
            optimizer = keras.optimizers.AdamW(weight_decay=config.weight_decay, **settings)
        else:
            decay = config.weight_decay / (1 - config.momentum) or None
            optimizer = keras.optimizers.SGD(
                momentum=config.momentum, nesterov=config.nesterov, weight_decay=decay, **settings
            )
        if config.decay_exempt == "norm_and_bias":
            optimizer.exclude_from_weight_decay(var_names=NORM_AND_BIAS)
        return optimizer

    trunk = make(config.learning_rate)
    if not config.head_learning_rate:
        return trunk
    paths = "|".join(re.escape(variable.path) for variable in head)
    return TwoRates(keras.optimizers.OptimizerMap(trunk, {paths: make(config.head_learning_rate)}))


@keras.saving.register_keras_serializable("cgc_tf")
class TwoRates(keras.optimizers.MultiOptimizer):
    """Keras' optimizer of several, with the trunk's learning rate to show in logs."""

    @property
    def learning_rate(self):
        return self.optimizers[-1].learning_rate


def average_weights(model):
    """Gives a model with a compiled, restored optimizer the moving averages of its weights, where it keeps them."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    optimizer.finalize_variable_values(model.trainable_variables)
