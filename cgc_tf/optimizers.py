"""The optimizer and its learning-rate schedule, from Keras."""

import keras


def learning_rate(config, steps_per_epoch):
    """A Keras schedule over steps, or the constant rate, as a float.

    cosine: from the peak, after a linear warm-up from zero, down to zero at the last step. step: divided by ten at a
    third and at two thirds of the run, the reference's 30 and 60 of 90 epochs.
    """
    schedules = keras.optimizers.schedules
    total, peak = config.epochs * steps_per_epoch, config.learning_rate
    if config.schedule == "cosine":
        warmup = round(config.warmup_epochs * steps_per_epoch)
        if not warmup:
            return schedules.CosineDecay(peak, total)
        return schedules.CosineDecay(0.0, total - warmup, warmup_target=peak, warmup_steps=warmup)
    if config.schedule == "step":
        return schedules.PiecewiseConstantDecay([total // 3, 2 * total // 3], [peak, peak / 10, peak / 100])
    return peak


def make_optimizer(config, steps_per_epoch):
    """The Keras optimizer of a configuration.

    Keras takes weight decay off the weights directly. PyTorch's SGD adds it to the gradient, so that it goes through
    the momentum and counts 1 / (1 - momentum) times; `weight_decay` means the latter for `sgd`.
    """
    rate = learning_rate(config, steps_per_epoch)
    if config.optimizer == "adamw":
        return keras.optimizers.AdamW(rate, weight_decay=config.weight_decay)
    return keras.optimizers.SGD(rate, config.momentum, weight_decay=config.weight_decay / (1 - config.momentum) or None)
