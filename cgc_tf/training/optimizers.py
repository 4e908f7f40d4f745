"""The optimizer and its learning-rate schedule, from Keras."""

import re

import keras

from cgc_tf.method.model import CGCModel
from cgc_tf.training.config import Config

NORM_AND_BIAS = ["gamma", "beta", "bias"]


def compile_model(model: CGCModel, config: Config, steps_per_epoch: int, replicas: int = 1) -> None:
    """Gives a model its optimizer, built, so that a checkpoint can be read into both."""
    classifier = model.head.get_layer("classifier").trainable_variables
    optimizer = make_optimizer(config, steps_per_epoch, classifier, replicas)
    model.compile(optimizer=optimizer, jit_compile=config.xla)
    model.optimizer.build(model.trainable_variables)


def learning_rate(config: Config, steps_per_epoch: int, peak: float) -> keras.optimizers.schedules.LearningRateSchedule:
    """The Keras schedule over steps of a configuration.

    cosine: from the peak down to zero at the last step. constant: the peak. step: the peak times `step_factor` at each
    of `step_epochs`; without any at a third and at two thirds of the run, the reference's 30 and 60 of 90 epochs. Each
    may begin with a linear warm-up from zero, which the epochs of `step_epochs` include.
    """
    schedules = keras.optimizers.schedules
    total = config.epochs * steps_per_epoch
    warmup = min(round(config.warmup_epochs * steps_per_epoch), total - 1)
    if config.schedule == "step":
        epochs = config.step_epochs or (config.epochs / 3, 2 * config.epochs / 3)
        rates = [peak * config.step_factor**index for index in range(len(epochs) + 1)]
        steps = schedules.PiecewiseConstantDecay([int(epoch * steps_per_epoch) for epoch in epochs], rates)
        return WarmUp(steps, warmup) if warmup else steps
    end = {"cosine": 0.0, "constant": 1.0}[config.schedule]  # as a share of the peak
    if not warmup:
        return schedules.CosineDecay(peak, total, end)
    return schedules.CosineDecay(0.0, total - warmup, end, warmup_target=peak, warmup_steps=warmup)


@keras.saving.register_keras_serializable("cgc_tf")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Another schedule, times a factor that rises linearly from 0 to 1 over so many steps (Goyal et al. 2017, 2.2)."""

    def __init__(self, schedule, steps):
        self.schedule, self.steps = schedule, steps

    def __call__(self, step):
        return self.schedule(step) * keras.ops.minimum(keras.ops.cast(step, "float32") / self.steps, 1.0)

    def get_config(self):
        return {"schedule": keras.saving.serialize_keras_object(self.schedule), "steps": self.steps}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config["schedule"]), config["steps"])


def make_optimizer(
    config: Config, steps_per_epoch: int, head: list[keras.Variable] | tuple = (), replicas: int = 1
) -> keras.optimizers.Optimizer:
    """The Keras optimizer of a configuration; `head` are the variables that its `head_learning_rate` is for.

    Keras takes weight decay off the weights directly. PyTorch's SGD adds it to the gradient, so that it goes through
    the momentum and counts 1 / (1 - momentum) times; `weight_decay` means the latter for `sgd`. Keras clips on each
    replica before it adds up; a part of the limit for each keeps the sum within it.
    """

    def make(peak, clip_norm=None):
        settings = {
            "learning_rate": learning_rate(config, steps_per_epoch, peak),
            "global_clipnorm": clip_norm,
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

    clip_norm = config.clip_norm / replicas or None
    if not config.head_learning_rate:
        return make(config.learning_rate, clip_norm)
    paths = "|".join(re.escape(variable.path) for variable in head)
    rates = {paths: make(config.head_learning_rate)}
    return TwoRates(keras.optimizers.OptimizerMap(make(config.learning_rate), rates), clip_norm)


@keras.saving.register_keras_serializable("cgc_tf")
class TwoRates(keras.optimizers.MultiOptimizer):
    """Keras' optimizer of several, which clips all gradients together and has the trunk's learning rate to show."""

    def __init__(self, optimizer_map, global_clipnorm=None, **kwargs):
        super().__init__(optimizer_map, **kwargs)
        self.global_clipnorm = global_clipnorm

    def apply(self, grads, trainable_variables=None):
        super().apply(self._clip_gradients(list(grads)), trainable_variables)

    @property
    def learning_rate(self):
        return self.optimizers[-1].learning_rate

    def get_config(self):
        return {**super().get_config(), "global_clipnorm": self.global_clipnorm}
