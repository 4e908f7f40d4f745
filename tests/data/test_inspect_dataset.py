"""The command that shows a dataset before training: right counts, and boxes where the views put the object."""

import pathlib

import numpy as np
import tensorflow as tf
from PIL import Image

from cgc_tf.data import inspect_dataset, load
from cgc_tf.data.augmentation import Augmentation
from cgc_tf.method.objective import VIEWS

ROOT = pathlib.Path(__file__).parents[2]


def test_boxes_lie_on_the_object_in_every_view():
    """The object is a green rectangle on black: inside the carried box all is green, outside nothing is."""
    image = np.zeros([120, 200, 3], np.uint8)
    image[30:90, 60:150] = [0, 255, 0]
    boxes = tf.constant([[30 / 120, 60 / 200, 90 / 120, 150 / 200]])
    flipped = set()
    for index in range(12):
        example = {"image": tf.constant(image), "label": 0, "boxes": boxes, "id": f"{index}"}
        drawn = inspect_dataset.drawn_views(example, 3, 64, Augmentation(), ("a_class",))
        flipped.add(drawn["flipped"])
        assert drawn["title"] == "a class"
        for view in VIEWS:
            pixels, ((ymin, xmin, ymax, xmax),) = drawn[view]
            centers = (np.arange(64) + 0.5) / 64
            rows, columns = (centers > ymin) & (centers < ymax), (centers > xmin) & (centers < xmax)
            expected = rows[:, None] & columns[None]
            assert (expected != (pixels[..., 1] > 127)).mean() < 0.03  # a pixel's edge more or less
        top, left, bottom, right = np.rint(drawn["crop"] * 64).astype(int)
        green = [part[..., 1].mean() for part in (drawn["original"][0][top:bottom, left:right], drawn["augmented"][0])]
        assert abs(green[0] - green[1]) < 12
    assert flipped == {True, False}


def test_masks_are_where_the_object_is_in_every_view():
    """The object is a green disk on black: the mask of each view is what is green there."""
    rows, columns = np.mgrid[:120, :200]
    disk = (rows - 50) ** 2 + (columns - 90) ** 2 < 30**2
    image = np.zeros([120, 200, 3], np.uint8)
    image[disk] = [0, 255, 0]
    boxes = tf.constant([[20 / 120, 60 / 200, 80 / 120, 120 / 200]])
    for index in range(6):
        example = {"image": tf.constant(image), "label": 0, "boxes": boxes, "id": f"{index}"}
        example["mask"] = tf.constant(disk[..., None].astype(np.uint8))
        drawn = inspect_dataset.drawn_views(example, 3, 64, Augmentation(), ("a_class",))
        assert list(drawn["masks"]) == list(VIEWS)
        for view, mask in drawn["masks"].items():
            np.testing.assert_array_equal(mask, drawn[view][0][..., 1])
    example.pop("mask")
    assert inspect_dataset.drawn_views(example, 3, 64, Augmentation(), ("a_class",))["masks"] == {}


def test_a_mask_is_drawn_as_its_outline(tmp_path):
    image, mask = np.zeros([64, 64, 3], np.uint8), np.zeros([64, 64], np.uint8)
    mask[16:48, 20:40] = 255
    views = {view: (image, np.zeros([0, 4], np.float32)) for view in VIEWS}
    green = []
    for masks in ({}, {"original": mask}, {"original": 0 * mask}, {"original": 0 * mask + 255}):
        shown = {**views, "masks": masks, "title": "a class", "crop": np.array([0, 0, 1, 1]), "flipped": False}
        inspect_dataset.sheet(tmp_path / "sheet.png", [shown])
        with Image.open(tmp_path / "sheet.png") as sheet:
            pixels = np.asarray(sheet.convert("RGB"), int)
        green.append(int(np.sum((pixels[..., 1] > 150) & (pixels[..., 0] < 120))))
    assert green[0] == green[2] == green[3] == 0 < green[1]


def test_counts(pictures):
    source = load.load_dataset("folder", str(pictures))
    labels, boxes, masks = inspect_dataset.counts(source, "train")
    assert labels.tolist() == [8, 8, 8] and boxes == 24 and masks == 0


def test_command(pictures, tmp_path, programs):
    output = tmp_path / "sheet.png"
    command = [
        "-m",
        "cgc_tf.data.inspect_dataset",
        "--dataset=folder",
        f"--data_dir={pictures}",
        f"--output={output}",
        "--examples=4",
    ]
    done = programs.run(*command)
    assert done.returncode == 0, done.stderr
    assert "folder: 3 classes, blue_wings, green_fuselage, red_wings\n" in done.stdout
    assert "train       24 examples, 8 of each class, 24 with boxes\n" in done.stdout
    with Image.open(output) as sheet:
        assert sheet.width > 1000 and len(np.unique(np.asarray(sheet.convert("L")))) > 100
