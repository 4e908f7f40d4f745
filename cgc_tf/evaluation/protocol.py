"""What explanations are measured on and how: every choice with its flag, the reference's as default."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping

from cgc_tf.common import settings
from cgc_tf.common.errors import UserError
from cgc_tf.common.settings import setting
from cgc_tf.data import load, splits
from cgc_tf.data.source import Source
from cgc_tf.data.splits import Splits
from cgc_tf.evaluation.curves import STEPS, SUBSTRATES
from cgc_tf.method import metrics

CLASSES = ("predicted", "label")
CURVES = {
    "both": ("insertion", "deletion"),
    "insertion": ("insertion",),
    "deletion": ("deletion",),
    "road": ("road",),
    "all": ("insertion", "deletion", "road"),
    "none": (),
}
_OF_CURVES = ("curve_substrate", "curve_steps", "explained_class", "scored_class")
# What changes what a number is.
OTHERWISE = ("ch_resize", "ch_region", "tolerance", *_OF_CURVES, "heatmap_power", "evaluation_seed")
_UNUSED = {"road": _OF_CURVES[:2], "none": _OF_CURVES}


@dataclasses.dataclass(frozen=True)
class Protocol:
    """The settings of an evaluation; each is a flag of evaluate.py."""

    dataset: str = setting(
        None,
        f"What to measure on (default: the dataset that the model was trained on): {', '.join(load.KNOWN)}.",
        section="Data",
    )
    data_dir: str = setting(None, "Where that is, as for train.py (default: as the model was trained).")
    on_bad_image: str = setting(
        None, "What to do about a picture that cannot be read (default: as the model was trained).", ("fail", "skip")
    )
    objects: str = setting(None, "Where its objects are, as for train.py (default: as the model was trained).")
    test_fraction: float = setting(
        None,
        "For a folder without test/ which the model was not trained on: the share of each class to measure, up to 1.",
        above=0,
        most=1,
    )
    split: str = setting("test", "The split to measure on.")
    limit: int = setting(None, "Measure on so many examples, spread over the split.", least=1)
    ch_resize: int = setting(
        0,
        "Content Heatmap: the shorter side of the whole image, in pixels; 0 for twice --image_size, the reference's "
        "448 for 224.",
        least=0,
        section="Content Heatmap and pointing game",
    )
    ch_region: str = setting("box", "Content Heatmap: what counts as the object.", choices=("box", "mask"))
    tolerance: int = setting(
        metrics.TOLERANCE, "Pointing game: pixels of the image by which a peak may miss the object.", least=0
    )
    curves: str = setting(
        "both",
        "Which curves to follow, most of an evaluation's time: both are insertion and deletion, --curve_steps + 1 "
        "forward passes each; road is 14, with as many linear systems to solve.",
        choices=tuple(CURVES),
        section="Insertion, deletion and ROAD",
    )
    curve_substrate: str = setting(
        "blur",
        "What insertion starts from: the blurred image, zero of the normalized image, or the image's mean color. "
        "Deletion ends at zero, or at the mean color.",
        choices=SUBSTRATES,
    )
    curve_steps: int = setting(STEPS, "Steps of insertion and deletion.", least=1)
    explained_class: str = setting("predicted", "Curves: the class whose heatmap orders the pixels.", choices=CLASSES)
    scored_class: str = setting("predicted", "Curves: the class whose probability is followed.", choices=CLASSES)
    heatmap_power: float = setting(
        1.0,
        "Raise heatmaps to this power before anything is measured of them. A control: above 1 they are sharper, and "
        "what is sharper has more of itself inside the object, without any training.",
        above=0,
        section="Checks and statistics",
    )
    randomization: int = setting(
        0,
        "Adebayo's check on so many images: do heatmaps change as weights are shuffled? 0 for none.",
        least=0,
    )
    resamples: int = setting(2000, "Resamples of a bootstrap interval.", least=100)
    evaluation_seed: int = setting(0, "Seed of what an evaluation draws: transformations, noise, resamples.", least=0)

    def __post_init__(self):
        settings.check_bounds(self)
        for field in dataclasses.fields(self):
            if field.name in _UNUSED.get(self.curves, ()) and getattr(self, field.name) != field.default:
                raise UserError(f"--{field.name} is not used by --curves={self.curves}: leave it out")

    def on_data_of(self, trained: Mapping) -> "Protocol":
        """The same protocol with the data named: its own choice, or else what a model was trained on.

        Args:
            trained: the model's settings as they are known, a dict such as `run_folder.trained_on` gives.

        Raises:
            UserError: nobody says what to measure on.
        """
        dataset = self.dataset or trained.get("dataset")
        if not dataset:
            raise UserError("--dataset is missing: this model does not say what to measure it on")
        of_folders = ("on_bad_image", "objects", "test_fraction")
        load.check(dataset, "-", of_folders={name: getattr(self, name) for name in of_folders})
        data_dir, on_bad_image = self.data_dir, self.on_bad_image or trained.get("on_bad_image") or "fail"
        if data_dir is None and dataset == trained.get("dataset"):
            data_dir = trained.get("data_dir")
        return dataclasses.replace(self, dataset=dataset, data_dir=data_dir or None, on_bad_image=on_bad_image)

    def open_source(self, trained: Mapping) -> Source:
        """The `Source` of a protocol whose data is named; the pictures of `trained` are divided as they were then.

        Raises:
            UserError: the data cannot be used.
        """
        named = self.dataset, self.data_dir, self.on_bad_image
        record = trained.get("record")
        if self.dataset == "folder" and self.is_on_own_data(trained):
            if self.test_fraction:
                raise UserError("--test_fraction is not used: the model was trained on these pictures, and on which")
            objects = self.objects or trained.get("objects") or ""
            return load.load_dataset(*named, Splits.of(trained), record and pathlib.Path(record), objects)
        source = load.load_dataset(*named, Splits(self.test_fraction or 0.0), objects=self.objects or "")
        if record and (seen := splits.seen_in_training(record, source.listing(), self.split)):
            print(f"note: the model was trained on {seen} of the pictures to measure on, by their names and sizes")
        return source

    def is_on_own_data(self, trained: Mapping) -> bool:
        """Whether a protocol whose data is named measures on what a model was trained on, or on a copy of it."""
        if self.dataset != "folder" or trained.get("dataset") != "folder":
            return self.dataset == trained.get("dataset")
        if os.path.realpath(self.data_dir or "") == os.path.realpath(trained.get("data_dir") or ""):
            return True
        return bool(trained.get("record")) and splits.is_of(trained["record"], self.data_dir or "")

    @property
    def is_whole(self) -> bool:
        """Whether every example of the test split is measured."""
        return self.split == "test" and self.limit is None

    def variant(self, trained: Mapping, explainer: str = "") -> str:
        """What the names of an evaluation's files end with, where the protocol's data is named.

        Args:
            trained: the model's settings as they are known, as for `on_data_of`.
            explainer: as `explainers.make` takes it.

        Returns:
            "" for the whole test split of the model's own data measured as by default, else such as
            "occlusion-ch_region-mask-cub200-train-limit-6": evaluation-limit-6.json leaves evaluation.json alone.
        """
        default = type(self)()
        parts = [explainer]
        for name in OTHERWISE:
            value = getattr(self, name)
            if value != getattr(default, name):
                parts.append(f"{name}-{value:g}" if isinstance(value, float) else f"{name}-{value}")
        if self.objects not in (None, trained.get("objects")):
            parts.append(f"objects-{pathlib.Path(self.objects).stem}")
        if trained.get("dataset") and not self.is_on_own_data(trained):
            is_folder = self.dataset == "folder"
            parts.append(pathlib.Path(self.data_dir).resolve().name if is_folder else self.dataset)
        if self.split != "test":
            parts.append(self.split)
        if self.limit:
            parts.append(f"limit-{self.limit}")
        return "-".join(filter(None, parts))

    def check(self, source: Source) -> None:
        """Raises `UserError` unless a source can be measured so."""
        if self.split not in source.sizes:
            raise UserError(f"--split={self.split}: {source.name} has {', '.join(source.sizes)}")
        if self.ch_region == "mask" and not source.has_masks:
            raise UserError(f"--ch_region=mask: {source.name} has no masks")
        if not source.has_boxes and (self.ch_resize or self.tolerance != metrics.TOLERANCE):
            name = "ch_resize" if self.ch_resize else "tolerance"
            raise UserError(f"--{name} is not used: {source.name} has no boxes, so Content Heatmap is not measured")
