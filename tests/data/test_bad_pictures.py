"""Real files of every awkward kind: read as a viewer shows them, or named in one line before a run is half-way."""

import os
import pathlib
import shutil
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from cgc_tf.common.errors import UserError
from cgc_tf.data import batches, load, pictures
from cgc_tf.data.source import faults_named
from cgc_tf.data.views import training_views
from cgc_tf.training import config, setup, train

PLACE = "train/red_wings/zzz.jpg"


@pytest.fixture
def copy(pictures, tmp_path):
    """A copy of the folder, to add to."""
    return pathlib.Path(shutil.copytree(pictures, tmp_path / "copy"))


@pytest.fixture
def photo(pictures):
    """A picture with nothing of symmetry, 160 x 120."""
    with Image.open(pictures / "train/red_wings/001.jpg") as image:
        return image.convert("RGB").resize((160, 120))


def decoded(root, name=PLACE):
    """A picture of a folder, decoded as a source does."""
    examples = load.load_dataset("folder", str(root)).decoded("train").as_numpy_iterator()
    return next(example["image"] for example in examples if example["id"] == name.encode())


def saved(root, image, **options):
    image.save(root / PLACE, **{"format": "JPEG", "quality": 95, **options})
    return np.asarray(image.convert("RGB"), int)


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
def test_jpeg_of_any_colors(copy, photo, mode):
    expected = saved(copy, photo.convert(mode))
    assert np.abs(decoded(copy) - expected).mean() < 4


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1", "RGB"])
def test_png_named_jpg(copy, photo, mode):
    expected = saved(copy, photo.convert(mode), format="PNG")
    np.testing.assert_array_equal(decoded(copy), expected)


def test_png_of_16_bits_keeps_its_upper_eight(copy):
    deep = np.arange(40 * 50, dtype=np.uint16).reshape(40, 50) * 32
    Image.fromarray(deep).save(copy / PLACE, format="PNG")
    difference = decoded(copy)[..., 0].astype(int) - deep / 257
    assert np.abs(difference).max() <= 1


def test_animation_is_its_first_frame(copy, photo):
    frames = [photo.quantize(32), ImageOps.invert(photo).quantize(32)]
    frames[0].save(copy / PLACE, format="GIF", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(decoded(copy), np.asarray(frames[0].convert("RGB")))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_picture_is_turned_as_exif_asks(copy, photo, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    saved(copy, photo, exif=exif)
    with Image.open(copy / PLACE) as image:
        expected = np.asarray(ImageOps.exif_transpose(image), int)
    ours = decoded(copy)
    assert ours.shape == expected.shape and ours.shape[0] == (160 if orientation >= 5 else 120)
    assert np.abs(ours - expected).mean() < 2


def test_nonsense_orientation_is_upright(copy, photo):
    exif = Image.Exif()
    exif[0x0112] = 77
    saved(copy, photo, exif=exif)
    assert pictures.examine(copy / PLACE) == (1, "")


def test_picture_of_one_pixel_has_views(copy):
    Image.new("RGB", (1, 1), (10, 200, 30)).save(copy / PLACE, format="PNG")
    source = load.load_dataset("folder", str(copy))
    last = source.decode("train", source.sizes["train"] - 1)
    assert last["id"] == PLACE
    made = training_views(last, [0, 0], 48)
    for view in ("ce", "original", "augmented"):
        np.testing.assert_array_equal(made[view], np.broadcast_to([10, 200, 30], (48, 48, 3)))


def huge_png(path, side):
    """Writes a valid black PNG of `side` squared pixels: small on disk."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    packer = zlib.compressobj()
    rows = b"".join(packer.compress(bytes(1 + side)) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))


def damages():
    def cut(root):
        whole = (root / PLACE).read_bytes()
        (root / PLACE).write_bytes(whole[: len(whole) // 2])

    yield "the file is empty", lambda root, photo: (root / PLACE).write_bytes(b"")
    yield "neither JPEG, PNG, GIF, BMP nor WebP", lambda root, photo: (root / PLACE).write_bytes(b"no picture")
    yield (
        "TIFF, neither JPEG, PNG, GIF, BMP nor WebP",
        lambda root, photo: saved(root, photo, format="TIFF", quality=None),
    )
    yield "Invalid JPEG data", lambda root, photo: (saved(root, photo), cut(root))
    yield "Invalid PNG data", lambda root, photo: (saved(root, photo, format="PNG"), cut(root))
    yield "20000 x 20000 pixels are more than the 134,217,728", lambda root, photo: huge_png(root / PLACE, 20000)
    yield "Is a directory", lambda root, photo: (root / PLACE).mkdir()
    yield "not a file but a pipe", lambda root, photo: os.mkfifo(root / PLACE)
    yield "No such file", lambda root, photo: (root / PLACE).symlink_to("nowhere.jpg")
    yield "Too many levels of symbolic links", lambda root, photo: (root / PLACE).symlink_to(PLACE.split("/")[-1])


@pytest.mark.parametrize(("fault", "damage"), list(damages()))
def test_bad_picture_is_named_or_skipped(copy, photo, fault, damage, capsys):
    damage(copy, photo)
    with pytest.raises(UserError) as caught:
        load.load_dataset("folder", str(copy))
    message = str(caught.value)
    assert f"1 of 37 pictures cannot be read, the first: {copy / PLACE} (" in message and fault in message
    assert "\n" not in message
    source = load.load_dataset("folder", str(copy), "skip")
    assert source.sizes == {"train": 24, "test": 12}
    assert len(source.skipped) == 1 and fault in source.skipped[0]
    printed = capsys.readouterr().out
    assert f"skipped: {copy / PLACE} (" in printed and "skipped 1 of 37 pictures" in printed


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"format": "PNG"}, {"exif": b"Exif\0\0"}])
def test_size_is_read_from_the_header(copy, photo, options, monkeypatch):
    saved(copy, photo, **options)
    assert pictures.examine(copy / PLACE) == (1, "")
    monkeypatch.setattr(pictures, "MOST_PIXELS", 160 * 120 - 1)
    assert "160 x 120 pixels are more than the 19,199 that are decoded" in pictures.examine(copy / PLACE)[1]


def test_what_follows_a_jpeg_does_no_harm(copy, photo):
    saved(copy, photo)
    with (copy / PLACE).open("ab") as file:
        file.write(b"a camera's own notes")
    assert pictures.examine(copy / PLACE) == (1, "")


def spoil_quietly(path, photo):
    """Writes a PNG whose header and end are right and whose pixels are not."""
    photo.save(path, format="PNG")
    contents = bytearray(path.read_bytes())
    contents[len(contents) // 2] ^= 0xFF
    path.write_bytes(contents)


@pytest.mark.slow
def test_fault_in_the_pixels_is_named_when_it_is_met(copy, photo, small_config, tmp_path):
    spoil_quietly(copy / PLACE, photo)
    load.load_dataset("folder", str(copy))  # is not noticed yet
    changed = config.Config(**{**vars(small_config), "data_dir": str(copy), "batch_size": 5, "epochs": 1})
    with pytest.raises(UserError, match=f"1 of 25 train examples cannot be decoded, the first: {copy / PLACE} "):
        train.train(changed, tmp_path / "run")


def test_skipped_pictures_are_kept_with_the_run(copy, photo, small_config, tmp_path):
    """A run that skips a picture is, bit for bit, the run without that picture."""
    spoil_quietly(copy / PLACE, photo)
    skipping = load.load_dataset("folder", str(copy), "skip")
    setup.write_skipped(tmp_path, skipping, None)
    (line,) = (tmp_path / "skipped.txt").read_text().splitlines()
    assert line.startswith(f"{copy / PLACE} (")
    views = list(batches.training_batches(skipping, 32, 8, seed=1, steps=6))
    (copy / PLACE).unlink()
    clean = load.load_dataset("folder", str(copy))
    setup.write_skipped(tmp_path, clean, None)
    assert (tmp_path / "skipped.txt").read_text() == ""
    for ours, theirs in zip(views, batches.training_batches(clean, 32, 8, seed=1, steps=6), strict=True):
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name])


def test_other_failures_pass_through(pictures):
    whole = load.load_dataset("folder", str(pictures))
    with pytest.raises(tf.errors.InvalidArgumentError, match="something else"), faults_named(whole, None):
        raise tf.errors.InvalidArgumentError(None, None, "something else")


def test_files_left_out_are_noted(copy, photo, capsys):
    photo.save(copy / "train/red_wings/other.tif")
    (copy / "train/red_wings/.hidden").write_text("")
    assert load.load_dataset("folder", str(copy)).sizes["train"] == 24
    assert (
        "note: not used: 1 file with endings other than .jpg, .jpeg, .png, .webp, .bmp: train/red_wings/other.tif\n"
        in capsys.readouterr().out
    )


def test_names_that_differ_in_case_are_two_pictures(copy, photo, capsys):
    saved(copy, photo)
    shutil.copy(copy / PLACE, copy / "train/red_wings/ZZZ.JPG")
    if len(list((copy / "train/red_wings").glob("[zZ]*"))) == 1:
        pytest.skip("this file system ignores case")
    source = load.load_dataset("folder", str(copy))
    assert source.sizes["train"] == 26
    ids = [example["id"] for example in source.decoded("train").as_numpy_iterator()]
    assert len(set(ids)) == 26
    assert "note: train/red_wings/ZZZ.JPG and train/red_wings/zzz.jpg differ only in case" in capsys.readouterr().out
