"""What a training step minimizes, as data: the one place of these settings' defaults, bounds and help."""

import dataclasses

from cgc_tf.common.settings import check_bounds, setting
from cgc_tf.method.gradcam import CAMS

OBJECTIVES = ("cgc", "baseline", "cgc_no_negatives")
VIEWS = ("ce", "original", "augmented")


@dataclasses.dataclass(frozen=True)
class Objective:
    """The sum of some views' cross-entropies, plus `lambda_cgc` times a consistency term.

    >>> Objective("cgc", lambda_cgc=1.0).is_consistent
    True
    >>> Objective(temperature=0)
    Traceback (most recent call last):
    ...
    cgc_tf.common.errors.UserError: temperature should be above 0. Received: 0

    Attributes:
        kind: "cgc", the contrastive term; "cgc_no_negatives", 1 - similarity; or "baseline", none.
        lambda_cgc: weight of the consistency term.
        temperature: tau of the contrastive term.
        ce_views: which of `VIEWS` carry cross-entropy.
        negatives: the heatmaps to differ from are this "replica"'s, or "global", every replica's.
        explain_class: the class explained is the one "predicted" on the original view, or the "label".
        cam: how features and gradients make a heatmap, a key of `gradcam.CAMS`.
        label_smoothing: share of each label spread over all classes.
        lambda_warmup_steps: over so many steps `lambda_cgc` first rises, linearly from zero.
        similarity: of two heatmaps, their "cosine", the paper's; or their "correlation" over pixels, by which a uniform
            heatmap agrees with none.

    Raises:
        ValueError: for a value out of its bounds.
    """

    kind: str = setting(
        "cgc",
        "cgc: cross-entropy of three views and contrastive Grad-CAM consistency. baseline: that cross-entropy "
        "alone. cgc_no_negatives: consistency without other images' heatmaps, 1 - similarity.",
        OBJECTIVES,
        section="Objective",
    )
    lambda_cgc: float = setting(0.5, "Weight of the consistency term.", least=0)
    temperature: float = setting(0.5, "Temperature tau of the contrastive loss.", above=0)
    ce_views: tuple[str, ...] = setting(
        VIEWS, f"Views that carry cross-entropy, of {', '.join(VIEWS)}.", VIEWS, items=str
    )
    negatives: str = setting(
        "replica",
        "Whose heatmaps to differ from: those of the same replica (GPU), or of all of them.",
        ("replica", "global"),
    )
    explain_class: str = setting(
        "predicted",
        "Class whose heatmaps are to agree: the one predicted on the original view, or the label.",
        ("predicted", "label"),
    )
    cam: str = setting(
        "hirescam", "How features and gradients make a heatmap; hirescam is the reference's Grad-CAM.", tuple(CAMS)
    )
    label_smoothing: float = setting(0.0, "Share of each label spread over all classes.", least=0, below=1)
    lambda_warmup_steps: int = setting(
        0, "Steps over which the weight of the consistency term first rises from zero.", least=0
    )
    similarity: str = setting(
        "cosine",
        "How alike two heatmaps are: their cosine, as in the paper, or their correlation over pixels.",
        ("cosine", "correlation"),
    )

    def __post_init__(self):
        check_bounds(self, prefix="")

    @property
    def is_consistent(self) -> bool:
        """Whether there is a consistency term at all."""
        return self.kind != "baseline"
