"""Archives that are missing, cut short, foreign, or mean harm: one line each, and nothing written elsewhere."""

import hashlib
import io
import pathlib
import tarfile

import pytest
import requests
from archives import SIZES, decoded
from tensorflow_datasets.core.download import download_manager

from cgc_tf.common import errors
from cgc_tf.data import load
from cgc_tf.data.datasets import dummy_data
from cgc_tf.data.datasets.fgvc_aircraft import fgvc_aircraft_dataset_builder as aircraft


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("cars196", "devkit/cars_test_annos_withlabels.mat"),
        ("imagenet", "ILSVRC2012_bbox_val_v3.tgz"),
        ("imagenet100", "ILSVRC2012_img_train.tar"),
    ],
)
@pytest.mark.parametrize("present", [True, False], ids=["one-missing", "all-missing"])
def test_missing_files_are_named_in_one_line(name, missing, present, place):
    data_dir = pathlib.Path(place(name) if present else place("toy_aircraft"))
    folder = data_dir / "downloads" / "manual"
    if present:
        (folder / missing).unlink()
    with pytest.raises(errors.UserError) as caught:
        load.load_dataset(name, str(data_dir))
    message = str(caught.value)
    assert message.startswith(f"{name} cannot be prepared: missing ")
    assert missing in message and str(folder) in message and "\n" not in message


@pytest.mark.parametrize(
    ("name", "file"), [("aircraft", "fgvc-aircraft-2013b.tar.gz"), ("imagenet", "ILSVRC2012_img_train.tar")]
)
def test_archive_cut_short_is_named(name, file, place):
    data_dir = place(name)
    path = pathlib.Path(data_dir) / "downloads" / "manual" / file
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(errors.UserError, match=f"{file} is incomplete or another version: MD5 .* remove it"):
        load.load_dataset(name, data_dir)


def test_archive_cannot_write_outside(place, monkeypatch):
    """Members with paths that lead out of the archive, and links, are passed over; nothing is unpacked at all."""
    data_dir = pathlib.Path(place("aircraft"))
    path, hostile = data_dir / "downloads/manual/fgvc-aircraft-2013b.tar.gz", io.BytesIO()
    photograph = dummy_data.encode(dummy_data.picture((100, 60), (0, 0, 9, 9)))
    members = [(tarfile.TarInfo(name), photograph) for name in ("../../0000003.jpg", f"{data_dir}/0000004.jpg")]
    for name, kind in (("a/0000005.jpg", tarfile.SYMTYPE), ("a/0000001.jpg", tarfile.LNKTYPE)):
        link = tarfile.TarInfo(name)
        link.type, link.linkname = kind, "../../../../etc/passwd"
        members.insert(0, (link, b""))
    with tarfile.open(path) as official, tarfile.open(fileobj=hostile, mode="w:gz") as tar:
        for info, contents in members:
            info.size = len(contents)
            tar.addfile(info, io.BytesIO(contents))
        for info in official:
            tar.addfile(info, official.extractfile(info))
    path.write_bytes(hostile.getvalue())
    monkeypatch.setattr(aircraft, "MD5S", {"archive": hashlib.md5(path.read_bytes()).hexdigest()})
    source = load.load_dataset("aircraft", str(data_dir))
    assert source.sizes == SIZES["aircraft"]
    assert all(example["image"].shape == (40, 100, 3) for example in decoded(source, "test").values())
    assert not list(data_dir.parent.rglob("000000[1345].jpg"))


@pytest.mark.parametrize("number", [0, 197])
def test_label_out_of_range_is_named(number, place, monkeypatch):
    monkeypatch.setitem(dummy_data.CARS, "train", [(9, 6, 40, 25, number, "00001.jpg")])
    data_dir = place("cars196")
    dummy_data.cars(pathlib.Path(data_dir) / "downloads" / "manual")
    expected = f"cars196 cannot be prepared: .*_annos.mat, 00001.jpg: a class is 1 to 196. Received: {number}"
    with pytest.raises(errors.UserError, match=expected):
        load.load_dataset("cars196", data_dir)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("aircraft", "fgvc-aircraft-2013b.tar.gz cannot be fetched; put a copy into"),
        ("cub200", "cub200 cannot be downloaded; put a copy of the file into"),
    ],
)
def test_failed_download_says_where_a_copy_may_lie(name, expected, place, monkeypatch):
    def refuse(*_):
        raise requests.ConnectionError("no route\nto host")

    monkeypatch.setattr(download_manager.DownloadManager, "download", refuse)
    data_dir = place("toy_aircraft")
    with pytest.raises(errors.UserError) as caught:
        load.load_dataset(name, data_dir)
    message = str(caught.value)
    assert expected in message and f"{data_dir}/downloads/manual" in message and message.endswith("(no route to host)")


def test_wrong_file_is_named(place, monkeypatch):
    data_dir = place("cub200")
    monkeypatch.undo()  # TFDS checks what it knows
    with pytest.raises(errors.UserError, match=r"cub200 cannot be prepared: .*CUB_200_2011.tgz, has wrong checksum"):
        load.load_dataset("cub200", data_dir)
