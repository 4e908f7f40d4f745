"""Files of PyTorch tensors: formats, damage, and pickles that would run code."""

import json
import os
import struct
import sys
import zipfile

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from cgc_tf.common.errors import UserError
from cgc_tf.networks import torch_files


def test_reads_half_precision_as_float32(tmp_path):
    halves = {"a": np.array([1.5, -2], np.float16), "b": np.array([1.5, -2], ml_dtypes.bfloat16)}
    (tmp_path / "x.safetensors").write_bytes(safetensors.numpy.save(halves))
    read = torch_files.read_tensors(tmp_path / "x.safetensors")
    assert {a.dtype for a in read.values()} == {np.dtype("float32")}
    assert all(a.tolist() == [1.5, -2] for a in read.values())


class RunsCode:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("is_zip", [True, False])
def test_refuses_pickles_that_run_code(tmp_path, is_zip):
    torch = pytest.importorskip("torch")
    path, trace = tmp_path / "evil.pth", tmp_path / "trace"
    contents = {"state_dict": {"conv1.weight": torch.ones(2)}, "epoch": RunsCode(trace)}
    torch.save(contents, path, _use_new_zipfile_serialization=is_zip)
    refuses(path, r"evil.pth is not read, .*posix.mkdir")
    assert not trace.exists()
    torch.save(torch.nn.Linear(2, 2), path, _use_new_zipfile_serialization=is_zip)
    refuses(path, r"evil.pth is not read, .*torch.nn.modules.linear.Linear")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt"])
def test_refuses_damaged_files(tmp_path, suffix):
    if suffix != ".safetensors":
        pytest.importorskip("torch")
    path = tmp_path / f"x{suffix}"
    torch_files.write_tensors(path, {"a": np.ones((50, 50), np.float32), "b": np.ones(7, np.float32)})
    whole = path.read_bytes()
    for count in (0, 1, 9, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:count])
        refuses(path, "is damaged, cut short, or another kind of file")
    path.write_bytes(b"<!DOCTYPE html><html></html>")
    refuses(path, "is damaged, cut short, or another kind of file")
    path.unlink()
    refuses(path, "no such file of weights")


def test_refuses_pickles_without_plain_tensors(tmp_path):
    torch = pytest.importorskip("torch")
    for contents, message in [
        (torch.ones(3), "it holds no state_dict but a Tensor"),
        ({"epoch": 3, "weights": {"a": torch.ones(2)}}, "2 of its entries are no tensors, first epoch"),
        ({1: torch.ones(2)}, "1 of its entries are no tensors, first 1"),
        ({"a": torch.eye(2).to_sparse()}, "is damaged, cut short, or another kind of file: Cannot access storage"),
        ({"a": torch.empty(2, device="meta")}, "can't convert meta device type tensor"),
        ({"a": torch.ones(1).half().expand(10**6, 10**6)}, r"a \[1000000, 1000000\] is larger than what is stored"),
    ]:
        torch.save(contents, tmp_path / "x.pth")
        refuses(tmp_path / "x.pth", message)


def test_refuses_archives_that_swell(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"a": torch.ones(10**6)}, tmp_path / "plain.pth")
    plain, packed = (
        zipfile.ZipFile(tmp_path / "plain.pth"),
        zipfile.ZipFile(tmp_path / "x.pth", "w", zipfile.ZIP_DEFLATED),
    )
    with plain, packed:
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry))
    refuses(tmp_path / "x.pth", "it unpacks to 400")


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


def test_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "x.pth").write_bytes(b"")
    refuses(tmp_path / "x.pth", r"needs PyTorch: pip install -r requirements-torch.txt, or use a .safetensors file")
    refuses(tmp_path / "x.onnx", "not a name of a PyTorch file")


def refuses(path, message):
    with pytest.raises(UserError, match=message) as caught:
        torch_files.read_tensors(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
