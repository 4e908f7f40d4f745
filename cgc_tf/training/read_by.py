"""Which settings are read only beside certain values of another one."""

from typing import Any

CONSISTENT = ("cgc", "cgc_no_negatives")
READ_BY = {  # setting: another one, and its values by which the first is read
    "lambda_cgc": ("objective", CONSISTENT),
    "lambda_warmup_steps": ("objective", CONSISTENT),
    "explain_class": ("objective", CONSISTENT),
    "similarity": ("objective", CONSISTENT),
    "temperature": ("objective", ("cgc",)),
    "negatives": ("objective", ("cgc",)),
    "momentum": ("optimizer", ("sgd",)),
    "step_factor": ("schedule", ("step",)),
    "nan_steps": ("on_nan", ("stop",)),
    "rand_augment_magnitude": ("rand_augment", range(1, 21)),
    "sync_batch_norm": ("freeze", ("none", "stages")),
    "deterministic": ("xla", (False,)),
}


def unread(config: Any) -> dict[str, str]:
    """The settings of a `Config` that no one reads, each with the one that decides it: {name: name}.

    >>> from cgc_tf.training.config import Config
    >>> unread(Config(objective="baseline"))["temperature"]
    'objective'
    """
    return {name: other for name, (other, values) in READ_BY.items() if getattr(config, other) not in values}
