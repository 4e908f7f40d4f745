"""Files of PyTorch tensors: formats, damage, and pickles that hold code."""

import contextlib
import json
import pathlib
import struct
import sys
import zipfile

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from cgc_tf.common.errors import UserError
from cgc_tf.networks import torch_files

TESTDATA = pathlib.Path(__file__).parent.parent / "testdata" / "torch"


def test_reads_half_precision_as_float32(tmp_path):
    halves = {"a": np.array([1.5, -2], np.float16), "b": np.array([1.5, -2], ml_dtypes.bfloat16)}
    (tmp_path / "x.safetensors").write_bytes(safetensors.numpy.save(halves))
    read = torch_files.read_tensors(tmp_path / "x.safetensors")
    assert {a.dtype for a in read.values()} == {np.dtype("float32")}
    assert all(a.tolist() == [1.5, -2] for a in read.values())


@pytest.mark.parametrize("name", ["plain", "plain_old", "wrapped", "wrapped_old"])
def test_reads_what_pytorch_wrote(name):
    """Files of both formats; `wrapped` holds code as well, which is not run, and objects, which are not made."""
    read = torch_files.read_tensors(TESTDATA / f"{name}.pth")
    counted = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    expected = {
        "whole": counted,
        "row": counted[1, 2],
        "turned": counted.transpose(2, 0, 1),
        **{name: np.array([1.5, -2], np.float32) for name in ("half", "brain", "double")},
        "count": np.array(3),
        "bools": np.array([True, False]),
        "bytes": np.array([0, 255], np.uint8),
        "empty": np.zeros((0, 5), np.float32),
        "parameter": np.ones(2, np.float32),
    }
    prefix = "module." if name.startswith("wrapped") else ""
    assert list(read) == [f"{prefix}{key}" for key in expected]
    for key, array in expected.items():
        np.testing.assert_array_equal(read[f"{prefix}{key}"], array, strict=True)
    assert not pathlib.Path("made_by_a_pickle").exists()


def test_a_checkpoint_of_an_optimizer():
    read = torch_files.read_tensors(TESTDATA / "with_optimizer.pth")
    assert {key: array.shape for key, array in read.items()} == {"weight": (2, 2), "bias": (2,)}


def test_refuses_damaged_safetensors(tmp_path):
    torch_files.write_tensors(tmp_path / "x.safetensors", {"a": np.ones((50, 50), np.float32)})
    refuses_damage(tmp_path / "x.safetensors")


@pytest.mark.parametrize("name", ["plain", "plain_old"])
def test_refuses_damaged_pickles(name, tmp_path):
    """Cut anywhere; then with single bytes changed, which is refused or read, and asks for no memory without end."""
    path = tmp_path / "x.pth"
    path.write_bytes((TESTDATA / f"{name}.pth").read_bytes())
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for place in random.integers(0, len(whole), 300):
        path.write_bytes(whole[:place] + bytes(random.integers(0, 256, 1, np.uint8)) + whole[place + 1 :])
        with contextlib.suppress(UserError):
            torch_files.read_tensors(path)
    path.write_bytes(whole)
    refuses_damage(path)


def refuses_damage(path):
    whole = path.read_bytes()
    for count in (0, 1, 9, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:count])
        refuses(path, "is damaged, cut short, or another kind of file")
    path.write_bytes(b"<!DOCTYPE html><html></html>")
    refuses(path, "is damaged, cut short, or another kind of file")
    path.unlink()
    refuses(path, "no such file of weights")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("network", "it holds no state_dict but a torch.nn.modules.linear.Linear"),
        ("network_old", "it holds no state_dict but a torch.nn.modules.linear.Linear"),
        ("tensor", "it holds no state_dict but a ndarray"),
        ("no_tensors", "2 of its entries are no tensors, first epoch"),
        ("numbered", "1 of its entries are no tensors, first 1"),
        ("sparse", "1 of its entries are no tensors, first a"),
        ("meta", "1 of its entries are no tensors, first a"),
        ("complex", r"numbers of a kind that is not read \(torch.ComplexFloatStorage\)"),
        ("swollen", r"a tensor of shape \[1000000, 1000000\] is larger than what is stored"),
    ],
)
def test_refuses_pickles_without_plain_tensors(name, message):
    refuses(TESTDATA / f"{name}.pth", message)


def test_refuses_archives_that_swell(tmp_path):
    packed = zipfile.ZipFile(tmp_path / "x.pth", "w", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(TESTDATA / "plain.pth") as plain, packed:
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry) + bytes(10**6))
    refuses(tmp_path / "x.pth", r"it unpacks to \d+ bytes")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}, "incomplete metadata"),
        ({"dtype": "F32", "shape": [3], "data_offsets": [0, 4]}, "is damaged"),
        ({"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}, "float8_e4m3fn"),
    ],
)
def test_refuses_odd_headers(tmp_path, header, message):
    text = json.dumps({"a": header}).encode()
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))
    refuses(tmp_path / "x.safetensors", message)
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", 2**63) + text)
    refuses(tmp_path / "x.safetensors", "header too large")


def test_writing_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match="is written by PyTorch: pip install -r requirements-torch"):
        torch_files.check_writable(tmp_path / "x.pth")
    refuses(tmp_path / "x.onnx", "not a name of a PyTorch file")


def refuses(path, message):
    with pytest.raises(UserError, match=message) as caught:
        torch_files.read_tensors(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
