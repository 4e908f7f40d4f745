"""Datasets' files, put where a person would put them."""

import shutil

import pytest
from archives import FILES, SIZES, md5
from tensorflow_datasets.core.download import download_manager

from cgc_tf.data.datasets.fgvc_aircraft import fgvc_aircraft_dataset_builder as aircraft
from cgc_tf.data.datasets.flowers102 import flowers102_dataset_builder as flowers
from cgc_tf.data.datasets.imagenet import imagenet_dataset_builder as imagenet
from cgc_tf.data.datasets.toy_aircraft import toy_aircraft_dataset_builder as toy


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A function that puts a dataset's dummy files where a person would, and returns the data_dir."""
    monkeypatch.setattr(toy, "SPLIT_SIZES", SIZES["toy_aircraft"])
    monkeypatch.setattr(aircraft, "MD5S", {"archive": md5("aircraft", "fgvc-aircraft-2013b.tar.gz")})
    monkeypatch.setattr(flowers, "MD5S", {"masks": md5("flowers102", "102segmentations.tgz")})
    monkeypatch.setattr(imagenet, "MD5S", {name: md5("imagenet", name) for name in imagenet.MD5S})
    # TFDS knows the SHA-256 of the real archives of CUB-200-2011 and Flowers-102.
    monkeypatch.setattr(download_manager.DownloadManager, "_register_or_validate_checksums", lambda *args, **kw: None)

    def put(name):
        if name in FILES:
            shutil.copytree(FILES[name], tmp_path / "downloads" / "manual", dirs_exist_ok=True)
        return str(tmp_path)

    return put
