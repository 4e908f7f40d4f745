"""A dataset before it is trained on: prepared, counted, and its views drawn.

  python -m cgc_tf.data.inspect_dataset --dataset=toy_aircraft --output=sheet.png

The sheet shows the three views of some examples with their boxes, the outlines of their masks where there are some
and, in amber, the crop that `augmented` shows.
"""

import cgc_tf.common.quiet_tensorflow  # noqa: F401  # isort: skip
import math
import pathlib

import numpy as np
import tensorflow as tf
from absl import flags
from matplotlib.figure import Figure

from cgc_tf.common import errors, files, graphs, lettering, program, settings
from cgc_tf.data import batches, load, views
from cgc_tf.data.augmentation import Augmentation
from cgc_tf.data.source import Source, read
from cgc_tf.data.splits import Splits
from cgc_tf.method import geometry
from cgc_tf.method.objective import VIEWS
from cgc_tf.method.overlay import BOX_COLOR, outline, show

COLUMNS, CELL = 3, 1.5  # examples side by side; inches of one view
KINDS = (".png", ".jpg", ".pdf", ".svg")
CROP_COLOR = (255, 176, 0)  # amber


def define_flags() -> None:
    """Defines the flags: which dataset, and what of it to draw."""
    flags.DEFINE_string("dataset", "toy_aircraft", "The dataset to look at.")
    flags.DEFINE_string("data_dir", None, "Where it is, as for train.py.")
    flags.DEFINE_enum("on_bad_image", "fail", ("fail", "skip"), "As for train.py.")
    flags.DEFINE_string("objects", "", "As for train.py.")
    settings.define_flags(Splits)
    flags.DEFINE_string("split", "train", "The split to draw.")
    flags.DEFINE_integer("examples", 12, "How many of its examples to draw, spread over it.", lower_bound=1)
    flags.DEFINE_integer("image_size", 224, "Side of the views in pixels.", lower_bound=16)
    settings.define_flags(Augmentation)
    flags.DEFINE_integer("seed", 0, "Seed of the views.", lower_bound=0)
    flags.DEFINE_string("output", "sheet.png", "The picture to write.")


def main(_):
    options = flags.FLAGS
    output = pathlib.Path(options.output)
    _check_output(output)
    splits, augmentation = settings.from_flags(Splits), settings.from_flags(Augmentation)
    load.check(options.dataset, options.data_dir, of_folders={**vars(splits), "objects": options.objects})
    source = load.load_dataset(options.dataset, options.data_dir, options.on_bad_image, splits, None, options.objects)
    if not source.sizes.get(options.split):
        filled = ", ".join(name for name, size in source.sizes.items() if size)
        raise errors.UserError(f"--split={options.split}: {source.name} has {filled}")
    print(summary(source))
    chosen = batches.spread(source.sizes[options.split], options.examples)
    shown = [
        drawn_views(example, options.seed, options.image_size, augmentation, source.class_names)
        for example in source.examples(options.split, chosen)
    ]
    with files.reported(f"--output={output}"):
        sheet(output, shown)
    print(f"sheet: {output}")


def _check_output(path):
    if path.suffix not in KINDS:
        raise errors.UserError(f"--output={path} should end with one of {', '.join(KINDS)}")
    if not path.parent.is_dir():
        raise errors.UserError(f"--output={path}: there is no folder {path.parent}; create it, or choose another file")


def summary(source: Source) -> str:
    """What a source has, as text: its classes, and of each split the examples, and those with boxes and masks."""
    lines = [f"{source.name}: {len(source.class_names)} classes, {errors.first_few(source.class_names, 4)}"]
    for split, size in source.sizes.items():
        if not size:
            continue
        labels, boxes, masks = counts(source, split)
        least, most = labels.min(), labels.max()
        found = [errors.counted(size, "example")]
        found.append(f"{least} to {most} of a class" if least < most else f"{least} of each class")
        if boxes:
            found.append(f"{boxes} with boxes")
        if masks:
            found.append(f"{masks} with a mask")
        lines.append(f"  {split:<11} {', '.join(found)}")
    if source.skipped:
        lines.append(f"  skipped: {errors.counted(len(source.skipped), 'picture')}")
    return "\n".join(lines)


def counts(source: Source, split: str) -> tuple[np.ndarray, int, int]:
    """Examples of each class, `[classes]`; and how many examples have boxes, and a mask that is not empty."""

    def facts(index):
        example = source.decode(split, index)  # of which only what is asked for is computed
        return {
            "label": example["label"],
            "has_boxes": tf.shape(example["boxes"])[0] > 0 if source.has_boxes else False,
            "has_mask": tf.reduce_any(example["mask"] > 0) if source.has_masks else False,
        }

    size = source.sizes[split]
    counted = graphs.parallel(tf.data.Dataset.range(size), facts).batch(256)
    found = list(read(source, counted, size, split))
    labels = np.concatenate([batch["label"] for batch in found])
    boxes, masks = (sum(int(np.sum(batch[name])) for batch in found) for name in ("has_boxes", "has_mask"))
    return np.bincount(labels, minlength=len(source.class_names)), boxes, masks


def drawn_views(example, seed, size, augmentation, class_names):
    """The views of the first pass over the data, each with what is to be seen on it.

    Returns:
        A dict: `title`; and for each of `VIEWS` a pair of the image, uint8 `[size, size, 3]`, and its boxes `[n, 4]`,
        of which there are none where RandAugment may have moved what they are of;
        `masks`, of those that have boxes {view: uint8 `[size, size]`, 255 on the object}, empty without a mask;
        `crop` `[4]`, the part of `original` that `augmented` shows, in [0, 1]; `flipped`.
    """
    example = {**example, "image": tf.convert_to_tensor(example["image"])}
    key, shape = [seed, 0], example["image"].shape
    made = views.training_views(example, key, size, augmentation=augmentation)
    ce = views.ce_transform(views.example_seed(example["id"], key), shape)
    centered = geometry.crop_boxes(example["boxes"], views.original_view(example["image"], size)[1])
    boxes = {
        "ce": geometry.transform_boxes(example["boxes"], ce, np.array([*shape[:2], *shape[:2]], np.float32)),
        "original": centered,
        "augmented": geometry.transform_boxes(centered, made["transform"], size),
    }
    masks = _masks(example, ce, made["transform"], size) if "mask" in example else {}
    if augmentation.rand_augment:
        boxes["ce"] = boxes["ce"][:0]
        masks.pop("ce", None)
    top, left, height, width, flip = made["transform"].numpy()
    return {
        **{view: (made[view].numpy(), boxes[view].numpy()) for view in VIEWS},
        "masks": masks,
        "title": class_names[example["label"]].replace("_", " "),
        "crop": np.array([top, left, top + height, left + width]) / size,
        "flipped": bool(flip),
    }


def _masks(example, ce, transform, size):
    """The mask in each view, made as the view is: it is an image, too."""
    mask = 255 * tf.repeat(tf.cast(example["mask"] > 0, tf.uint8), 3, -1)
    original, _ = views.original_view(mask, size)
    found = geometry.transform_image(mask, ce, size), original, geometry.transform_image(original, transform, size)
    return {view: image.numpy()[..., 0] for view, image in zip(VIEWS, found, strict=True)}


def sheet(path: pathlib.Path, shown: list[dict]) -> None:
    """Draws examples as `drawn_views` gives them: objects in green, and in amber what `augmented` shows."""
    with lettering.styled(example["title"] for example in shown):
        rows = math.ceil(len(shown) / COLUMNS)
        figure = Figure(figsize=(CELL * len(VIEWS) * COLUMNS, CELL * 1.3 * rows))
        axes = figure.subplots(rows, len(VIEWS) * COLUMNS, squeeze=False)
        for axis in axes.flat:
            axis.set_axis_off()
        for example, of_example in zip(shown, axes.reshape(-1, len(VIEWS)), strict=False):  # the last row may have room
            _draw(example, dict(zip(VIEWS, of_example, strict=True)))
        figure.savefig(path)


def _draw(example, axes):
    """Draws an example's views on their axes, {view: axis}."""
    for view, axis in axes.items():
        image, boxes = example[view]
        has_area = (boxes[:, 2:] > boxes[:, :2]).all(1)
        show(axis, image, boxes[has_area])
        mask = example["masks"].get(view, np.zeros(1))
        if mask.min() < 128 <= mask.max():  # else there is no edge
            axis.autoscale(False)  # boxes may reach beyond the view
            axis.contour(mask, [127.5], colors=[np.divide(BOX_COLOR, 255)], linewidths=0.8)
        axis.set_title(view, fontsize=6)
    outline(axes["original"], example["original"][0], example["crop"][None], CROP_COLOR)
    if example["flipped"]:
        axes["augmented"].set_title("augmented, flipped", fontsize=6)
    title = lettering.fitted(example["title"], 0.9 * CELL, 6, lines=3)
    axes["ce"].set_title(f"{title}\nce", fontsize=6)


if __name__ == "__main__":
    program.run(main)
