"""Tests of the `toy_aircraft` pictures and of the dataset made of them."""

import itertools
from unittest import mock

import numpy as np
import pytest
import tensorflow_datasets as tfds
from matplotlib.colors import rgb_to_hsv

from cgc_tf.data.datasets.toy_aircraft import drawing
from cgc_tf.data.datasets.toy_aircraft import toy_aircraft_dataset_builder as builder_module

LABELS = range(len(drawing.CLASSES))


def scene(seed, label=0, texture=0):
    """Draws a scene; returns int (SIZE, SIZE, 3) and bool (SIZE, SIZE)."""
    image, mask = drawing.draw(np.random.default_rng(seed), label, texture)
    return image.astype(int), mask[..., 0] > 0


def color_share(image, color):
    """Returns the share of strongly colored pixels whose hue is the named color's."""
    hue, saturation, _ = np.moveaxis(rgb_to_hsv(image / 255), -1, 0)
    distance = np.abs((hue - drawing.COLORS[color] + 0.5) % 1 - 0.5)
    return ((distance < 0.05) & (saturation > 0.6)).mean()


@pytest.mark.parametrize("texture", range(len(drawing.TEXTURES)))
def test_same_seed_gives_the_same_bytes(texture):
    first, again, other = scene(1, 0, texture), scene(1, 0, texture), scene(2, 0, texture)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert (first[0] != other[0]).any(-1).mean() > 0.5


def test_textures_differ_behind_the_same_aircraft():
    scenes = [scene(3, texture=texture) for texture in range(len(drawing.TEXTURES))]
    for (image, mask), (other, other_mask) in itertools.combinations(scenes, 2):
        assert np.array_equal(mask, other_mask)
        assert np.abs(image - other)[~mask].mean() > 10


@pytest.mark.parametrize("seed", range(20))
def test_box_is_tight_round_an_aircraft_inside_the_picture(seed):
    image, mask = drawing.draw(np.random.default_rng(seed), seed % 8, seed % 8)
    assert (image.shape, image.dtype) == ((128, 128, 3), np.uint8)
    assert (mask.shape, mask.dtype) == ((128, 128, 1), np.uint8)
    assert set(np.unique(mask)) == {0, 255}

    top, left, bottom, right = (int(128 * edge) for edge in drawing.bounding_box(mask))
    box = mask[top:bottom, left:right, 0]
    assert np.count_nonzero(box) == np.count_nonzero(mask)
    assert all(edge.any() for edge in (box[0], box[-1], box[:, 0], box[:, -1]))
    assert min(top, left) > 0
    assert max(bottom, right) < 128
    assert 128 * 0.33 < max(box.shape) < 128 * 0.63


@pytest.mark.parametrize("seed", range(5))
def test_classes_differ_only_in_a_small_marking_on_the_body(seed):
    scenes = [scene(seed, label) for label in LABELS]
    for (image, mask), (other, other_mask) in itertools.combinations(scenes, 2):
        differs = (image != other).any(-1)
        assert np.array_equal(mask, other_mask)
        assert not differs[~mask].any()
        assert 0.02 < differs.sum() / mask.sum() < 0.25


@pytest.mark.parametrize("label", LABELS)
def test_marking_has_the_color_of_its_class(label):
    own = drawing.CLASSES[label].split("_")[0]
    for seed in range(5):
        image, mask = scene(seed, label)
        assert color_share(image[mask], own) > 0.02
        assert all(color_share(image[mask], other) == 0 for other in drawing.COLORS if other != own)


@pytest.mark.slow
def test_background_has_as_much_of_every_color():
    backgrounds = [image[~mask] for image, mask in map(scene, range(200))]
    shares = [np.mean([color_share(background, color) for background in backgrounds]) for color in drawing.COLORS]
    assert min(shares) > 0.002
    assert max(shares) / min(shares) < 1.4


@pytest.mark.parametrize(("split", "expected"), [("train", 0.7 + 0.3 / 8), ("test", 1 / 8)])
def test_texture_goes_with_the_class_in_train_only(split, expected):
    plans = [builder_module.Builder.plan(split, i) for i in range(1024)]
    labels, textures = np.array([plan[1:] for plan in plans]).T
    assert np.array_equal(np.bincount(labels), [128] * 8)
    assert set(textures) == set(LABELS)
    assert np.mean(labels == textures) == pytest.approx(expected, abs=0.05)


class ToyAircraftTest(tfds.testing.DatasetBuilderTestCase):
    """Prepares and reads back a small dataset, and checks its registration and its tags."""

    DATASET_CLASS = builder_module.Builder
    EXAMPLE_DIR = DATASET_CLASS.code_path.parent  # nothing is read, but TFDS wants a folder
    SPLITS = {"train": 16, "validation": 8, "test": 8}  # noqa: RUF012

    def setUp(self):
        super().setUp()
        self.enter_context(mock.patch.dict(builder_module.SPLIT_SIZES, self.SPLITS))

    def test_prepared_example_is_the_drawn_one(self):
        self.builder.download_and_prepare()
        builder = tfds.builder("toy_aircraft", data_dir=self.tmp_dir)
        examples = {e["id"].decode(): e for e in tfds.as_numpy(builder.as_dataset(split="train"))}
        assert sorted(examples) == [f"train_{i:05d}" for i in range(16)]

        example, plan = examples["train_00011"], builder_module.Builder.plan("train", 11)
        image, mask = drawing.draw(*plan)
        np.testing.assert_array_equal(example["image"], image)
        np.testing.assert_array_equal(example["segmentation_mask"], mask)
        np.testing.assert_allclose(example["bbox"], drawing.bounding_box(mask))
        assert (example["label"], example["texture"]) == plan[1:]
        assert builder.info.features["label"].names == list(drawing.CLASSES)
