"""Every setting of a run, in one frozen `Config`: its flag, its help, its bounds, and its file in the workdir."""

import dataclasses
import json
import pathlib
import time

from absl import flags

from cgc_tf import backbones, sources
from cgc_tf.errors import UserError
from cgc_tf.model import OBJECTIVES

FILE = "config.json"


def _setting(default, help_text, choices=None, above=None, least=None):
    metadata = {"help": help_text, "choices": choices, "above": above, "least": least}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Config:
    """The resolved settings of one training run."""

    dataset: str = _setting("toy_aircraft", f"What to train on: {', '.join(sources.KNOWN)}.")
    data_dir: str = _setting(
        "",
        "For --dataset=folder the folder itself: DIR/{train,test}/<class>/*.{jpg,jpeg,png} and perhaps "
        "DIR/boxes.csv. For the others, where TFDS keeps prepared data (default: ~/tensorflow_datasets).",
    )
    on_bad_image: str = _setting("fail", "What to do about a picture that cannot be read.", ("fail", "skip"))
    backbone: str = _setting(
        "resnet50",
        f"library:name of the network, a bare name being KerasHub's: {', '.join(backbones.known_backbones())}.",
    )
    weights: str = _setting("none", f"What the network starts from: {backbones.HOW}.")
    objective: str = _setting(
        "cgc",
        "cgc: cross-entropy of three views and contrastive Grad-CAM consistency. baseline: that cross-entropy "
        "alone. cgc_no_negatives: consistency without other images' heatmaps, 1 - cosine.",
        OBJECTIVES,
    )
    lambda_cgc: float = _setting(0.5, "Weight of the consistency term.", least=0)
    temperature: float = _setting(0.5, "Temperature tau of the contrastive loss.", above=0)
    epochs: int = _setting(10, "Passes over the training split.", least=1)
    batch_size: int = _setting(32, "Examples in a step, over all replicas.", least=1)
    image_size: int = _setting(224, "Side of the training views in pixels.", least=16)
    optimizer: str = _setting("sgd", "sgd (with --momentum) or adamw.", ("sgd", "adamw"))
    learning_rate: float = _setting(0.01, "Peak learning rate.", above=0)
    schedule: str = _setting(
        "cosine",
        "cosine falls to zero; step divides by ten at 1/3 and 2/3 of the epochs.",
        ("cosine", "step", "constant"),
    )
    warmup_epochs: float = _setting(
        0.0, "Epochs over which the learning rate of the cosine schedule first rises from zero.", least=0
    )
    momentum: float = _setting(0.9, "Momentum of sgd.", least=0)
    weight_decay: float = _setting(
        1e-4, "L2 weight decay as PyTorch's SGD counts it; for adamw its own decoupled decay.", least=0
    )
    seed: int = _setting(0, "Seed of everything random; the same seed gives the same run.", least=0)
    strategy: str = _setting(
        "mirrored",
        "mirrored: every GPU there is, or the CPU. single: the default device alone.",
        ("mirrored", "single"),
    )
    validation_examples: int = _setting(256, "Examples to validate on after each epoch.", least=1)

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value, bounds = getattr(self, field.name), field.metadata
            if bounds["choices"] and value not in bounds["choices"]:
                raise UserError(f"--{field.name} should be one of {', '.join(bounds['choices'])}. Received: {value}")
            if bounds["above"] is not None and not value > bounds["above"]:
                raise UserError(f"--{field.name} should be above {bounds['above']}. Received: {value}")
            if bounds["least"] is not None and not value >= bounds["least"]:
                raise UserError(f"--{field.name} should be {bounds['least']} or more. Received: {value}")
            if isinstance(value, float) and value == float("inf"):
                raise UserError(f"--{field.name} should be finite. Received: {value}")
        if self.momentum >= 1:
            raise UserError(f"--momentum should be below 1. Received: {self.momentum}")
        if self.warmup_epochs >= self.epochs:
            raise UserError(f"--warmup_epochs should be below --epochs={self.epochs}. Received: {self.warmup_epochs}")
        if self.warmup_epochs and self.schedule != "cosine":
            raise UserError(f"--warmup_epochs goes with --schedule=cosine. Received: --schedule={self.schedule}")
        sources.check(self.dataset, self.data_dir)

    def default_workdir(self):
        """A new folder's name that says what is in it: runs/<dataset>-<objective>-<time>."""
        return pathlib.Path("runs", f"{self.dataset}-{self.objective}-{time.strftime('%Y%m%d-%H%M%S')}")

    def save(self, workdir):
        """Writes the configuration into a workdir, or checks that the one it holds is the same.

        Raises:
            UserError: the workdir holds another configuration; the differences are named.
        """
        workdir = pathlib.Path(workdir)
        if (workdir / FILE).exists():
            stored = Config.load(workdir)
            pairs = [(f.name, getattr(stored, f.name), getattr(self, f.name)) for f in dataclasses.fields(self)]
            changed = [f"{name} {old} there, {new} here" for name, old, new in pairs if old != new]
            if changed:
                raise UserError(f"{workdir} holds a run of another configuration: {'; '.join(changed)}")
        try:
            workdir.mkdir(parents=True, exist_ok=True)
            (workdir / FILE).write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n")
        except OSError as error:
            raise UserError(f"--workdir={workdir} cannot be written: {error.strerror}") from error

    @staticmethod
    def load(workdir):
        """Reads a workdir's configuration; raises `UserError` where there is none."""
        path = pathlib.Path(workdir) / FILE
        try:
            return Config(**json.loads(path.read_text()))
        except FileNotFoundError:
            raise UserError(f"{workdir} is no workdir: it has no {FILE}; train one with train.py") from None
        except (json.JSONDecodeError, TypeError) as error:
            raise UserError(f"{path} is no configuration of this version: {error}") from error


def newest_workdir():
    """The workdir under runs/ that was last trained, a path."""
    found = sorted(pathlib.Path("runs").glob(f"*/{FILE}"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise UserError("there is no run under runs/; train one with train.py, or pass --workdir")
    return found[-1].parent


def define_flags():
    """Defines one absl flag for each setting; only entry points call this."""
    kinds = {str: flags.DEFINE_string, int: flags.DEFINE_integer, float: flags.DEFINE_float}
    for field in dataclasses.fields(Config):
        if field.metadata["choices"]:
            flags.DEFINE_enum(field.name, field.default, field.metadata["choices"], field.metadata["help"])
        else:
            kinds[field.type](field.name, field.default, field.metadata["help"])


def from_flags():
    """The `Config` that the parsed flags make."""
    return Config(**{field.name: flags.FLAGS[field.name].value for field in dataclasses.fields(Config)})
