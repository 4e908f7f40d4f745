"""Every setting of a run, in one frozen `Config`: its flag, its help and its bounds."""

import dataclasses
import pathlib
import re
import time

from cgc_tf.common import files, settings
from cgc_tf.common.errors import UserError
from cgc_tf.common.settings import HARMLESS, NEVER, WHILE_USED, same_as, setting
from cgc_tf.method.objective import Objective
from cgc_tf.networks import backbones, freezing, pretrained
from cgc_tf.training.data_settings import DataSettings
from cgc_tf.training.recorded import FILE, Recorded

INTERVAL = re.compile(r"[1-9]\d*m?", re.ASCII)


@dataclasses.dataclass(frozen=True)
class Config(DataSettings, Recorded):
    """The settings of one training run; each is a flag of train.py, too.

    >>> config = Config(dataset="toy_aircraft", backbone="resnet8", epochs=2, lambda_cgc=1.0)
    >>> config.make_objective().lambda_cgc
    1.0
    >>> Config(momentum=1.0)
    Traceback (most recent call last):
    ...
    cgc_tf.common.errors.UserError: --momentum should be below 1. Received: 1.0

    Raises:
        UserError: for a setting out of its bounds, or settings that do not go together.
    """

    backbone: str = setting(
        "resnet50",
        "Network as library:name, a bare name being KerasHub's: resnet50, vit_base, applications:MobileNetV2, "
        "keras_cv:EfficientNetV2B0Backbone. `python -m cgc_tf.networks` lists them all.",
        on_change=NEVER,
        section="Network",
    )
    weights: str = setting("none", f"What the network starts from: {pretrained.HOW}.", on_change=NEVER)
    reset_classifier: bool = setting(
        False,
        "Start with a new classifier where --weights is a PyTorch file that holds one of another size, or none.",
        on_change=NEVER,
    )
    freeze: str = setting(
        "none",
        "What stays as --weights has it, statistics of batch normalization included: nothing; all stages of the "
        "backbone but the last, which few pictures can train; or the backbone.",
        freezing.FREEZE,
        on_change=NEVER,
    )
    pooling: str = setting(
        "average",
        "How the head pools over positions; token reads a transformer's class token instead.",
        tuple(backbones.POOLINGS),
        on_change=NEVER,
    )
    hidden_units: tuple = setting(
        (), "Widths of the head's hidden layers, as in 4096,4096; none by default.", items=int, on_change=NEVER
    )
    explain_layer: str = setting(
        "", "Layer whose output is explained (default: the network's last feature map).", on_change=NEVER
    )
    objective: str = same_as(Objective, "kind")
    lambda_cgc: float = same_as(Objective, "lambda_cgc")
    temperature: float = same_as(Objective, "temperature")
    ce_views: tuple[str, ...] = same_as(Objective, "ce_views")
    negatives: str = same_as(Objective, "negatives")
    explain_class: str = same_as(Objective, "explain_class")
    cam: str = same_as(Objective, "cam")
    label_smoothing: float = same_as(Objective, "label_smoothing")
    lambda_warmup_steps: int = same_as(Objective, "lambda_warmup_steps")
    similarity: str = same_as(Objective, "similarity")
    epochs: int = setting(
        10,
        "Passes over the training split, or the unlabeled pictures where there are some.",
        least=1,
        section="Optimization",
    )
    batch_size: int = setting(32, "Examples in a step, over all replicas.", least=1, on_change=NEVER)
    optimizer: str = setting("sgd", "sgd (with --momentum) or adamw.", ("sgd", "adamw"), on_change=NEVER)
    learning_rate: float = setting(0.01, "Peak learning rate.", above=0)
    head_learning_rate: float = setting(
        0.0, "Peak learning rate of the classifier; 0 for the same.", least=0, on_change=WHILE_USED
    )
    schedule: str = setting(
        "cosine",
        "cosine falls to zero; step multiplies by --step_factor at each of --step_epochs.",
        ("cosine", "step", "constant"),
    )
    step_epochs: tuple = setting(
        (), "Epochs after which the step schedule steps (default: 1/3 and 2/3 of the run).", items=float
    )
    step_factor: float = setting(0.1, "What the step schedule multiplies by.", above=0, below=1)
    warmup_epochs: float = setting(0.0, "Epochs over which the learning rate first rises from zero.", least=0)
    momentum: float = setting(0.9, "Momentum of sgd.", least=0, below=1, on_change=WHILE_USED)
    nesterov: bool = setting(False, "Whether the momentum of sgd is Nesterov's.")
    weight_decay: float = setting(
        1e-4, "L2 weight decay as PyTorch's SGD counts it; for adamw its own decoupled decay.", least=0
    )
    decay_exempt: str = setting(
        "none", "Weights that do not decay: none, as in the reference, or norm_and_bias.", ("none", "norm_and_bias")
    )
    clip_norm: float = setting(0.0, "Largest norm of all gradients together; 0 for no limit.", least=0)
    accumulate_steps: int = setting(1, "Steps whose gradients are averaged into one update.", least=1, on_change=NEVER)
    ema_momentum: float = setting(
        0.0,
        "Momentum of a moving average of the weights, which is what is evaluated; 0 for none.",
        least=0,
        below=1,
        on_change=WHILE_USED,
    )
    early_stopping: int = setting(
        0,
        "Stop after so many epochs without a better validation accuracy; 0 for never. Needs a validation split.",
        least=0,
    )
    precision: str = setting(
        "float32",
        "Precision of the network; heatmaps, losses and weights are float32 always.",
        ("float32", "mixed_bfloat16", "mixed_float16"),
        on_change=NEVER,
        section="Running",
    )
    xla: bool = setting(
        False, "Compile the whole step with XLA: on a CPU slower, on a GPU worth a try.", on_change=HARMLESS
    )
    deterministic: bool = setting(
        True,
        "The same bits from the same seed on one device. Without it a GPU may choose faster operations.",
        on_change=HARMLESS,
    )
    sync_batch_norm: bool = setting(
        False, "Normalize by the statistics of all replicas' examples together.", on_change=NEVER
    )
    seed: int = setting(0, "Seed of everything random; the same seed gives the same run.", least=0, on_change=NEVER)
    strategy: str = setting(
        "auto",
        "mirrored: every GPU there is, or the CPU. single: the default device alone. multiworker: those of several "
        "machines, named by --workers, TF_CONFIG or Slurm's srun. auto: multiworker where --workers or TF_CONFIG name "
        "several, else mirrored.",
        ("auto", "single", "mirrored", "multiworker"),
    )
    validation_examples: int = setting(256, "Examples to validate on after each epoch.", least=1)
    checkpoint_every: str = setting(
        "10m",
        "Minutes (10m) or steps (500) between checkpoints; there is one after each epoch, too.",
        on_change=HARMLESS,
    )
    keep_checkpoints: int = setting(
        2,
        "How many of the last checkpoints to keep, beside the best by a validation split.",
        least=1,
        on_change=HARMLESS,
    )
    on_nan: str = setting(
        "stop",
        "A step whose loss or gradient is not finite changes nothing. stop: after --nan_steps of them the run stops. "
        "skip: it goes on.",
        ("stop", "skip"),
        on_change=HARMLESS,
    )
    nan_steps: int = setting(10, "How many steps in a row may be not finite.", least=1, on_change=HARMLESS)

    def __post_init__(self):
        super().__post_init__()
        if self.warmup_epochs >= self.epochs:
            raise UserError(f"--warmup_epochs should be below --epochs={self.epochs}. Received: {self.warmup_epochs}")
        if self.step_epochs and self.schedule != "step":
            raise UserError(f"--step_epochs goes with --schedule=step. Received: --schedule={self.schedule}")
        if list(self.step_epochs) != sorted(set(self.step_epochs)) or not all(
            0 < epoch < self.epochs for epoch in self.step_epochs
        ):
            raise UserError(
                f"--step_epochs should rise, between 0 and --epochs={self.epochs}. Received: {self.step_epochs}"
            )
        if self.nesterov and (self.optimizer != "sgd" or not self.momentum):
            raise UserError("--nesterov goes with --optimizer=sgd and a --momentum above 0")
        if not all(units > 0 for units in self.hidden_units):
            raise UserError(f"--hidden_units should be above 0. Received: {self.hidden_units}")
        if not INTERVAL.fullmatch(self.checkpoint_every):
            raise UserError(
                "--checkpoint_every should be minutes, as in 10m, or steps, as in 500. "
                f"Received: {self.checkpoint_every}"
            )
        for name in ("rand_augment", "random_erasing"):
            if getattr(self, name) and "ce" not in self.ce_views:
                raise UserError(f"--{name} changes the view ce alone, which --ce_views={','.join(self.ce_views)} lacks")
        if self.unlabeled_dataset and not (self.make_objective().is_consistent and self.explain_class == "predicted"):
            raise UserError("--unlabeled_dataset needs a consistency term, and --explain_class=predicted")

    def make_objective(self) -> Objective:
        """The `Objective` of these settings."""
        others = [field.name for field in dataclasses.fields(Objective) if field.name != "kind"]
        return Objective(self.objective, **{name: getattr(self, name) for name in others})

    def default_workdir(self) -> pathlib.Path:
        """A new folder's name that says what is in it: runs/<dataset>-<objective>-<time>."""
        return pathlib.Path("runs", f"{self.dataset}-{self.objective}-{time.strftime('%Y%m%d-%H%M%S')}")

    @property
    def checkpoint_interval(self) -> tuple[int, int]:
        """Between checkpoints: `(steps, seconds)`, one of them 0."""
        is_time = self.checkpoint_every.endswith("m")
        return (0, 60 * int(self.checkpoint_every[:-1])) if is_time else (int(self.checkpoint_every), 0)


def newest_workdir() -> pathlib.Path:
    """The folder under runs/ that was last trained in."""
    found = sorted(pathlib.Path("runs").glob(f"*/{FILE}"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise UserError("there is no run under runs/; train one with train.py, or pass --workdir")
    return found[-1].parent


def define_flags() -> None:
    """Defines one absl flag for each setting; only entry points call this."""
    settings.define_flags(Config)


def from_flags(workdir: files.PathLike | None = None) -> Config:
    """The `Config` that the parsed flags make; flags that were not given are as in a folder that holds a run."""
    recorded = Config.load(workdir) if workdir and (pathlib.Path(workdir) / FILE).exists() else None
    return settings.from_flags(Config, recorded)
