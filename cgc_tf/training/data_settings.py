"""The settings of a run that say which pictures it is trained on, and how they are seen."""

import dataclasses

from cgc_tf.common import settings
from cgc_tf.common.errors import UserError
from cgc_tf.common.settings import HARMLESS, NEVER, same_as, setting
from cgc_tf.data import load
from cgc_tf.data.augmentation import Augmentation
from cgc_tf.data.folder_listing import LAYOUT
from cgc_tf.data.objects import find
from cgc_tf.data.splits import Splits


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """A run's data; raises `UserError` for a setting out of its bounds, or settings that do not go together."""

    dataset: str = setting(
        "toy_aircraft", f"What to train on: {', '.join(load.KNOWN)}.", on_change=NEVER, section="Data"
    )
    data_dir: str = setting(
        "",
        f"For --dataset=folder the folder itself: {LAYOUT}, or DIR/<class>/*.jpg with --test_fraction. For the others, "
        "where TFDS keeps prepared data (default: ~/tensorflow_datasets).",
        on_change=HARMLESS,
    )
    objects: str = setting(
        "",
        f"Where the objects of a folder's pictures are: {find.FORMS} (default: boxes.csv and masks/ in the folder).",
        on_change=HARMLESS,
    )
    test_fraction: float = same_as(Splits, "test_fraction")
    validation_fraction: float = same_as(Splits, "validation_fraction")
    split_groups: str = same_as(Splits, "split_groups")
    split_seed: int = same_as(Splits, "split_seed")
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
    color_jitter: float = same_as(Augmentation, "color_jitter")
    rand_augment: int = same_as(Augmentation, "rand_augment")
    rand_augment_magnitude: float = same_as(Augmentation, "rand_augment_magnitude")
    random_erasing: float = same_as(Augmentation, "random_erasing")

    def __post_init__(self):
        settings.check_bounds(self)
        if not self.cache:
            raise UserError("--cache should be none, memory or a folder. Received: nothing")
        load.check(self.dataset, self.data_dir, of_folders={**vars(self.make_splits()), "objects": self.objects})
        if self.test_fraction + self.validation_fraction == 1:
            raise UserError(f"--test_fraction={self.test_fraction} leaves nothing to train on")
        if self.unlabeled_dataset and not self.takes_rest:
            load.check(self.unlabeled_dataset, self.unlabeled_data_dir, "unlabeled_")
        elif self.unlabeled_dataset and self.labeled_fraction == 1:
            raise UserError(
                f"--unlabeled_dataset={self.dataset} is --dataset, of which --labeled_fraction=1 leaves nothing"
            )

    @property
    def takes_rest(self) -> bool:
        """Whether the unlabeled examples are those that `labeled_fraction` leaves."""
        return self.unlabeled_dataset == self.dataset and self.unlabeled_data_dir in ("", self.data_dir)

    def make_augmentation(self) -> Augmentation:
        """The `Augmentation` of these settings."""
        return Augmentation.of(vars(self))

    def make_splits(self) -> Splits:
        """The `Splits` of these settings."""
        return Splits.of(vars(self))
