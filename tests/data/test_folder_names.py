"""Names of folders and pictures, in any language, and those that are refused."""

import os
import pathlib
import shutil

import pytest

from cgc_tf.common.errors import UserError
from cgc_tf.data import folder
from cgc_tf.training import run_folder


@pytest.fixture
def copy(pictures, tmp_path):
    """A copy of the folder, to damage."""
    return pathlib.Path(shutil.copytree(pictures, tmp_path / "copy"))


@pytest.mark.parametrize("name", [b"caf\xe9", b"two\nlines", "line\u2028separator".encode(), b"bell\x07", b"a\x85b"])
def test_names_that_a_line_cannot_hold_are_refused(copy, name):
    for place in (copy / "train/red_wings/x", copy / "train/x"):
        path = os.path.join(os.fsencode(place.parent), name + (b".jpg" if "red_wings" in str(place) else b""))
        (shutil.copyfile if path.endswith(b".jpg") else shutil.copytree)(
            os.fsencode(copy / ("test/red_wings/000.jpg" if path.endswith(b".jpg") else "test/red_wings")), path
        )
        with pytest.raises(UserError, match="a name that a line of text cannot hold") as caught:
            folder.read(copy)
        assert str(caught.value).isprintable()
        (os.remove if path.endswith(b".jpg") else shutil.rmtree)(path)


def test_names_of_any_language_are_kept(copy, tmp_path):
    names = ("bird of prey", "鸟", "a\u202fb", "👩\u200d🚀", "cafe\u0301")
    for name in names:
        for split in ("train", "test"):
            shutil.copytree(copy / split / "red_wings", copy / split / name)
    read = folder.read(copy)
    assert set(read.class_names) > {"bird of prey", "鸟", "a\u202fb", "👩\u200d🚀", "caf\u00e9"}
    (tmp_path / run_folder.CLASSES).write_text("\n".join(read.class_names) + "\n", "utf-8")
    assert run_folder.class_names(tmp_path) == read.class_names


def test_classes_are_a_line_each_and_nothing_else_ends_a_line(tmp_path):
    (tmp_path / run_folder.CLASSES).write_text("a\u2028b\nc\x0bd\n", "utf-8", newline="")
    assert run_folder.class_names(tmp_path) == ("a\u2028b", "c\x0bd")


def test_both_forms_of_an_accent_are_one_name(copy):
    (copy / "train/red_wings").rename(copy / "train/caf\u00e9")
    (copy / "test/red_wings").rename(copy / "test/cafe\u0301")
    (copy / "train/caf\u00e9/000.jpg").rename(copy / "train/caf\u00e9/e\u0301.jpg")
    rows = ["file,ymin,xmin,ymax,xmax", "test/caf\u00e9/000.jpg,0,0,1,1", "train/cafe\u0301/\u00e9.jpg,0,0,.5,1"]
    (copy / "boxes.csv").write_text("\n".join(rows) + "\n", "utf-8")
    read = folder.read(copy)
    assert read.class_names == ("blue_wings", "caf\u00e9", "green_fuselage") and len(read.files) == 36
    assert set(read.boxes) == {"test/caf\u00e9/000.jpg", "train/caf\u00e9/\u00e9.jpg"}
    assert set(read.boxes) <= {picture.id for picture in read.files}
    shutil.copy(copy / "test/cafe\u0301/000.jpg", copy / "train/caf\u00e9/\u00e9.jpg")
    with pytest.raises(UserError, match="two files named \u00e9"):
        folder.read(copy)
    shutil.copytree(copy / "train/caf\u00e9", copy / "train/cafe\u0301")
    with pytest.raises(UserError, match="two folders named caf\u00e9"):
        folder.read(copy)
