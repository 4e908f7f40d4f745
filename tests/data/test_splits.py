"""Splits that a folder does not have: the shares asked for, the same for every run, kept, and never invented."""

import collections
import dataclasses
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from cgc_tf.common.errors import UserError
from cgc_tf.data import folder, splits
from cgc_tf.data.splits import Splits
from cgc_tf.evaluation.protocol import Protocol
from cgc_tf.training import config, run_folder, setup

SHARES = Splits(test_fraction=0.25, validation_fraction=0.125)


@pytest.fixture
def flat(pictures, tmp_path):
    """DIR/<class>/*: eight pictures of each of three classes."""
    return pathlib.Path(shutil.copytree(pictures / "train", tmp_path / "flat"))


def counts(found):
    return collections.Counter((picture.split, picture.label) for picture in found.files)


def places(found):
    return {picture.id: picture.split for picture in found.files}


def test_shares_of_each_class_by_a_seed(flat):
    found = folder.read(flat, splits=SHARES)
    assert found.class_names == ("blue_wings", "green_fuselage", "red_wings")
    wanted = {"train": 5, "validation": 1, "test": 2}
    assert counts(found) == {(split, label): count for split, count in wanted.items() for label in range(3)}
    assert places(folder.read(flat, splits=SHARES)) == places(found)
    other = folder.read(flat, splits=dataclasses.replace(SHARES, split_seed=1))
    assert counts(other) == counts(found) and places(other) != places(found)
    shutil.copytree(flat / "red_wings", flat / "another")  # classes do not depend on each other
    assert places(found).items() <= places(folder.read(flat, splits=SHARES)).items()


def test_groups_stay_together(flat):
    for path in sorted(flat.glob("*/*")):
        path.rename(path.with_name(f"animal{int(path.stem) // 2}_{path.name}"))
    for pattern in (r"animal\d+", r"^animal(\d+)_"):
        found = folder.read(flat, splits=dataclasses.replace(SHARES, split_groups=pattern))
        sides = collections.defaultdict(set)
        for picture in found.files:
            sides[picture.id.split("/")[1].split("_")[0]].add(picture.split)
        assert all(len(side) == 1 for side in sides.values())
        assert all(counts(found)["test", label] == 2 for label in range(3))
    with pytest.raises(UserError, match=r"finds nothing in any file's name, such as blue_wings/animal0_000.jpg"):
        folder.read(flat, splits=Splits(0.2, split_groups="person"))


def test_every_share_is_met_and_every_class_is_trained_on(capsys):
    rng = np.random.default_rng(0)
    for seed in range(20):
        sizes = rng.integers(1, 60, 8)
        classes = {f"{label}/{i}": str(label) for label, size in enumerate(sizes) for i in range(size)}
        found = splits.divide(classes, Splits(0.2, 0.1, split_seed=seed))
        for label, size in enumerate(sizes):
            of_class = collections.Counter(found[name] for name in classes if classes[name] == str(label))
            assert of_class["train"] >= 1
            assert of_class["test"] == min(max(1, round(0.2 * size)), size - 1)
    assert splits.divide({"a/1": "a", "b/1": "b", "b/2": "b"}, Splits(0.5))["a/1"] == "train"
    assert "note: too few pictures for one of the test split: a\n" in capsys.readouterr().out
    assert set(splits.divide({"a/1": "a", "b/1": "b"}, Splits(1.0)).values()) == {"test"}


def test_a_large_group_is_taken_where_a_class_has_no_other(capsys):
    classes = {f"a/g{i // 6}_{i}": "a" for i in range(12)}
    found = splits.divide(classes, Splits(0.1, split_groups="g(.)_"))
    assert collections.Counter(found.values()) == {"train": 6, "test": 6}


def test_a_share_of_train_where_only_some_splits_have_folders(copy_of):
    copy = copy_of("train")
    with pytest.raises(UserError, match=r"has train/, but no test/: say which share .* --validation_fraction=0.1, or"):
        folder.read(copy)
    assert counts(folder.read(copy, splits=SHARES))["test", 0] == 2
    copy = copy_of("train", "val")
    with pytest.raises(
        UserError, match=r"has train/ and val/, but no test/: say .* as in --test_fraction=0.2, or sort"
    ):
        folder.read(copy)
    found = counts(folder.read(copy, splits=Splits(0.25)))
    assert (found["train", 0], found["validation", 0], found["test", 0]) == (6, 4, 2)
    with pytest.raises(UserError, match=r"--validation_fraction=0.1 is not used: .*/val is the validation split"):
        folder.read(copy, splits=Splits(0.2, 0.1))
    copy = copy_of("train", "test")
    assert counts(folder.read(copy, splits=Splits(validation_fraction=0.25)))["validation", 1] == 2
    with pytest.raises(UserError, match=r"--test_fraction=0.2 is not used: .*/test is the test split"):
        folder.read(copy, splits=Splits(0.2))
    copy = copy_of("test")  # to measure on
    assert counts(folder.read(copy)) == {("test", label): 4 for label in range(3)}
    settings = config.Config("folder", str(copy), backbone="resnet8", image_size=32, batch_size=1)
    with pytest.raises(UserError, match="has no train/ with pictures in it to train on"):
        setup.open_sources(settings)
    with pytest.raises(UserError, match="has no train/ in it to take a share from"):
        folder.read(copy_of("val"), splits=Splits(0.2))


@pytest.fixture
def copy_of(pictures, tmp_path):
    """Copies some splits of the folder."""

    def make(*names):
        root = tmp_path / "-".join(names)
        for name in names:
            shutil.copytree(pictures / name.replace("val", "test"), root / name)
        return root

    return make


def test_no_test_split_is_invented(flat, tmp_path):
    with pytest.raises(UserError, match=r"has class folders, but no test/: say .* as in --test_fraction=0.2 --val"):
        folder.read(flat)
    with pytest.raises(UserError, match=r"has class folders, but no test/"):
        folder.read(flat, splits=Splits(validation_fraction=0.2))
    shutil.copytree(flat, tmp_path / "wrapped/data/train")
    with pytest.raises(UserError, match=rf"neither train/ .* did you mean --data_dir={tmp_path}/wrapped/data\?"):
        folder.read(tmp_path / "wrapped")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"test_fraction": 0.6, "validation_fraction": 0.5}, "are more than there is"),
        ({"test_fraction": 1.0}, "leaves nothing to train on"),
        ({"split_groups": "a"}, "--split_groups is not used without --test_fraction"),
        ({"test_fraction": 0.2, "split_groups": "("}, "is not a regular expression: missing"),
        ({"dataset": "toy_aircraft", "test_fraction": 0.2}, "--test_fraction is not used by --dataset=toy_aircraft"),
    ],
)
def test_settings_that_mean_nothing(settings, message):
    with pytest.raises(UserError) as caught:
        config.Config(**{"dataset": "folder", "data_dir": "d", **settings})
    assert message in str(caught.value)


@pytest.fixture
def recorded(flat, tmp_path):
    """What a run on `flat` keeps of it: its configuration and its record."""
    run = tmp_path / "run"
    run.mkdir()
    settings = config.Config("folder", str(flat), test_fraction=0.25, validation_fraction=0.125)
    settings.save(run)
    source, _ = setup.open_sources(dataclasses.replace(settings, batch_size=2))
    splits.write(run / splits.RECORD, source.listing())
    return run


def test_a_record_holds_whatever_the_folder_has_gained(flat, recorded, capsys):
    before = places(folder.read(flat, splits=SHARES))
    for number in range(20):
        shutil.copy(flat / "red_wings/000.jpg", flat / f"red_wings/new{number}.jpg")
    shutil.copytree(flat / "red_wings", flat / "a_new_class")
    read = folder.read(flat, splits=SHARES, record=recorded / splits.RECORD)
    assert places(read) == before and read.class_names == ("blue_wings", "green_fuselage", "red_wings")
    assert counts(read)["test", 2] == 2
    assert f"not used: 48 pictures that {recorded / splits.RECORD} does not list" in capsys.readouterr().out
    (flat / "blue_wings/003.png").unlink()
    with pytest.raises(UserError, match=r"1 of the 24 pictures that .* lists are not in .*: blue_wings/003.png; put"):
        folder.read(flat, splits=SHARES, record=recorded / splits.RECORD)
    (recorded / splits.RECORD).write_text("file,split,bytes\nx,y\n")
    with pytest.raises(UserError, match=r"splits.csv cannot be read: not enough values"):
        folder.read(flat, splits=SHARES, record=recorded / splits.RECORD)


def test_an_evaluation_sees_the_run_s_own_test(flat, recorded, tmp_path, capsys):
    trained = run_folder.trained_on(recorded)
    shutil.copy(flat / "red_wings/000.jpg", flat / "red_wings/new.jpg")
    assert Protocol().on_data_of(trained).open_source(trained).sizes == {"train": 15, "test": 6, "validation": 3}
    moved = tmp_path / "moved"
    shutil.copytree(flat, moved)
    protocol = Protocol(data_dir=str(moved)).on_data_of(trained)
    assert protocol.is_on_own_data(trained) and protocol.variant(trained) == ""
    assert protocol.open_source(trained).sizes["test"] == 6
    with pytest.raises(UserError, match="--test_fraction is not used: the model was trained on these"):
        Protocol(test_fraction=0.5).on_data_of(trained).open_source(trained)
    shutil.copy(moved / "red_wings/001.jpg", moved / "red_wings/000.jpg")  # now these are others
    protocol = Protocol(data_dir=str(moved), test_fraction=1.0).on_data_of(trained)
    assert not protocol.is_on_own_data(trained) and protocol.variant(trained) == "moved"
    assert protocol.open_source(trained).sizes["test"] == 25
    seen = sum(place == "train" for place, _ in splits.read(recorded / splits.RECORD).values())
    is_lost = splits.read(recorded / splits.RECORD)["red_wings/000.jpg"][0] == "train"
    assert f"trained on {seen - is_lost} of the pictures to measure on" in capsys.readouterr().out


def test_weights_of_a_run_bring_its_splits(flat, recorded, tmp_path):
    (recorded / "checkpoints").mkdir()
    settings = dataclasses.replace(config.Config.load(recorded), weights=str(recorded))
    assert run_folder.record_of(settings, tmp_path / "next") == recorded / splits.RECORD
    with pytest.raises(UserError, match=r"divided by --test_fraction=0.25 --validation_fraction=0.125: pass that"):
        run_folder.record_of(dataclasses.replace(settings, test_fraction=0.5), tmp_path / "next")
    others = dataclasses.replace(settings, data_dir=str(tmp_path / "others"))
    assert run_folder.record_of(others, tmp_path / "next") is None
    assert run_folder.record_of(settings, recorded) == recorded / splits.RECORD


def test_a_wrong_folder_is_found_before_any_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(setup, "NewModel", lambda _: pytest.fail("weights would be downloaded"))
    settings = config.Config("folder", str(tmp_path / "nowhere"), weights="imagenet")
    with pytest.raises(UserError, match="nowhere: no such folder"):
        setup.prepare(settings, tmp_path / "run", tf.distribute.get_strategy())
