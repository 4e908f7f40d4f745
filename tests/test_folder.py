"""A user's own pictures: read as they are, and each fault named before any long work."""

import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image

from cgc_tf import config, data, folder, sources
from cgc_tf.errors import UserError


@pytest.fixture
def copy(pictures, tmp_path):
    """A copy of the folder, to damage."""
    return pathlib.Path(shutil.copytree(pictures, tmp_path / "copy"))


def test_examples(pictures):
    source = sources.load("folder", str(pictures))
    assert source.class_names == ("blue_wings", "green_fuselage", "red_wings")
    assert source.sizes == {"train": 24, "test": 12}
    assert source.has_boxes and source.validation == "test"
    examples = list(source.decoded("test").as_numpy_iterator())
    assert [example["label"] for example in examples] == [0] * 4 + [1] * 4 + [2] * 4
    first = examples[0]
    assert first["id"] == b"test/blue_wings/000.jpg"
    with Image.open(pictures / "test/blue_wings/000.jpg") as image:
        np.testing.assert_allclose(first["image"].astype(int), np.asarray(image).astype(int), atol=6)
    row = (pictures / "boxes.csv").read_text().split("test/blue_wings/000.jpg,")[1].splitlines()[0]
    np.testing.assert_allclose(first["boxes"], [[float(x) for x in row.split(",")]], rtol=1e-6)


def test_several_boxes_and_none(copy):
    lines = (copy / "boxes.csv").read_text().splitlines()
    kept = [line for line in lines if not line.startswith("test/blue_wings")]
    (copy / "boxes.csv").write_text("\n".join([*kept, *["test/blue_wings/001.jpg,0,0,0.5,0.5"] * 2]) + "\n")
    source = sources.load("folder", str(copy))
    counts = [len(e["boxes"]) for e in source.decoded("test").as_numpy_iterator()]
    assert counts == [0, 2, 0, 0] + [1] * 8


def test_boxes_as_a_spreadsheet_writes_them(copy):
    expected, text = folder.read(copy).boxes, (copy / "boxes.csv").read_text()
    (copy / "boxes.csv").write_text(text.replace("\n", "\r\n"), "utf-8-sig", newline="")
    assert len(expected) == 36 and folder.read(copy).boxes == expected


def test_skipping_unreadable_pictures(copy, capsys):
    (copy / "train/red_wings/000.jpg").write_bytes(b"no picture")
    whole = (copy / "train/red_wings/001.jpg").read_bytes()
    (copy / "train/red_wings/001.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"2 of 36 pictures cannot be read, the first: .*red_wings/000.jpg"):
        folder.read(copy)
    read = folder.read(copy, "skip")
    assert len(read.files) == 34
    assert "skipped: " in capsys.readouterr().out


def faults():
    yield "no such folder", lambda root: shutil.rmtree(root)
    yield "has no test/ in it", lambda root: shutil.rmtree(root / "test")
    yield (
        "two or more classes. Received: blue_wings",
        lambda root: [shutil.rmtree(root / "train" / name) for name in ("red_wings", "green_fuselage")],
    )
    yield "two or more classes. Received: none", lambda root: (shutil.rmtree(root / "train"), (root / "train").mkdir())
    yield (
        "test holds no readable .jpg, .jpeg or .png",
        lambda root: [path.unlink() for path in (root / "test").glob("*/*")],
    )
    yield "train/red_wings holds no", lambda root: [path.unlink() for path in (root / "train/red_wings").glob("*")]
    yield "this class is not in", lambda root: (root / "test/red_wings").rename(root / "test/stranger")

    def rows(text):
        def write(root):
            (root / "boxes.csv").write_text("file,ymin,xmin,ymax,xmax\n" + text + "\n")

        return write

    yield "line 2: a box is ymin < ymax", rows("test/red_wings/000.jpg,0.1,0.1,1.2,0.5")
    yield "line 2: a box is ymin < ymax", rows("test/red_wings/000.jpg,0.5,0.1,0.4,0.5")
    yield "line 2: a box is ymin < ymax", rows("test/red_wings/000.jpg,0.1,0.5,0.4,0.5")
    yield "line 2: a box is ymin < ymax", rows("test/red_wings/000.jpg,nan,0.1,0.4,0.5")
    yield "line 2: ymin, xmin, ymax, xmax should be numbers", rows("test/red_wings/000.jpg,a,b,c,d")
    yield "line 2: ymin, xmin, ymax, xmax should be numbers", rows("test/red_wings/000.jpg,0.1")
    yield "line 2: no picture test/red_wings/999.jpg", rows("test/red_wings/999.jpg,0,0,1,1")
    yield "the first line should be file,ymin", lambda root: (root / "boxes.csv").write_text("a,b\n")
    yield "boxes.csv is no text in UTF-8", lambda root: (root / "boxes.csv").write_bytes(b"\xff\xfe")


@pytest.mark.parametrize(("message", "damage"), list(faults()))
def test_faults_are_named(copy, message, damage):
    damage(copy)
    with pytest.raises(UserError) as caught:
        folder.read(copy)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_training_views(pictures):
    """The augmented view is T of the original; a view depends on seed, epoch and example, and on nothing else."""
    from cgc_tf import geometry

    source = sources.load("folder", str(pictures))
    batches = list(data.training_batches(source, 48, 8, seed=5, steps=6))
    assert len(batches) == 6
    for batch in batches:
        assert batch["ce"].shape == (8, 48, 48, 3) and batch["ce"].dtype == "uint8"
        again = geometry.transform_image(batch["original"][3], batch["transform"][3], 48)
        np.testing.assert_array_equal(batch["augmented"][3], again)
    resumed = list(data.training_batches(source, 48, 8, seed=5, steps=6, first_step=3))
    for ours, theirs in zip(batches[3:], resumed, strict=True):
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name])
    labels = [np.concatenate([batch["label"] for batch in part]) for part in (batches[:3], batches[3:])]
    assert sorted(labels[0]) == sorted(labels[1]) == [0] * 8 + [1] * 8 + [2] * 8
    assert (labels[0] != labels[1]).any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dataset": "birds"}, "unknown --dataset=birds; known: toy_aircraft, aircraft, "),
        ({"dataset": "folder"}, "needs --data_dir=DIR"),
        ({"objective": "gcg"}, "--objective should be one of cgc, baseline, cgc_no_negatives"),
        ({"lambda_cgc": -1.0}, "--lambda_cgc should be at least 0"),
        ({"lambda_cgc": float("nan")}, "--lambda_cgc should be at least 0"),
        ({"lambda_cgc": float("inf")}, "--lambda_cgc should be finite"),
        ({"temperature": 0.0}, "--temperature should be above 0"),
        ({"epochs": 0}, "--epochs should be at least 1"),
        ({"warmup_epochs": 10.0}, "--warmup_epochs should be below --epochs=10"),
        ({"momentum": 1.0}, "--momentum should be below 1"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(UserError) as caught:
        config.Config(**settings)
    assert message in str(caught.value)
