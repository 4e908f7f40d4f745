"""Every setting of a run, in one frozen `Config`: its flag, its help, its bounds, and its file in the run's folder."""

import dataclasses
import json
import pathlib
import re
import time
from typing import Any

from cgc_tf.common import files, settings
from cgc_tf.common.errors import UserError
from cgc_tf.common.settings import HARMLESS, NEVER, WHILE_USED, same_as, setting
from cgc_tf.data import load
from cgc_tf.method.objective import Objective
from cgc_tf.networks import backbones, pretrained, registry

FILE = "config.json"
INTERVAL = re.compile(r"[1-9]\d*m?", re.ASCII)


@dataclasses.dataclass(frozen=True)
class Config:
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

    dataset: str = setting(
        "toy_aircraft", f"What to train on: {', '.join(load.KNOWN)}.", on_change=NEVER, section="Data"
    )
    data_dir: str = setting(
        "",
        "For --dataset=folder the folder itself: DIR/{train,test}/<class>/*.{jpg,jpeg,png} and perhaps "
        "DIR/boxes.csv. For the others, where TFDS keeps prepared data (default: ~/tensorflow_datasets).",
        on_change=HARMLESS,
    )
    on_bad_image: str = setting(
        "fail", "What to do about a picture that cannot be read.", ("fail", "skip"), on_change=HARMLESS
    )
    cache: str = setting(
        "none",
        "Where training pictures are kept once decoded: none, memory, or a folder, which later runs use again.",
        on_change=HARMLESS,
    )
    unlabeled_dataset: str = setting(
        "",
        "Where the consistency term takes its pictures from, without their labels: a dataset's training split; "
        "--dataset's own name means its examples that --labeled_fraction leaves without a label.",
        on_change=NEVER,
    )
    unlabeled_data_dir: str = setting("", "As --data_dir, for --unlabeled_dataset.", on_change=HARMLESS)
    labeled_fraction: float = setting(
        1.0,
        "Share of each class's training examples whose labels are used, chosen by --seed.",
        above=0,
        most=1,
        on_change=NEVER,
    )
    image_size: int = setting(224, "Side of the training views in pixels.", least=16)
    color_jitter: float = setting(
        0.0, "Strength of random changes of color, in the views ce and augmented; 0 for none.", least=0, most=1
    )
    backbone: str = setting(
        "resnet50",
        f"library:name of the network, a bare name being KerasHub's: {', '.join(registry.known_backbones())}.",
        on_change=NEVER,
        section="Network",
    )
    weights: str = setting("none", f"What the network starts from: {pretrained.HOW}.", on_change=NEVER)
    reset_classifier: bool = setting(
        False,
        "Start with a new classifier where --weights is a PyTorch file that holds one of another size, or none.",
        on_change=NEVER,
    )
    pooling: str = setting("average", "How the head pools over positions.", tuple(backbones.POOLINGS), on_change=NEVER)
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
    sync_batch_norm: bool = setting(
        False, "Normalize by the statistics of all replicas' examples together.", on_change=NEVER
    )
    seed: int = setting(0, "Seed of everything random; the same seed gives the same run.", least=0, on_change=NEVER)
    strategy: str = setting(
        "mirrored",
        "mirrored: every GPU there is, or the CPU. single: the default device alone.",
        ("mirrored", "single"),
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
        settings.check_bounds(self)
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
        if not self.cache:
            raise UserError("--cache should be none, memory or a folder. Received: nothing")
        load.check(self.dataset, self.data_dir)
        if self.unlabeled_dataset:
            if not self.make_objective().is_consistent or self.explain_class == "label":
                raise UserError("--unlabeled_dataset needs a consistency term, and --explain_class=predicted")
            if not self.takes_rest:
                load.check(self.unlabeled_dataset, self.unlabeled_data_dir, "unlabeled_")
            elif self.labeled_fraction == 1:
                raise UserError(
                    f"--unlabeled_dataset={self.dataset} is --dataset, of which --labeled_fraction=1 leaves nothing"
                )

    @property
    def takes_rest(self) -> bool:
        """Whether the unlabeled examples are those that `labeled_fraction` leaves."""
        return self.unlabeled_dataset == self.dataset and self.unlabeled_data_dir in ("", self.data_dir)

    def make_objective(self) -> Objective:
        """The `Objective` of these settings."""
        others = [field.name for field in dataclasses.fields(Objective) if field.name != "kind"]
        return Objective(self.objective, **{name: getattr(self, name) for name in others})

    def to_flags(self) -> list[str]:
        """The settings that are not the defaults, as command-line arguments, a list."""
        changed = dataclasses.asdict(self).items() - dataclasses.asdict(Config()).items()
        texts = {name: ",".join(map(str, value)) if isinstance(value, tuple) else value for name, value in changed}
        return [f"--{name}={text}" for name, text in sorted(texts.items())]

    def default_workdir(self) -> pathlib.Path:
        """A new folder's name that says what is in it: runs/<dataset>-<objective>-<time>."""
        return pathlib.Path("runs", f"{self.dataset}-{self.objective}-{time.strftime('%Y%m%d-%H%M%S')}")

    @property
    def checkpoint_interval(self) -> tuple[int, int]:
        """Between checkpoints: `(steps, seconds)`, one of them 0."""
        is_time = self.checkpoint_every.endswith("m")
        return (0, 60 * int(self.checkpoint_every[:-1])) if is_time else (int(self.checkpoint_every), 0)

    def save(self, workdir: files.PathLike) -> None:
        """Writes the configuration into a run's folder, over one that is there; raises `OSError` where it cannot."""
        files.write(pathlib.Path(workdir) / FILE, json.dumps(dataclasses.asdict(self), indent=2) + "\n")

    def changes(self, workdir: files.PathLike, are_allowed: bool = False) -> dict[str, tuple]:
        """What differs from the configuration in a run's folder: {setting: (there, here)}; empty where it has none.

        Raises:
            UserError: something differs that may not, or is not allowed to; everything that differs is named.
        """
        if not (pathlib.Path(workdir) / FILE).exists():
            return {}
        stored = Config.load(workdir)
        pairs = {f.name: (getattr(stored, f.name), getattr(self, f.name)) for f in dataclasses.fields(self)}
        changed = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
        listed = "; ".join(f"{name} {old} there, {new} here" for name, (old, new) in changed.items())
        if changed and not are_allowed:
            raise UserError(
                f"{workdir} holds a run of another configuration: {listed}. Choose another --workdir, or go on "
                "differently with --allow_changes"
            )
        for field in dataclasses.fields(self):
            on_change, (old, new) = field.metadata["on_change"], pairs[field.name]
            if on_change == NEVER and old != new:
                raise UserError(f"--{field.name} cannot change within a run; choose another --workdir ({listed})")
            if on_change == WHILE_USED and bool(old) != bool(new):
                raise UserError(
                    f"--{field.name} cannot change from or to 0 within a run; choose another --workdir ({listed})"
                )
        return changed

    @staticmethod
    def load(workdir: files.PathLike) -> "Config":
        """Reads the configuration in a run's folder; raises `UserError` where there is none."""
        path = pathlib.Path(workdir) / FILE
        try:
            stored: dict[str, Any] = json.loads(path.read_text())
            lists = {name: tuple(value) for name, value in stored.items() if isinstance(value, list)}
            values: dict[str, Any] = stored | lists
            return Config(**values)
        except FileNotFoundError:
            raise UserError(f"{workdir} is not a run folder: it has no {FILE}; train one with train.py") from None
        except (json.JSONDecodeError, TypeError) as error:
            raise UserError(f"{path} is not a configuration of this version: {error}") from error


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
