"""How explanations are measured: every choice with its flag, the reference's as default."""

import dataclasses

from cgc_tf import flag_fields, metrics
from cgc_tf.curves import STEPS, SUBSTRATES
from cgc_tf.errors import UserError
from cgc_tf.flag_fields import setting

CLASSES = ("predicted", "label")
CURVES = {"both": ("insertion", "deletion"), "insertion": ("insertion",), "deletion": ("deletion",), "none": ()}


@dataclasses.dataclass(frozen=True)
class Protocol:
    """The settings of an evaluation; each is a flag of evaluate.py."""

    split: str = setting("test", "The split to measure on.")
    limit: int = setting(None, "Measure on so many examples, spread over the split.", least=1)
    ch_resize: int = setting(
        0,
        "Content Heatmap: the shorter side of the whole image, in pixels; 0 for twice --image_size, the reference's "
        "448 for 224.",
        least=0,
    )
    ch_region: str = setting("box", "Content Heatmap: what counts as the object.", choices=["box", "mask"])
    tolerance: int = setting(
        metrics.TOLERANCE, "Pointing game: pixels of the image by which a peak may miss the object.", least=0
    )
    curves: str = setting(
        "both",
        "Which curves to follow; each is --curve_steps + 1 forward passes, most of an evaluation's time.",
        choices=list(CURVES),
    )
    curve_substrate: str = setting(
        "blur",
        "What insertion starts from: the blurred image, zero of the normalised image, or the image's mean colour. "
        "Deletion ends at zero, or at the mean colour.",
        choices=list(SUBSTRATES),
    )
    curve_steps: int = setting(STEPS, "Steps of insertion and deletion.", least=1)
    explained_class: str = setting(
        "predicted",
        "Insertion and deletion: the class whose heatmap orders the pixels.",
        choices=list(CLASSES),
    )
    scored_class: str = setting(
        "predicted",
        "Insertion and deletion: the class whose probability is followed.",
        choices=list(CLASSES),
    )
    randomization: int = setting(
        0, "Adebayo's check on so many images: do heatmaps change as weights are shuffled? 0 for none.", least=0
    )
    resamples: int = setting(2000, "Resamples of a bootstrap interval.", least=100)
    evaluation_seed: int = setting(0, "Seed of what an evaluation draws: transformations, noise, resamples.")

    def __post_init__(self):
        flag_fields.check_bounds(self)

    def check(self, source):
        """Raises `UserError` unless a source can be measured so."""
        if self.split not in source.sizes:
            raise UserError(f"--split={self.split}: {source.name} has {', '.join(source.sizes)}")
        if self.ch_region == "mask" and not source.has_masks:
            raise UserError(f"--ch_region=mask: {source.name} has no masks")


def define_flags():
    """Defines one absl flag for each choice; only entry points call this."""
    flag_fields.define_flags(Protocol)


def from_flags():
    """The `Protocol` that the parsed flags make."""
    return flag_fields.from_flags(Protocol)
