"""What a training step minimizes, as data."""

import dataclasses

from cgc_tf.method.gradcam import CAMS

OBJECTIVES = ("cgc", "baseline", "cgc_no_negatives")
VIEWS = ("ce", "original", "augmented")
NEGATIVES = ("replica", "global")
EXPLAIN_CLASS = ("predicted", "label")


@dataclasses.dataclass(frozen=True)
class Objective:
    """The sum of some views' cross-entropies, plus `lambda_cgc` times a consistency term.

    Attributes:
        kind: "cgc", the contrastive term; "cgc_no_negatives", 1 - cosine; or "baseline", none.
        lambda_cgc: weight of the consistency term, >= 0.
        temperature: tau of the contrastive term, > 0.
        ce_views: which of `VIEWS` carry cross-entropy, one or more.
        negatives: the heatmaps to differ from are this "replica"'s, or "global", every replica's.
        explain_class: the class explained is the one "predicted" on the original view, or the "label".
        cam: how features and gradients make a heatmap, a key of `gradcam.CAMS`.
        label_smoothing: share of each label spread over all classes, in [0, 1).

    Raises:
        ValueError: for a value out of its bounds.
    """

    kind: str = "cgc"
    lambda_cgc: float = 0.5
    temperature: float = 0.5
    ce_views: tuple[str, ...] = VIEWS
    negatives: str = "replica"
    explain_class: str = "predicted"
    cam: str = "hirescam"
    label_smoothing: float = 0.0

    def __post_init__(self):
        choices = {"kind": OBJECTIVES, "negatives": NEGATIVES, "explain_class": EXPLAIN_CLASS, "cam": tuple(CAMS)}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}. Received: {name}={getattr(self, name)}")
        if not self.ce_views or set(self.ce_views) - set(VIEWS) or len(set(self.ce_views)) < len(self.ce_views):
            raise ValueError(
                f"ce_views must be one or more of {', '.join(VIEWS)}. Received: ce_views={','.join(self.ce_views)}"
            )
        if not 0 <= self.lambda_cgc < float("inf"):
            raise ValueError(f"lambda_cgc must be >= 0. Received: lambda_cgc={self.lambda_cgc}")
        if not 0 < self.temperature < float("inf"):
            raise ValueError(f"temperature must be > 0. Received: temperature={self.temperature}")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1). Received: label_smoothing={self.label_smoothing}")

    @property
    def is_consistent(self):
        """Whether there is a consistency term at all."""
        return self.kind != "baseline"
