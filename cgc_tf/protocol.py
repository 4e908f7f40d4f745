"""How explanations are measured: every choice with its flag, the reference's as default."""

import dataclasses

from absl import flags

from cgc_tf import metrics
from cgc_tf.curves import STEPS, SUBSTRATES
from cgc_tf.errors import UserError

CLASSES = ("predicted", "label")
CURVES = {"both": ("insertion", "deletion"), "insertion": ("insertion",), "deletion": ("deletion",), "none": ()}


def _choice(default, help_text, kind=flags.DEFINE_integer, **bounds):
    return dataclasses.field(default=default, metadata={"help": help_text, "kind": kind, **bounds})


@dataclasses.dataclass(frozen=True)
class Protocol:
    """The settings of an evaluation; each is a flag of evaluate.py."""

    split: str = _choice("test", "The split to measure on.", flags.DEFINE_string)
    limit: int = _choice(None, "Measure on so many examples, spread over the split.", lower_bound=1)
    ch_resize: int = _choice(
        0,
        "Content Heatmap: the shorter side of the whole image, in pixels; 0 for twice --image_size, the reference's "
        "448 for 224.",
        lower_bound=0,
    )
    ch_region: str = _choice(
        "box", "Content Heatmap: what counts as the object.", flags.DEFINE_enum, enum_values=["box", "mask"]
    )
    tolerance: int = _choice(
        metrics.TOLERANCE, "Pointing game: pixels of the image by which a peak may miss the object.", lower_bound=0
    )
    curves: str = _choice(
        "both",
        "Which curves to follow; each is --curve_steps + 1 forward passes, most of an evaluation's time.",
        flags.DEFINE_enum,
        enum_values=list(CURVES),
    )
    curve_substrate: str = _choice(
        "blur",
        "What insertion starts from: the blurred image, zero of the normalised image, or the image's mean colour. "
        "Deletion ends at zero, or at the mean colour.",
        flags.DEFINE_enum,
        enum_values=list(SUBSTRATES),
    )
    curve_steps: int = _choice(STEPS, "Steps of insertion and deletion.", lower_bound=1)
    explained_class: str = _choice(
        "predicted",
        "Insertion and deletion: the class whose heatmap orders the pixels.",
        flags.DEFINE_enum,
        enum_values=list(CLASSES),
    )
    scored_class: str = _choice(
        "predicted",
        "Insertion and deletion: the class whose probability is followed.",
        flags.DEFINE_enum,
        enum_values=list(CLASSES),
    )
    randomization: int = _choice(
        0, "Adebayo's check on so many images: do heatmaps change as weights are shuffled? 0 for none.", lower_bound=0
    )
    resamples: int = _choice(2000, "Resamples of a bootstrap interval.", lower_bound=100)
    evaluation_seed: int = _choice(0, "Seed of what an evaluation draws: transformations, noise, resamples.")

    def check(self, source):
        """Raises `UserError` unless a source can be measured so."""
        if self.split not in source.sizes:
            raise UserError(f"--split={self.split}: {source.name} has {', '.join(source.sizes)}")
        if self.ch_region == "mask" and not source.has_masks:
            raise UserError(f"--ch_region=mask: {source.name} has no masks")


def define_flags():
    """Defines one absl flag for each choice; only entry points call this."""
    for field in dataclasses.fields(Protocol):
        bounds = dict(field.metadata)
        bounds.pop("kind")(field.name, field.default, help=bounds.pop("help"), **bounds)


def from_flags():
    """The `Protocol` that the parsed flags make."""
    return Protocol(**{field.name: flags.FLAGS[field.name].value for field in dataclasses.fields(Protocol)})
