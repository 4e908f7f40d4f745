"""What a protocol measures on a trained run, and that how it is batched changes no number."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from cgc_tf.common.errors import UserError
from cgc_tf.data import batches, load
from cgc_tf.evaluation import evaluated_models
from cgc_tf.evaluation.measure import measure
from cgc_tf.evaluation.protocol import Protocol


def measured(workdir, small_config, batch_size=12, **choices):
    source = load.load_dataset("folder", small_config.data_dir)
    subject = evaluated_models.from_workdir(workdir)
    return measure(subject, source, Protocol(**choices), batch_size).columns


@pytest.mark.slow
def test_batch_size_does_not_change_the_numbers(workdir, small_config):
    small, large = (measured(workdir, small_config, size, curves="all") for size in (5, 12))
    assert list(small) == list(large)
    for key, values in small.items():
        if key != "id":
            np.testing.assert_allclose(values, large[key], rtol=1e-3, atol=1e-4, err_msg=key)


@pytest.mark.slow
def test_limit_spreads_over_the_split(workdir, small_config):
    source = load.load_dataset("folder", small_config.data_dir)
    for limit, expected in ((6, [0, 2, 4, 6, 8, 10]), (5, [0, 3, 5, 8, 10]), (12, range(12)), (50, range(12))):
        made = batches.evaluation_batches(source, "test", 48, 4, limit)
        np.testing.assert_array_equal(np.concatenate([batch["index"] for batch in made]), expected)
    np.testing.assert_array_equal(measured(workdir, small_config, limit=2)["index"], [0, 6])


@pytest.mark.parametrize("batch_size", [1, 2, 12])
def test_whole_images_of_a_size_go_together(small_config, batch_size):
    """Each example once, however few images are looked through for more of one size."""
    source = load.load_dataset("folder", small_config.data_dir)
    made = list(batches.whole_image_batches(source, "test", 96, batch_size))
    assert sorted(int(index) for batch in made for index in batch["index"]) == list(range(12))
    assert max(len(batch["index"]) for batch in made) == min(batch_size, 6)  # of three sizes, with 6, 3 and 3
    assert {batch["region"].shape[1:] for batch in made} == {(128, 128), (120, 160), (140, 100)}
    for batch in made:
        np.testing.assert_allclose(np.min(batch["image"].shape[1:3]), 96)


@pytest.mark.slow
def test_choices_of_the_protocol(workdir, small_config):
    """Each choice changes the numbers it is about, and no other."""
    default = measured(workdir, small_config, limit=4)
    assert "road" not in default
    default = measured(workdir, small_config, limit=4, curves="all")
    changes = {
        "ch_resize": (
            {"ch_resize": 48},
            {"content_heatmap", "pixel_ap", "pointing_game", "entropy", "sparsity", "zero_heatmap"},
        ),
        "curve_steps": ({"curve_steps": 4}, {"insertion_auc", "deletion_auc"}),
        "curve_substrate": ({"curve_substrate": "zero"}, {"insertion_auc"}),
        "scored_class": ({"scored_class": "label"}, {"insertion_auc", "deletion_auc", "road"}),
        "evaluation_seed": ({"evaluation_seed": 3}, {"consistency", "retrieval_rank", "road"}),
    }
    for name, (choice, affected) in changes.items():
        columns = measured(workdir, small_config, limit=4, curves="all", **choice)
        changed = {
            key for key in columns if key != "id" and not np.allclose(columns[key], default[key], equal_nan=True)
        }
        assert changed and changed <= affected, (name, changed)


@pytest.mark.slow
def test_weights_are_shuffled_and_put_back(workdir, small_config):
    source, subject = load.load_dataset("folder", small_config.data_dir), evaluated_models.from_workdir(workdir)
    before = [weight.numpy() for weight in subject.network.weights]
    found = measure(subject, source, Protocol(randomization=6), 12).randomization
    assert found[0]["layer"] == "classifier" and len(found) > 5
    assert found[-1]["spearman"] is None or abs(found[-1]["spearman"]) < 0.8
    for weight, values in zip(subject.network.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), values)


@pytest.mark.slow
def test_masks_beat_boxes_by_choice(workdir, small_config):
    folder = load.load_dataset("folder", small_config.data_dir)

    def decode(split, index):
        example = folder.decode(split, index)
        corner = tf.ones_like(example["image"][::2, ::2, :1])
        height, width = tf.unstack(tf.shape(example["image"])[:2])
        mask = tf.image.pad_to_bounding_box(corner, 0, 0, height, width)
        return {**example, "mask": mask}

    source, subject = dataclasses.replace(folder, decode=decode, has_masks=True), evaluated_models.from_workdir(workdir)
    by_box, by_mask = (
        measure(subject, source, Protocol(ch_region=region, curves="none"), 12).columns for region in ("box", "mask")
    )
    np.testing.assert_allclose(by_mask["content_heatmap_of_uniform"], 0.25)  # the mask is a quarter of each picture
    np.testing.assert_allclose(by_mask["content_heatmap"], by_mask["mask_energy"])
    np.testing.assert_array_equal(by_box["mask_energy"], by_mask["mask_energy"])
    assert np.nanmax(np.abs(by_box["content_heatmap"] - by_mask["content_heatmap"])) > 0.05
    with pytest.raises(UserError, match="--ch_region=mask: folder has no masks"):
        Protocol(ch_region="mask").check(folder)
