"""Every source, read through `load_dataset` from files of its official layout, obeys one schema."""

import pathlib

import numpy as np
import pytest
import tensorflow_datasets as tfds
from archives import SIZES, decoded

from cgc_tf.common.errors import UserError
from cgc_tf.data import batches, load
from cgc_tf.data.source import labeled_part

CLASSES = {"toy_aircraft": 8, "cars196": 196, "cub200": 200, "flowers102": 102, "imagenet": 1000, "imagenet100": 100}
WITH_MASKS = {"toy_aircraft", "cub200", "flowers102"}


@pytest.mark.parametrize("name", SIZES)
def test_source_obeys_the_schema(name, place):
    source = load.load_dataset(name, place(name))
    assert source.sizes == SIZES[name]
    assert source.has_boxes and source.has_masks == (name in WITH_MASKS)
    assert len(source.class_names) == CLASSES.get(name, 3) == len(set(source.class_names))
    for split, size in source.sizes.items():
        examples = decoded(source, split)
        assert len(examples) == size
        for example in examples.values():
            check_example(example, source)


def check_example(example, source):
    assert set(example) == {"image", "label", "boxes", "id"} | ({"mask"} if source.has_masks else set())
    image, boxes = example["image"], example["boxes"]
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
    assert example["label"].dtype == np.int32 and 0 <= example["label"] < len(source.class_names)
    assert boxes.dtype == np.float32 and boxes.ndim == 2 and boxes.shape[1] == 4
    assert (boxes >= 0).all() and (boxes <= 1).all() and (boxes[:, :2] < boxes[:, 2:]).all()
    if source.has_masks:
        mask = example["mask"]
        assert mask.dtype == np.uint8 and mask.shape == (*image.shape[:2], 1) and set(np.unique(mask)) <= {0, 1}
        check_mask_fills_boxes(mask[..., 0], boxes)


def check_mask_fills_boxes(mask, boxes):
    rows, columns = np.nonzero(mask)
    assert len(boxes) == bool(len(rows))
    if len(rows):
        height, width = mask.shape
        tight = [rows.min() / height, columns.min() / width, (rows.max() + 1) / height, (columns.max() + 1) / width]
        np.testing.assert_allclose(boxes[0], tight, atol=0.04)  # a pixel or two of the dummy pictures: JPEG


def test_aircraft_is_cut_and_named(place):
    source = load.load_dataset("aircraft", place("aircraft"))
    assert source.class_names == ("Boeing 707 320", "DHC-8-100", "F/A-18")
    train = decoded(source, "train")
    assert source.class_names[train["0000001"]["label"]] == "F/A-18"
    assert train["0000001"]["image"].shape == (40, 100, 3)
    assert train["0000001"]["image"].max() < 210  # the banner is white
    np.testing.assert_allclose(train["0000001"]["boxes"], [[0.5, 0.1, 1, 0.5]])
    assert len(decoded(source, "test")["0000005"]["boxes"]) == 0  # its box lies in the banner


def test_cars_count_from_one(place):
    train = decoded(load.load_dataset("cars196", place("cars196")), "train")
    assert [train[f"train/0000{i}.jpg"]["label"] for i in (1, 2, 3)] == [0, 195, 2]
    np.testing.assert_allclose(train["train/00001.jpg"]["boxes"], [[0.1, 0.1, 0.5, 0.5]])
    np.testing.assert_allclose(train["train/00003.jpg"]["boxes"], [[0.5, 0.5, 1, 1]])  # beyond the picture


def test_birds_are_named_and_their_masks_are_votes(place):
    source = load.load_dataset("cub200", place("cub200"))
    assert source.class_names[:3] == ("black_footed_albatross", "laysan_albatross", "2")
    name = "CUB_200_2011/images/001.Black_footed_Albatross/Black_Footed_Albatross_0001_1.jpg"
    bird = decoded(source, "train")[name]
    np.testing.assert_allclose(bird["boxes"], [[0.25, 0.25, 0.75, 0.75]])
    assert bird["mask"].sum() == 30 * 20  # four votes of five; one of five is ground


def test_flowers_go_to_their_splits(place):
    source = load.load_dataset("flowers102", place("flowers102"))
    assert set(decoded(source, "train")) == {"image_00002", "image_00004"}
    assert decoded(source, "validation")["image_00003"]["label"] == 101
    test = decoded(source, "test")
    np.testing.assert_allclose(test["image_00001"]["boxes"], [[8 / 48, 0.25, 40 / 48, 0.75]], atol=0.04)
    assert len(test["image_00005"]["boxes"]) == 0 and not test["image_00005"]["mask"].any()


@pytest.mark.parametrize("name", ["imagenet", "imagenet100"])
def test_imagenet_has_all_boxes_of_the_label(name, place):
    source = load.load_dataset(name, place(name))
    test = decoded(source, "test")
    boxes = {int(key[-8:]): example["boxes"] for key, example in test.items()}
    np.testing.assert_allclose(boxes[6], [[0, 0, 0.5, 0.5], [0.25, 0.6, 1, 1]])
    assert len(boxes[9]) == 0
    assert source.class_names[test["ILSVRC2012_val_00000009"]["label"]] == "n03794056"
    if name == "imagenet":
        np.testing.assert_allclose(boxes[293], [[0.2, 0.2, 0.8, 0.8]])
    else:
        assert 293 not in boxes
    train = decoded(source, "train")
    assert all(key.split("_")[0] == source.class_names[example["label"]] for key, example in train.items())
    assert not any(len(example["boxes"]) for example in train.values())


@pytest.mark.sampled
@pytest.mark.parametrize("name", SIZES)
def test_labels_are_known_before_anything_is_decoded(name, place):
    """They are read once, kept beside the data, and those of the examples."""
    data_dir = place(name)
    source = load.load_dataset(name, data_dir)
    for split, labels in source.labels.items():
        assert labels.dtype == np.int32
        assert [example["label"] for example in decoded(source, split).values()] == labels.tolist()
    before = {path: path.stat().st_mtime_ns for path in pathlib.Path(data_dir).rglob("labels-*.npy")}
    assert len(before) == len(source.sizes)
    again = load.load_dataset(name, data_dir)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    for split, labels in again.labels.items():
        np.testing.assert_array_equal(labels, source.labels[split])


def test_kept_labels_of_another_length_are_refused(place):
    data_dir = place("toy_aircraft")
    load.load_dataset("toy_aircraft", data_dir)
    (path,) = pathlib.Path(data_dir).rglob("labels-train.npy")
    np.save(path, np.load(path)[:5])
    with pytest.raises(UserError, match=f"{path} contains 5 labels of 16 examples; remove it, and they are read again"):
        load.load_dataset("toy_aircraft", data_dir)
    path.write_bytes(b"")
    with pytest.raises(UserError, match=f"{path} is not a file of labels; remove it"):
        load.load_dataset("toy_aircraft", data_dir)
    path.unlink()
    assert load.load_dataset("toy_aircraft", data_dir).sizes["train"] == 16


def test_records_by_index_are_those_of_tfds_own_stream(place):
    data_dir = place("imagenet")
    by_index = decoded(load.load_dataset("imagenet", data_dir), "train")
    streamed = tfds.builder("imagenet", data_dir=f"{data_dir}/stream")
    config = tfds.download.DownloadConfig(manual_dir=f"{data_dir}/downloads/manual")
    streamed.download_and_prepare(download_config=config)
    features = list(tfds.as_numpy(streamed.as_dataset(split="train")))
    assert len(features) == len(by_index) == 6
    for example in features:
        np.testing.assert_array_equal(by_index[example["id"].decode()]["image"], example["image"])


def test_other_file_format_is_named_with_the_command_that_converts_it(place):
    """TFDS's converter itself needs apache-beam, so of what it leaves only the file that says so is written here."""
    data_dir = place("toy_aircraft")
    prepared = tfds.builder("toy_aircraft", data_dir=data_dir, file_format="tfrecord")
    prepared.download_and_prepare()
    path = prepared.data_path
    command = f"python -m tensorflow_datasets.scripts.convert_format --dataset_version_dir={path} --out_file_format="
    with pytest.raises(UserError) as caught:
        load.load_dataset("toy_aircraft", data_dir)
    assert f"toy_aircraft was prepared in {path} as tfrecord, and is read as array_record" in str(caught.value)
    assert f"{command}array_record" in str(caught.value) and "\n" not in str(caught.value)
    assert "in an environment of its own with `pip install tensorflow-datasets apache-beam`" in str(caught.value)


def test_source_feeds_a_labeled_and_an_unlabeled_part(place):
    source = load.load_dataset("imagenet", place("imagenet"))
    labeled, rest = labeled_part(source, 0.5, seed=0)
    assert labeled.sizes["train"] == rest.sizes["train"] == 3
    ids = [set(decoded(part, "train")) for part in (labeled, rest)]
    assert len(ids[0] | ids[1]) == 6
    streams = [batches.training_batches(part, 32, 3, seed=0, steps=2) for part in (labeled, rest)]
    for batch in batches.with_unlabeled(*streams):
        assert batch["original"].shape == batch["unlabeled"]["augmented"].shape == (3, 32, 32, 3)
        assert len(set(batch["label"].numpy())) == 3
