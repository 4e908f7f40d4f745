"""A user's own pictures: read as they are, and each fault named before any long work."""

import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image

from cgc_tf.common.errors import UserError
from cgc_tf.data import batches, folder, load
from cgc_tf.training import config


@pytest.fixture
def copy(pictures, tmp_path):
    """A copy of the folder, to damage."""
    return pathlib.Path(shutil.copytree(pictures, tmp_path / "copy"))


def test_examples(pictures):
    source = load.load_dataset("folder", str(pictures))
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
    source = load.load_dataset("folder", str(copy))
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
    yield "has train/, but no test/: say which share", lambda root: shutil.rmtree(root / "test")
    yield (
        "two or more classes. Received: blue_wings",
        lambda root: [shutil.rmtree(root / "train" / name) for name in ("red_wings", "green_fuselage")],
    )
    yield "two or more classes. Received: none", lambda root: (shutil.rmtree(root / "train"), (root / "train").mkdir())
    yield (
        "test contains no readable picture (.jpg, ",
        lambda root: [path.unlink() for path in (root / "test").glob("*/*")],
    )
    yield "train/red_wings contains no", lambda root: [path.unlink() for path in (root / "train/red_wings").glob("*")]
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
    yield "line 2: 2 fields instead of 5", rows("test/red_wings/000.jpg,0.1")
    yield "line 2: 6 fields instead of 5", rows("test/red_wings/000.jpg,0,0,1,1,1")
    yield "line 3: 1 field instead of 5", rows("test/red_wings/000.jpg,0,0,1,1\nx")
    yield "these look like pixels", rows("test/red_wings/000.jpg,10,10,90,100")
    yield "line 2: this is not CSV", rows("test/red_wings/000.jpg,0,0,1," + "1" * 140_000)
    yield "this is not CSV: unexpected end of data", rows('"test/red_wings/000.jpg,0,0,1,1')
    yield "this is not CSV", rows('"test/red_wings/000.jpg"x,0,0,1,1')
    yield "line 3: there is no picture 'two\\nlines'", rows('"two\nlines",0,0,1,1')
    yield (
        "line 2: there is no picture 'test/red_wings/\\x000.jpg'",
        rows("test/red_wings/\0.jpg,0,0,1,1".replace("/\0.", "/\x000.")),
    )
    yield "line 2: there is no picture 'test/red_wings/999.jpg'", rows("test/red_wings/999.jpg,0,0,1,1")
    yield "the first line should be file,ymin", lambda root: (root / "boxes.csv").write_text("a,b\n")
    yield (
        "boxes.csv cannot be read: Is a directory",
        lambda root: ((root / "boxes.csv").unlink(), (root / "boxes.csv").mkdir()),
    )
    yield "boxes.csv is not text in UTF-8", lambda root: (root / "boxes.csv").write_bytes(b"\xff\xfe")


@pytest.mark.parametrize(("message", "damage"), list(faults()))
def test_faults_are_named(copy, message, damage):
    damage(copy)
    with pytest.raises(UserError) as caught:
        folder.read(copy)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_training_views(pictures):
    """The augmented view is T of the original; a view depends on seed, epoch and example, and on nothing else."""
    from cgc_tf.method import geometry

    source = load.load_dataset("folder", str(pictures))
    made = list(batches.training_batches(source, 48, 8, seed=5, steps=6))
    assert len(made) == 6
    for batch in made:
        assert batch["ce"].shape == (8, 48, 48, 3) and batch["ce"].dtype == "uint8"
        again = geometry.transform_image(batch["original"][3], batch["transform"][3], 48)
        np.testing.assert_array_equal(batch["augmented"][3], again)
    resumed = list(batches.training_batches(source, 48, 8, seed=5, steps=6, first_step=3))
    for ours, theirs in zip(made[3:], resumed, strict=True):
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name])
    labels = [np.concatenate([batch["label"] for batch in part]) for part in (made[:3], made[3:])]
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


def test_validation_may_be_called_val(copy):
    for name in ("val", "valid", "validation"):
        (copy / "test").rename(copy / name)
        shutil.copytree(copy / name, copy / "test")
        (copy / "boxes.csv").write_text(f"file,ymin,xmin,ymax,xmax\n{name}/red_wings/000.jpg,0,0,1,1\n")
        read = folder.read(copy)
        assert sum(picture.split == "validation" for picture in read.files) == 12
        assert list(read.boxes) == [f"{name}/red_wings/000.jpg"]
        shutil.rmtree(copy / name)
    for name in ("val", "validation"):
        shutil.copytree(copy / "test", copy / name)
    with pytest.raises(UserError, match="has validation/ and val/, which mean the same split"):
        folder.read(copy)


def test_system_folders_are_not_classes(copy, capsys):
    names = (".ipynb_checkpoints", "__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found")
    for place in (copy, copy / "train", copy / "test", copy / "train/red_wings"):
        for name in names:
            (place / name).mkdir()
            shutil.copy(copy / "test/red_wings/000.jpg", place / name / "000.jpg")
    (copy / "train/red_wings/._001.jpg").write_bytes(b"a resource fork")
    read = folder.read(copy)
    assert read.class_names == ("blue_wings", "green_fuselage", "red_wings") and len(read.files) == 36
    printed = capsys.readouterr().out
    assert "note: not used: 18 folders outside of the splits and classes: $RECYCLE.BIN, " in printed


def test_nothing_is_lost_without_a_word(copy, capsys):
    picture = (copy / "test/red_wings/000.jpg").read_bytes()
    for place in ("", "train", "images", "images/a", "train/red_wings/more", "train/red_wings/more/deep"):
        (copy / place).mkdir(exist_ok=True)
        for name in ("one.jpg", "two.PNG"):
            (copy / place / name).write_bytes(picture)
    assert len(folder.read(copy).files) == 36
    printed = capsys.readouterr().out
    assert "note: not used: 4 pictures outside of the class folders: one.jpg, train/one.jpg, train/two.PNG" in printed
    assert "note: not used: 1 folder outside of the splits and classes: images\n" in printed
    assert "note: not used: 1 folder inside class folders, with 4 pictures: train/red_wings/more" in printed


@pytest.mark.parametrize("place", ["", "train"])
def test_a_builders_data_is_not_written_among_pictures(pictures, place):
    """`train.py --data_dir=DIR` without --dataset=folder prepared the toy aircraft in DIR, and trained on them."""
    before = sorted(pictures.iterdir())
    with pytest.raises(UserError, match=r"is a folder of pictures, .* add --dataset=folder"):
        load.load_dataset("toy_aircraft", str(pictures / place))
    assert sorted(pictures.iterdir()) == before
